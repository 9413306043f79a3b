"""rosecd_jax.metrics: values known by construction, and real recordings."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from rosecd_jax import metrics
from tests.helpers import needs_pesq

pytestmark = pytest.mark.filterwarnings("error")
RECORDINGS = Path(__file__).parents[3] / "shared" / "data" / "vbdmd" / "test"
needs_recordings = pytest.mark.skipif(not RECORDINGS.is_dir(), reason=f"needs the recordings in {RECORDINGS}")

PERCEPTUAL = [pytest.param(metrics.pesq, marks=needs_pesq), metrics.stoi, metrics.estoi]
HAS_PESQ = metrics.pesq_is_installed()
WORST = metrics.WORST if HAS_PESQ else metrics.WORST._replace(pesq=np.nan)
"""What `evaluate_pair` gives here."""


def noise(length: int = 16000, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(length) * 0.1


def orthogonal(count: int, length: int = 1000) -> list[np.ndarray]:
    """Waves of energy one without correlation."""
    return list(np.linalg.qr(np.random.default_rng(0).standard_normal((length, count)))[0].T)


@settings(max_examples=50)
@given(st.floats(-60, 60), st.floats(0.01, 100), st.floats(0.01, 100))
def test_si_sdr_of_orthogonal_noise_at_any_scale(ratio, scale_reference, scale_estimate):
    speech, disturbance = orthogonal(2)
    estimate = speech + 10 ** (-ratio / 20) * disturbance
    assert metrics.si_sdr(scale_reference * speech, -scale_estimate * estimate) == pytest.approx(
        ratio, abs=1e-8
    )


@settings(max_examples=50)
@given(st.floats(-40, 40), st.floats(-40, 40), st.floats(0.01, 100))
def test_energy_ratios_of_orthogonal_parts(leftover, artefact, scale):
    speech, background, musical = orthogonal(3)
    estimate = speech + 10 ** (-leftover / 20) * background + 10 ** (-artefact / 20) * musical
    ratios = metrics.energy_ratios(speech, scale * estimate, 7 * background)
    total = -10 * np.log10(10 ** (-leftover / 10) + 10 ** (-artefact / 10))
    assert ratios == pytest.approx((total, leftover, artefact), abs=1e-8)
    assert ratios.si_sdr == metrics.si_sdr(speech, scale * estimate)


def test_energy_ratios_follow_their_definition_on_correlated_waves():
    speech, background = noise(seed=1), noise(seed=2) + 0.3 * noise(seed=1)
    estimate = speech + 0.1 * background + 0.2 * noise(seed=3)
    target = (estimate @ speech) / (speech @ speech) * speech
    leftover = (estimate @ background) / (background @ background) * background
    artefacts = estimate - target - leftover
    expected = [10 * np.log10(target @ target / (e @ e)) for e in (leftover + artefacts, leftover, artefacts)]
    assert metrics.energy_ratios(speech, estimate, background) == pytest.approx(expected)


def test_ratios_at_the_edges():
    wave, silence = noise(), np.zeros(16000)
    assert metrics.si_sdr(wave, wave) == np.inf
    assert metrics.si_sdr(wave, 3.7 * wave) > 250
    assert metrics.si_sdr(np.eye(2)[0], np.eye(2)[1]) == -np.inf
    assert np.isnan(metrics.si_sdr(wave, silence))
    assert np.isnan(metrics.si_sdr(silence, wave))
    assert np.isnan(metrics.si_sdr([], []))
    assert np.isnan(metrics.energy_ratios(wave, silence, wave)).all()
    assert np.isnan(metrics.energy_ratios(silence, wave, wave)).all()
    without_noise = metrics.energy_ratios(wave, wave, silence)
    assert without_noise.si_sdr == np.inf
    assert np.isnan(without_noise[1:]).all()


@pytest.mark.parametrize("measure", PERCEPTUAL)
@pytest.mark.parametrize("rate", [8000, 16000, 44100])
def test_perceptual_scores_of_identical_waves(measure, rate):
    best = 4.644 if measure is metrics.pesq else 1
    wave = noise(32_000)
    assert measure(wave, wave, rate) == pytest.approx(best, abs=1e-3 if best > 1 else 1e-6)


@pytest.mark.parametrize("measure", PERCEPTUAL)
def test_perceptual_scores_that_do_not_exist_are_nan(measure):
    wave, silence, broken = noise(), np.zeros(16000), noise()
    broken[100] = np.nan
    for reference, estimate in [
        (wave, silence),
        (silence, wave),
        (silence, silence),
        (wave, broken),
        (broken, wave),
    ]:
        assert np.isnan(measure(reference, estimate, 16000))
    for length in (0, 1, 100, 420, 3999):
        assert np.isnan(measure(wave[:length], wave[:length], 16000))


def test_a_click_is_nearly_all_pause_and_has_no_estoi():
    click = np.eye(1, 16000, 8000)[0]
    assert np.isnan(metrics.estoi(click, click, 16000))


@needs_pesq
def test_an_estimate_without_energy_has_no_pesq():
    assert np.isnan(metrics.pesq(noise(), 1e-50 * noise(), 16000))


@pytest.mark.parametrize("measure", PERCEPTUAL)
def test_scores_fall_as_noise_rises(measure):
    speech = noise(32000) * (np.sin(np.arange(32000) / 1000) > 0)
    scores = [measure(speech, speech + level * noise(32000, 1), 16000) for level in (0.01, 0.1, 1)]
    assert scores == sorted(scores, reverse=True)


def pulsed(samples=32_000):
    return noise(samples) * (np.sin(np.arange(samples) / 1000) > 0)


@pytest.mark.parametrize(
    "estimate",
    [
        np.zeros,
        lambda size: np.full(size, 0.1),
        lambda size: np.full(size, np.nan),
        lambda size: np.full(size, -np.inf),
    ],
    ids=["silent", "constant", "nan", "infinite"],
)
def test_an_estimate_without_a_signal_has_the_worst_scores(estimate):
    clean = pulsed()
    noisy = clean + 0.1 * noise(clean.size, 1)
    found = metrics.evaluate_pair(clean, noisy, estimate(clean.size), 16_000)
    np.testing.assert_equal(found, WORST)
    one = noisy.copy()
    one[100] = np.nan
    np.testing.assert_equal(metrics.evaluate_pair(clean, noisy, one, 16_000), WORST)
    for other in (noisy, noise(clean.size, 2), -clean, np.eye(1, clean.size, 5)[0]):
        scores = np.array(metrics.evaluate_pair(clean, noisy, other, 16_000))
        assert (scores >= found)[~np.isnan(WORST)].all()


def test_a_reference_that_defines_no_score_has_none_for_any_estimate():
    clean, silence = pulsed(), np.zeros(32_000)
    for estimate in (clean, silence, noise(32_000, 3)):
        assert np.isnan(metrics.evaluate_pair(silence, clean, estimate, 16_000)).all()
        unmixed = metrics.evaluate_pair(clean, clean, estimate, 16_000)
        assert np.isnan([unmixed.si_sir, unmixed.si_sar]).all()
        assert np.isfinite([unmixed.estoi, unmixed.si_sdr]).all()
        assert np.isfinite(unmixed.pesq) == HAS_PESQ
        short = metrics.evaluate_pair(clean[:2000], clean[:2000] + 0.1, estimate[:2000], 16_000)
        assert np.isnan([short.pesq, short.estoi]).all()
        assert np.isfinite(short.si_sdr)


def test_a_perfect_estimate_has_its_part_in_a_mean():
    clean = pulsed()
    assert (
        metrics.evaluate_pair(clean, clean + noise(clean.size, 1), clean, 16_000).si_sdr == metrics.BEST_RATIO
    )


def test_estoi_is_the_same_at_every_call_and_leaves_numpys_generator_alone():
    clean = pulsed()
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    scores = {metrics.estoi(clean, clean + 0.1 * noise(clean.size, 1), 16_000) for _ in range(5)}
    assert len(scores) == 1
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002


@needs_pesq
@pytest.mark.slow
@pytest.mark.parametrize("seconds", [0.1, 0.21, 0.22, 0.25, 0.3, 0.4, 0.5])
def test_pesq_of_many_short_bursts(seconds):
    # More than 50 utterances crash the interpreter of the package pesq, hence the child process.
    script = (
        "import numpy; from rosecd_jax.metrics import pesq\n"
        "time = numpy.arange(29 * 16_000) / 16_000\n"
        "tone = sum(numpy.sin(2 * numpy.pi * 150 * k * time) / k for k in range(1, 20))\n"
        f"clean = 0.2 * tone * (time % {2 * seconds} < {seconds})\n"
        "noise = numpy.random.default_rng(0).standard_normal(clean.size)\n"
        "for level in (0.003, 0.1): assert 1 < pesq(clean, clean + level * noise, 16_000) < 4\n"
        "assert pesq(clean + 0.003 * noise, clean, 16_000) > 1\n"
        "assert abs(pesq(clean, clean, 16_000) - 4.644) < 1e-3\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


@needs_pesq
@pytest.mark.slow
def test_pesq_of_long_recordings():
    # 70 utterances at once crash the interpreter of the package pesq, hence the child process.
    script = (
        "import numpy; from rosecd_jax.metrics import pesq\n"
        "noise = numpy.random.default_rng(0).standard_normal(8000) * 0.1\n"
        "wave = numpy.tile(numpy.concatenate([noise, 0 * noise]), 70)\n"
        "assert abs(pesq(wave, wave, 16000) - 4.644) < 1e-3\n"
        "muted = numpy.where(numpy.arange(len(wave)) < 30 * 16000, 0, wave)\n"
        "assert pesq(muted, wave, 16000) > 4 and 1.5 < pesq(wave, muted, 16000) < 4\n"
        "assert numpy.isnan(pesq(wave, 0 * wave + 1e-30, 16000))\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


@pytest.mark.parametrize("measure", PERCEPTUAL)
def test_perceptual_scores_of_unfit_waves_are_refused(measure):
    wave = noise(100)
    with pytest.raises(ValueError, match="100, 99 samples"):
        measure(wave, wave[1:], 16000)
    with pytest.raises(ValueError, match="one channel at a time"):
        measure(wave[None], wave[None], 16000)


def test_unfit_waves_are_refused():
    wave = noise(100)
    with pytest.raises(ValueError, match="100, 99 samples"):
        metrics.si_sdr(wave, wave[1:])
    with pytest.raises(ValueError, match="100, 100, 99 samples"):
        metrics.energy_ratios(wave, wave, wave[1:])
    with pytest.raises(ValueError, match="100, 99, 100 samples"):
        metrics.evaluate_pair(wave, wave[1:], wave, 16000)


@needs_recordings
def test_noisy_recordings_score_as_known():
    scores = []
    for path in sorted((RECORDINGS / "clean").iterdir()):
        clean, rate = soundfile.read(path)
        noisy, _ = soundfile.read(RECORDINGS / "noisy" / path.name)
        scores.append(metrics.evaluate_pair(clean, noisy, noisy, rate))
        assert scores[-1].si_sdr == metrics.si_sdr(clean, noisy)
    mean = metrics.Scores(*np.mean(scores, axis=0))
    assert len(scores) == 14
    assert mean.pesq == pytest.approx(1.66 if HAS_PESQ else np.nan, abs=0.005, nan_ok=True)
    assert mean.estoi == pytest.approx(0.675, abs=0.0005)
    assert mean.si_sdr == pytest.approx(5.8, abs=0.05)


def test_importing_is_light():
    script = (
        "import sys, rosecd_jax.metrics; sys.exit(any(m in sys.modules for m in ('pesq', 'pystoi', 'soxr')))"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
