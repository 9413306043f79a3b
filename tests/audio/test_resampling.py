"""rosecd_jax.audio.resampling: lengths, values, and blocks like the whole."""

import numpy as np
import soxr
from hypothesis import given, settings
from hypothesis import strategies as st

from rosecd_jax.audio import io


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).uniform(-0.9, 0.9, shape).astype(np.float32)


RATES = st.sampled_from([8000, 16000, 22050, 44100, 48000, 96000])


@settings(max_examples=60, deadline=None)
@given(RATES, RATES, st.integers(1, 3000))
def test_resampled_lengths(rate_in, rate_out, length):
    wave = noise(2, length)
    there = io.resample(wave, rate_in, rate_out)
    assert there.dtype == np.float32
    assert there.shape[1] == io.resampled_length(length, rate_in, rate_out)
    assert there.shape[1] == max(1, len(soxr.resample(wave[0], rate_in, rate_out, quality="VHQ")))
    assert io.resample(there, rate_out, rate_in, samples=length).shape == wave.shape


def test_a_sine_survives_resampling_and_the_way_back():
    sine = np.sin(2 * np.pi * 1000 * np.arange(44100) / 44100).astype(np.float32)
    there = io.resample(sine, 44100, 16000)
    expected = np.sin(2 * np.pi * 1000 * np.arange(16000) / 16000)
    np.testing.assert_allclose(there[500:-500], expected[500:-500], atol=1e-4)
    back = io.resample(there, 16000, 44100, samples=44100)
    np.testing.assert_allclose(back[2000:-2000], sine[2000:-2000], atol=1e-4)


def test_resample_keeps_leading_axes_apart():
    wave = noise(2, 3, 500)
    together = io.resample(wave, 48000, 16000)
    assert together.shape == (2, 3, 167)
    np.testing.assert_allclose(together[1, 2], io.resample(wave[1, 2], 48000, 16000), atol=1e-6)


def test_equal_rates_and_given_lengths():
    wave = noise(2, 5)
    np.testing.assert_array_equal(io.resample(wave, 16000, 16000), wave)
    np.testing.assert_array_equal(io.resample(wave, 16000, 16000, samples=7), np.pad(wave, ((0, 0), (0, 2))))
    np.testing.assert_array_equal(io.resample(wave, 16000, 16000, samples=3), wave[:, :3])


@settings(max_examples=40, deadline=None)
@given(RATES, RATES, st.integers(1, 20_000), st.integers(1, 5000), st.integers(1, 2))
def test_a_wave_in_blocks_is_resampled_as_the_whole(rate_in, rate_out, length, size, channels):
    wave = noise(channels, length)
    blocks = (wave[:, i : i + size] for i in range(0, length, size))
    together = np.concatenate(list(io.resample_blocks(blocks, rate_in, rate_out)), axis=1)
    np.testing.assert_array_equal(together, io.resample(wave, rate_in, rate_out))
    back = io.resample_blocks(iter([together]), rate_out, rate_in, samples=length)
    np.testing.assert_array_equal(
        np.concatenate(list(back), axis=1), io.resample(together, rate_out, rate_in, samples=length)
    )
