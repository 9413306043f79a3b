"""Every measure against known values, its library, and the rule for undefined scores."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from rosecd_jax import metrics
from rosecd_jax.metrics import phonemes, ratios, spectral

RECORDINGS = Path(__file__).parents[2] / "examples" / "recordings"
RATE = 16000
INSTALLED = [family for family in metrics.FAMILIES if not family.missing]
NAMES = [one.name for family in INSTALLED for one in family.measures]
BY_CLEAN = [name for name in NAMES if not name.startswith(("dnsmos", "level", "clipped", "silenced"))]


def installed(name: str):
    missing = next(family.missing for family in metrics.FAMILIES if name in {m.name for m in family.measures})
    return pytest.mark.skipif(bool(missing), reason=f"{name} needs {', '.join(missing)}")


@pytest.fixture(scope="module")
def pair() -> tuple[np.ndarray, np.ndarray]:
    """A real recording, clean and noisy, float64 [samples] at 16 kHz."""
    clean, noisy = (soundfile.read(RECORDINGS / side / "p287_003.flac")[0] for side in ("clean", "noisy"))
    return clean, noisy


@installed("csig")
def test_composite_is_loizous(pair):
    # The figures are those of pysepm (0.1, revision 7ef88af) for these files.
    assert ratios.segmental_snr(*pair, RATE) == pytest.approx(-0.8395, abs=1e-4)
    assert spectral.likelihood_ratio(*pair, RATE) == pytest.approx(0.9296, abs=1e-4)
    assert spectral.spectral_slope(*pair, RATE) == pytest.approx(59.9994, abs=1e-4)
    assert spectral.composite(*pair, RATE) == pytest.approx((2.3005, 1.7192, 1.638), abs=1e-4)


@installed("pesq")
def test_scores_are_those_of_the_packages(pair):
    import pesq
    import pystoi

    clean, noisy = pair
    scores = metrics.measure(["pesq", "pesq_nb", "estoi", "stoi"], clean, noisy, noisy, RATE)
    assert scores["pesq"] == pesq.pesq(RATE, clean, noisy, "wb")
    for name in ("estoi", "stoi"):
        np.random.seed(0)  # noqa: NPY002
        assert scores[name] == pystoi.stoi(clean, noisy, RATE, name == "estoi")
    assert 1.017 < scores["pesq_nb"] < 4.549


@installed("dnsmos_ovrl")
def test_dnsmos_is_the_packages_and_takes_any_level(pair):
    from speechmos import dnsmos

    clean, noisy = pair
    ours, theirs = metrics.dnsmos(clean, RATE), dnsmos.run(clean, sr=RATE)
    assert list(ours) == [theirs[f"{name}_mos"] for name in ("ovrl", "sig", "bak", "p808")]
    assert ours.ovrl > metrics.dnsmos(noisy, RATE).ovrl
    loud = 3 / np.abs(clean).max() * clean  # the package raises an error
    assert metrics.dnsmos(loud, RATE) == metrics.dnsmos(np.clip(loud, -1, 1), RATE)


@pytest.mark.parametrize("name", NAMES)
def test_a_perfect_estimate_is_best(name, pair):
    clean, noisy = pair
    one = metrics.MEASURES[name]
    score = metrics.measure([name], clean, noisy, clean, RATE)[name]
    worse = metrics.measure([name], clean, noisy, noisy, RATE)[name]
    if one.better == "higher" and name != "si_sir":  # the noisy file has no other artifacts than none
        assert score > worse
    if name in ("estoi", "stoi", "si_sdr", "lsd", "lps", "seg_snr", "pesq", "pesq_nb"):
        assert score == pytest.approx(one.best, abs=2e-3)
    assert min(one.worst, one.best) <= worse <= max(one.worst, one.best)


@pytest.mark.parametrize("fill", [0.0, 0.25, np.nan, np.inf])
@pytest.mark.parametrize("name", NAMES)
def test_an_undefined_estimate_is_worst(name, fill, pair):
    clean, noisy = pair
    score = metrics.measure([name], clean, noisy, np.full_like(clean, fill), RATE)[name]
    defined = name in ("seg_snr", "lsd", "silenced", "clipped") and np.isfinite(fill)
    if not defined:
        assert score == metrics.MEASURES[name].worst
    assert np.isfinite(score)


@pytest.mark.parametrize("name", BY_CLEAN)
def test_a_silent_reference_defines_nothing(name, pair):
    _, noisy = pair
    silence = np.zeros_like(noisy)
    for estimate in (noisy, silence, np.full_like(noisy, np.nan)):
        assert np.isnan(metrics.measure([name], silence, noisy, estimate, RATE)[name])


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("length", [0, 1, 100])
def test_short_waves_raise_nothing(name, length):
    wave = 0.1 * np.random.default_rng(0).standard_normal(length)
    score = metrics.measure([name], wave, 2 * wave, wave, RATE)[name]
    one = metrics.MEASURES[name]
    assert np.isnan(score) or min(one.worst, one.best) <= score <= max(one.worst, one.best)


@given(st.lists(st.sampled_from("abc"), max_size=8), st.lists(st.sampled_from("abc"), max_size=8))
def test_edit_distance_is_a_metric(one, other):
    distance = phonemes.edit_distance(one, other)
    assert distance == phonemes.edit_distance(other, one)
    assert (distance == 0) == (one == other)
    assert abs(len(one) - len(other)) <= distance <= max(len(one), len(other))
    assert phonemes.edit_distance([*one, "x"], [*other, "x"]) == distance


def test_edit_distance_of_words():
    assert phonemes.edit_distance("kitten", "sitting") == 3


@installed("lps")
def test_phoneme_similarity_does_not_depend_on_what_came_before(pair):
    clean, noisy = pair
    first = metrics.phoneme_similarity(clean, noisy, RATE)
    metrics.phoneme_similarity(noisy, clean, RATE)
    phonemes._recognize.cache_clear()
    assert metrics.phoneme_similarity(clean, noisy, RATE) == first
    assert metrics.phoneme_similarity(clean, 0.01 * noisy, RATE) == pytest.approx(first, abs=0.1)
    assert first < 0.8


def test_level_clipping_and_silence_are_counted(pair):
    clean, noisy = pair
    assert metrics.level_change(noisy, noisy / 10) == pytest.approx(-20)
    estimate = noisy.copy()
    estimate[: clean.size // 2] = 0
    share = metrics.silenced_share(noisy, estimate, RATE)
    assert share == pytest.approx(0.5, abs=0.05)
    assert metrics.clipped_share(np.r_[1.0, -1.0, 0.5, 0.0]) == 0.5


def test_an_unknown_measure_is_refused():
    with pytest.raises(ValueError, match="no measure 'mos'; expected one of pesq"):
        metrics.measure(["mos"], [0.0], [0.0], [0.0], RATE)
