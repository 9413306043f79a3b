"""Resampling of streams: against a resampler for whole signals, and its promise about what it waits for."""

import math
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rosecd_jax.audio import io
from rosecd_jax.audio.resampling import StreamResampler

RATES = [8_000, 11_025, 12_345, 16_001, 22_050, 44_100, 44_101, 48_000, 96_000]


def resampled(change: StreamResampler, wave: np.ndarray, sizes: list[int]) -> np.ndarray:
    parts, start, turn = [], 0, 0
    while start < wave.shape[-1]:
        size = sizes[turn % len(sizes)]
        parts.append(change(wave[:, start : start + size]))
        start, turn = start + size, turn + 1
    return np.concatenate(parts, axis=-1)


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("there", [True, False])
def test_equals_the_resampling_of_whole_signals(rate, there):
    rates = (rate, 16_000) if there else (16_000, rate)
    seconds = np.arange(rates[0]) / rates[0]
    tones = [np.sin(2 * np.pi * f * seconds) for f in (50, 1000, 0.42 * min(rates))]
    wave = (np.stack(tones) * np.sin(np.pi * seconds) ** 2).astype(np.float32)
    expected = io.resample(wave, *rates)
    output = StreamResampler(*rates, 3)(wave)
    samples = output.shape[-1]
    assert samples >= rates[1] * (1 - 0.02)
    np.testing.assert_allclose(output, expected[:, :samples], atol=5e-4)


@pytest.mark.parametrize("rate", [44_100, 48_000])
def test_what_the_lower_rate_cannot_hold_is_left_out(rate):
    tone = np.sin(2 * np.pi * 8_100 * np.arange(rate) / rate).astype(np.float32)[None]
    output = StreamResampler(rate, 16_000, 1)(tone)[:, 500:]
    assert np.abs(output).max() < 2e-4


@settings(deadline=None, max_examples=40)
@given(
    st.sampled_from(RATES), st.booleans(), st.lists(st.integers(0, 900), min_size=1, max_size=9).filter(any)
)
def test_cuts_don_t_matter_and_nothing_is_later_than_promised(rate, there, sizes):
    rates = (rate, 16_000) if there else (16_000, rate)
    wave = np.random.default_rng(0).uniform(-1, 1, (2, 3000)).astype(np.float32)
    change = StreamResampler(*rates, 2)
    expected = change(wave)
    change.reset()
    np.testing.assert_array_equal(resampled(change, wave, sizes), expected)
    change.reset()
    fed = given = 0
    for size in sizes:
        fed += size
        given += change(np.zeros((2, size), np.float32)).shape[-1]
        assert given >= math.floor((fed / rates[0] - change.lag) * rates[1])


@pytest.mark.parametrize("rates", [(383_999, 16_000), (16_000, 383_999)])
def test_rates_without_a_common_factor_take_little_memory(rates):
    tracemalloc.start()
    try:
        StreamResampler(*rates, 2)(np.zeros((2, rates[0] // 16), np.float32))
        assert tracemalloc.get_traced_memory()[1] < 2**27
    finally:
        tracemalloc.stop()


def test_a_rate_without_a_common_factor_is_resampled_as_well_as_others():
    seconds = np.arange(96_001) / 96_001
    tone = np.sin(2 * np.pi * 7_000 * seconds).astype(np.float32)[None]
    output = StreamResampler(96_001, 16_000, 1)(tone)[:, 500:]
    expected = np.sin(2 * np.pi * 7_000 * np.arange(500, 500 + output.shape[-1]) / 16_000)
    np.testing.assert_allclose(output[0], expected, atol=1e-4)
