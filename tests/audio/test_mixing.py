import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

from rosecd_jax.audio.mixing import fit_length, mix_at_snr

seeds = st.integers(0, 2**32 - 1)


def snr(clean, noisy):
    clean, noisy = clean.astype(np.float64), noisy.astype(np.float64)
    return 10 * np.log10(np.mean(clean**2) / np.mean((noisy - clean) ** 2))


@hypothesis.given(
    seeds, st.floats(-30, 40), st.floats(1e-4, 10), st.floats(1e-4, 10), st.sampled_from([(3000,), (2, 1500)])
)
@hypothesis.settings(deadline=None, max_examples=50)
def test_the_snr_is_reached_and_nothing_clips(seed, snr_db, clean_level, noise_level, shape):
    generator = np.random.default_rng(seed)
    clean, noise = clean_level * generator.normal(size=shape), noise_level * generator.uniform(-1, 1, shape)
    scaled, noisy = mix_at_snr(clean, noise, snr_db)
    assert scaled.dtype == noisy.dtype == np.float32
    assert scaled.shape == noisy.shape == shape
    assert snr(scaled, noisy) == pytest.approx(snr_db, abs=0.01)
    assert max(np.abs(scaled).max(), np.abs(noisy).max()) <= 1
    factor = np.sum(scaled * clean) / np.sum(clean**2)
    assert factor <= 1 + 1e-6
    np.testing.assert_allclose(scaled, factor * clean, atol=1e-6)


def test_a_quiet_pair_keeps_its_level():
    generator = np.random.default_rng(0)
    clean, noise = 0.01 * generator.normal(size=(2, 1000))
    np.testing.assert_array_equal(mix_at_snr(clean, noise, 0)[0], clean.astype(np.float32))


@pytest.mark.parametrize(
    ("clean", "noise", "snr_db", "message"),
    [
        (np.zeros(9), np.ones(9), 0, "clean is silent"),
        (np.ones(9), np.zeros(9), 0, "noise is silent"),
        (np.ones(0), np.ones(0), 0, "silent"),
        (np.ones(9), np.full(9, np.nan), 0, "noise is not finite"),
        (np.ones(9), np.ones(8), 0, "same shape"),
        (np.ones(9), np.ones(9), np.inf, "snr_db"),
    ],
)
def test_what_cannot_be_mixed_is_refused(clean, noise, snr_db, message):
    with pytest.raises(ValueError, match=message):
        mix_at_snr(clean, noise, snr_db)


@hypothesis.given(seeds, st.integers(1, 50), st.integers(0, 120))
@hypothesis.settings(deadline=None)
def test_fitted_noise_is_a_crop_or_a_repetition(seed, length, samples):
    noise = np.arange(2 * length, dtype=np.float32).reshape(2, length)
    fitted = fit_length(noise, samples, np.random.default_rng(seed))
    assert fitted.shape == (2, samples)
    assert fitted.dtype == np.float32
    steps = np.diff(fitted)
    assert np.isin(steps, [1, 1 - length] if samples > length else [1]).all()
    np.testing.assert_array_equal(fitted, fit_length(noise, samples, np.random.default_rng(seed)))


def test_all_crops_and_no_empty_noise():
    starts = {int(fit_length(np.arange(8), 5, np.random.default_rng(seed))[0]) for seed in range(99)}
    assert starts == {0, 1, 2, 3}
    with pytest.raises(ValueError, match="no samples"):
        fit_length(np.zeros(0), 5, np.random.default_rng(0))
