"""rosecd_jax.audio.level: max |y| for ordinary recordings, and what lasts where something louder does not."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rosecd_jax.audio.level import WINDOW, LevelMeter, block_size, level_of_padded, measure

RATE = 16_000


def speech_like(seconds=4.0, seed=0):
    """Syllables: noise that swells and falls three times a second."""
    generator, time = np.random.default_rng(seed), np.arange(round(seconds * RATE)) / RATE
    return (0.05 * generator.standard_normal(time.size) * np.sin(3 * np.pi * time) ** 2).astype(np.float32)


def thump(samples):
    return np.hanning(samples + 2)[1:-1] * np.sin(2 * np.pi * 100 * np.arange(samples) / RATE + 1)


def level(wave):
    found = measure(np.atleast_2d(wave).astype(np.float32), RATE)
    return float(found.offset[0]), float(found.scale[0])


@pytest.mark.parametrize("seconds", [0.01, 0.3, 0.5, 4, 60])
def test_an_ordinary_recording_is_divided_by_its_maximum(seconds):
    wave = speech_like(seconds)
    assert level(wave) == (0, np.abs(wave).max())


@pytest.mark.parametrize("seconds", [4, 120])
@pytest.mark.parametrize("places", [[0.5], [0.0], [0.1, 0.5, 0.7, 0.9]])
@pytest.mark.parametrize("length", [1, 160, 320, 800])
def test_loud_events_do_not_count(seconds, places, length):
    wave = speech_like(seconds)
    loud = wave.copy()
    for place in places:
        start = round(place * wave.size)
        loud[start : start + length] += 30 * np.abs(wave).max() * thump(length)[: wave.size - start]
    assert level(loud)[1] == pytest.approx(np.abs(wave).max(), rel=0.15)


@pytest.mark.parametrize("gain", [10, 40, 90])
@pytest.mark.parametrize("seconds", [0.008, 0.02])  # the time constant of the decay
@pytest.mark.parametrize("start", [10_000, 31_000, 60_000])
def test_what_rings_after_an_event_does_not_count(gain, seconds, start):
    wave, time = speech_like(), np.arange(2400) / RATE
    loud = wave.copy()
    loud[start : start + 2400] += gain * np.abs(wave).max() * np.exp(-time / seconds) * np.cos(565 * time)
    assert level(loud)[1] == pytest.approx(np.abs(wave).max(), rel=0.2)


@pytest.mark.parametrize("share", [-0.05, 0, 0.1])
@pytest.mark.parametrize("size", [1, 80, 480])
@pytest.mark.parametrize("places", [[20_000], [6_000, 20_000, 34_000, 48_000]])
def test_one_sided_events_neither_make_nor_hide_an_offset(share, size, places):
    wave = speech_like() - np.mean(speech_like())
    peak = float(np.abs(wave).max())
    loud = wave + share * peak
    for place in places:
        loud[place : place + size] += 30 * peak * np.hanning(size + 2)[1:-1]
    offset, scale = level(loud)
    assert offset == pytest.approx(share * peak, abs=0.004 * peak)
    assert scale == pytest.approx(peak, rel=0.15)


@pytest.mark.parametrize("seconds", [0.5, 0.94, 3])
@pytest.mark.parametrize("decay", [0.01, 0.03, 0.06])
@pytest.mark.parametrize("share", [0, 0.1])
def test_a_long_one_sided_sound_makes_no_offset(seconds, decay, share):
    wave = speech_like(seconds)
    peak = np.abs(wave).max()
    wave = wave - wave.mean() + share * peak
    wave[2000:] += 18 * peak * np.exp(-np.arange(wave.size - 2000) / RATE / decay)
    assert -0.1 * peak < level(wave)[0] < 0.2 * peak


@pytest.mark.parametrize("edge", [slice(900), slice(-900, None)])
def test_speech_at_the_edge_of_a_short_recording_is_no_event(edge):
    wave = np.random.default_rng(1).normal(size=8000, scale=1e-4).astype(np.float32)
    wave[edge] += speech_like()[2000:2900]
    assert level(wave)[1] == np.abs(wave).max()


@pytest.mark.parametrize("gain", [1, 4, 30])
def test_a_models_input_is_clipped_at_events_only(gain):
    wave = speech_like()[None]
    wave[:, 20_000:20_320] += (gain - 1) * np.abs(wave).max() * thump(320).astype(np.float32)
    found = measure(wave, RATE)
    divided, scaled = wave / found.scale[:, None], found.scaled(wave)
    beyond = np.abs(divided) > 1
    assert beyond.any() == (gain > 5)
    assert not beyond[:, np.r_[:20_000, 20_320:64_000]].any()
    np.testing.assert_array_equal(scaled, np.where(beyond, np.sign(divided), divided))
    assert scaled.dtype == found.offset.dtype == found.scale.dtype == np.float32


def test_what_lasts_counts_however_loud():
    wave = speech_like()
    wave[30_000:35_000] *= 30
    assert level(wave)[1] == np.abs(wave).max()


def test_one_word_in_a_long_pause_is_no_event():
    wave = np.random.default_rng(1).normal(size=60 * RATE, scale=1e-4).astype(np.float32)
    wave[30 * RATE : 30 * RATE + 3200] += speech_like()[:3200]
    assert level(wave)[1] == np.abs(wave).max()


def test_a_click_alone_is_the_level():
    wave = np.zeros(RATE, np.float32)
    wave[500] = -0.5
    assert level(wave) == (0, 0.5)
    assert level(np.zeros(RATE)) == (0, 0)


@pytest.mark.parametrize("share", [-0.5, -0.1, -0.01, 0.01, 0.1, 2.0])
def test_an_offset_is_found_and_does_not_change_the_level(share):
    wave = speech_like()
    wave -= wave.mean()
    offset = share * np.abs(wave).max()
    found, scale = level(wave + offset)
    assert found == pytest.approx(offset, rel=1e-4)
    assert scale == pytest.approx(np.abs(wave).max(), rel=1e-4)


def test_the_means_of_short_and_of_ordinary_recordings_are_left():
    wave = speech_like()
    assert level(wave - wave.mean() + 0.002 * np.abs(wave).max())[0] == 0
    assert level(np.ones(WINDOW * block_size(RATE) - 1)) == (0, 1)


@given(sizes=st.lists(st.integers(0, 4000), min_size=1, max_size=12), seed=st.integers(0, 99))
def test_blocks_give_what_the_whole_gives(sizes, seed):
    generator = np.random.default_rng(seed)
    blocks = [generator.standard_normal((2, size)).astype(np.float32) for size in (*sizes, 7)]
    blocks[0][:, :1] = 40
    whole, meter = measure(np.concatenate(blocks, axis=1), RATE), LevelMeter(2, RATE)
    for block in blocks:
        meter.put(block)
    np.testing.assert_array_equal(meter.level().scale, whole.scale)
    np.testing.assert_allclose(meter.level().offset, whole.offset, rtol=1e-5)


@pytest.mark.parametrize("samples", [1, 127, 128, 6399, 6400, 20_000])
def test_a_buffer_gives_what_its_signal_gives(samples):
    waves = np.random.default_rng(0).standard_normal((3, samples)).astype(np.float32)
    waves[0, samples // 2], waves[1] = 50, waves[1] + 0.3
    buffer = jnp.asarray(np.pad(waves, ((0, 0), (0, 12_345)), constant_values=99))
    padded = jax.jit(level_of_padded, static_argnums=2)(buffer, jnp.full(3, samples), RATE)
    expected = measure(waves, RATE)
    np.testing.assert_allclose(padded.offset, expected.offset, atol=1e-6)
    np.testing.assert_allclose(padded.scale, expected.scale, rtol=1e-6)
