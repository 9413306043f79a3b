"""Streams: the output is independent of chunks, has the stated latency, and is finite for any input."""

import dataclasses
import functools
import time
from concurrent.futures import ThreadPoolExecutor

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rosecd_jax.audio.resampling import StreamResampler
from rosecd_jax.inference import Enhancer
from rosecd_jax.inference.step_times import StepTimes
from rosecd_jax.inference.stream_step import (
    StreamConfig,
    StreamState,
    compile_step,
    initial_state,
    stream_keys,
    stream_step,
)
from rosecd_jax.inference.streaming import StreamingEnhancer
from rosecd_jax.models import ScoreModel
from rosecd_jax.models.enhancement import SamplerConfig, enhance_padded
from tests.helpers import random_params
from tests.inference.streams import ONE_STEP, SMALL, STUDENT, Identity, Mixing, sound


class Noisy(ScoreModel):
    """Gives back its noisy state, frame by frame."""

    def denoise(self, params, x_t, y, t):
        return x_t


@pytest.fixture(scope="module")
def network() -> StreamingEnhancer:
    model = ScoreModel(STUDENT)
    return StreamingEnhancer(model, random_params(model), config=SMALL)


@pytest.fixture(scope="module")
def mixing() -> StreamingEnhancer:
    return StreamingEnhancer(Mixing(STUDENT), None, config=SMALL, channels=2)


@pytest.fixture(scope="module")
def identity() -> StreamingEnhancer:
    return StreamingEnhancer(Identity(STUDENT), None, config=SMALL)


def run(stream: StreamingEnhancer, wave: np.ndarray, sizes: list[int]) -> np.ndarray:
    """Push a whole signal in chunks of these sizes, in turn; flush; and check that counts agree."""
    stream.reset()
    given, start, turn = [], 0, 0
    while start < wave.shape[-1]:
        chunk = wave[..., start : start + sizes[turn % len(sizes)]]
        given.append(stream.push(chunk))
        assert given[-1].shape == chunk.shape
        start, turn = start + chunk.shape[-1], turn + 1
    return np.concatenate([*given, stream.flush()], axis=-1)


def whole(stream: StreamingEnhancer, wave: np.ndarray) -> np.ndarray:
    """A signal enhanced at one go, in line with the input."""
    return run(stream, wave, [max(1, wave.shape[-1])])[..., stream.latency :]


@pytest.mark.parametrize(
    "sizes",
    [[1], [7], [160], [512], [4096], np.random.default_rng(0).integers(0, 2000, 50).tolist()],
    ids=["1", "7", "160", "512", "4096", "random"],
)
def test_the_output_does_not_depend_on_how_the_input_is_cut(network, sizes):
    wave = sound(5000)
    expected = run(network, wave, [5000])
    assert np.abs(expected[network.latency :]).max() > 1e-3
    np.testing.assert_array_equal(run(network, wave, sizes), expected)


@settings(deadline=None, max_examples=25)
@given(sizes=st.lists(st.integers(0, 1500), min_size=1, max_size=12).filter(any))
def test_nor_does_that_of_two_channels(mixing, sizes):
    wave = sound(2, 4000)
    np.testing.assert_array_equal(run(mixing, wave, sizes), run(mixing, wave, [4000]))


@pytest.mark.parametrize(
    "config",
    [
        SMALL,
        StreamConfig(window=16, hop=1, look_ahead=0, fade=0),
        StreamConfig(window=16, hop=3, look_ahead=5, fade=3),
        StreamConfig(window=8, hop=8, look_ahead=0, fade=0),
    ],
    ids=str,
)
def test_an_impulse_comes_exactly_as_late_as_stated(config):
    stream = StreamingEnhancer(Identity(STUDENT), None, config=config)
    assert stream.latency == (config.hop + config.look_ahead + config.fade + 1) * 128 - 1
    assert stream.latency_seconds == stream.latency / 16_000
    for place in (0, 1, 130, 2000, 2999):
        wave = np.zeros(3000, np.float32)
        wave[place] = 0.5
        expected = np.concatenate([np.zeros(stream.latency, np.float32), wave])
        np.testing.assert_allclose(run(stream, wave, [250]), expected, atol=1e-5)


@pytest.mark.parametrize("samples", [0, 1, 100, 767, 768, 5000])
def test_start_and_end_lie_where_they_were(identity, samples):
    wave = sound(samples)
    output = run(identity, wave, [300])
    assert output.shape == (samples + identity.latency,)
    assert output.dtype == np.float32
    np.testing.assert_array_equal(output[: identity.latency], 0)
    np.testing.assert_allclose(output[identity.latency :], wave, atol=1e-5)


def test_what_was_given_never_changes_by_what_comes_after(mixing):
    wave = sound(2, 4000)
    mixing.reset()
    before = mixing.push(wave[:, :2500])
    np.testing.assert_array_equal(run(mixing, wave, [2500])[:, :2500], before)


def test_channels_are_enhanced_each_by_itself(mixing):
    wave = sound(2, 4000)
    expected = whole(mixing, wave)
    changed = np.stack([wave[0], np.zeros_like(wave[1])])
    again = whole(mixing, changed)
    np.testing.assert_array_equal(again[0], expected[0])
    np.testing.assert_array_equal(again[1], 0)
    np.testing.assert_array_equal(whole(mixing, wave[::-1]), expected[::-1])


def test_channels_do_not_share_a_correctors_step():
    sampler = SamplerConfig("pc", 2, corrector="langevin")
    model = ScoreModel(STUDENT)
    params = random_params(model)
    streams = [StreamingEnhancer(model, params, sampler, SMALL, channels=n) for n in (1, 2)]
    wave = sound(2, 3000)
    alone, together = whole(streams[0], wave[0]), whole(streams[1], wave)
    np.testing.assert_allclose(together[0], alone, atol=1e-5 * np.abs(alone).max())


def test_the_seed_makes_the_noise(mixing):
    wave = sound(2, 3000)
    other = StreamingEnhancer(Mixing(STUDENT), None, config=SMALL, channels=2, seed=1)
    assert np.abs(whole(other, wave) - whole(mixing, wave)).max() > 1e-3
    np.testing.assert_array_equal(whole(mixing, wave), whole(mixing, wave))


def test_silence_stays_silence_and_loudness_is_carried_through(mixing):
    wave = sound(2, 4000)
    np.testing.assert_array_equal(whole(mixing, np.zeros_like(wave)), 0)
    np.testing.assert_allclose(64 * whole(mixing, wave / 64), whole(mixing, wave), atol=1e-6)
    np.testing.assert_allclose(whole(mixing, wave * 2.0**-40) * 2.0**40, whole(mixing, wave), atol=1e-6)


@pytest.mark.parametrize("click", [1.0, -1e10, 9e29])
def test_a_click_passes(identity, click):
    wave = sound(16_000)
    wave[3000] = click
    output = whole(identity, wave)
    assert np.isfinite(output).all()
    np.testing.assert_allclose(output[3000], click, rtol=1e-3)
    np.testing.assert_allclose(output[:2000], wave[:2000], atol=1e-4)
    np.testing.assert_allclose(output[6000:], wave[6000:], atol=1e-4)


@pytest.mark.parametrize("offset", [-0.5, -0.02, 0.1, 3.0])
def test_an_offset_is_taken_off_as_soon_as_it_is_known(offset):
    wave = sound(1, 1, 8000)[0, 0]
    wave = wave - wave.mean()
    output = whole(StreamingEnhancer(Identity(STUDENT), None, config=SMALL), wave + np.float32(offset))
    np.testing.assert_allclose(output[4608:7000], wave[4608:7000], atol=0.2 * wave.std())
    plain = whole(StreamingEnhancer(Identity(STUDENT), None, config=SMALL), wave)
    np.testing.assert_allclose(plain, wave, atol=1e-4)  # without one nothing is taken off


@pytest.mark.parametrize("start", [100, 1500, 3000, 12_000])
@pytest.mark.parametrize("size", [160, 480])
def test_a_one_sided_event_is_no_offset(start, size):
    wave = sound(24_000)
    loud = wave.copy()
    loud[start : start + size] += 40 * np.abs(wave).max() * np.hanning(size)
    output = whole(StreamingEnhancer(Identity(STUDENT), None), loud)
    away = np.r_[: start - 128, start + size + 128 : wave.size]
    np.testing.assert_allclose(output[away], wave[away], atol=1e-4)


def test_the_level_is_the_maximum_and_falls_as_stated():
    config = dataclasses.replace(SMALL, level_decay=6.0)
    model, block = Identity(STUDENT), 4 * 128
    step = jax.jit(functools.partial(stream_step, model, ONE_STEP, config, None))
    state, keys = initial_state(model, config), stream_keys(0, 1)
    levels = []
    for amplitude in [0.0] + [0.5] * 8 + [0.1] * 40 + [0.0] * 5 + [1.0] + [1e-6] * 20:
        wave = amplitude * np.tile(np.array([1, -1], np.float32), (1, block // 2))
        state, _ = step(state, wave, keys)
        levels.append(float(state.level[0]))
    levels = np.asarray(levels)
    np.testing.assert_array_equal(levels[:2], [0, 0.5])
    fall = -20 * np.log10(levels[16:44] / levels[15:43])
    np.testing.assert_allclose(fall, 6.0 * block / 16_000, rtol=1e-3)
    assert levels[53] < levels[48]  # also in silence
    assert levels[54] == 1
    assert levels[59] == pytest.approx(1e-4)  # the window is past it: at most 40 dB above what is there
    assert levels[-1] < levels[59]


@pytest.mark.parametrize(
    ("chunk", "words"),
    [
        (np.array([0.1, np.nan]), "NaN"),
        (np.array([[0.1, -np.inf]]), "infinite"),
        (np.array([1e31]), r"beyond 1e\+30 \(full scale is 1\)"),
        (np.zeros((2, 5)), r"shape \(2, 5\): expected \[1, samples\] or \[samples\]"),
        (np.zeros((1, 1, 5)), "shape"),
        (np.float32(0.5), "shape"),
        (np.array([0.1 + 0.2j]), "complex samples: expected real ones"),
    ],
)
def test_a_chunk_that_makes_no_sense_is_refused_and_leaves_no_trace(identity, chunk, words):
    wave = sound(3000)
    identity.reset()
    first = identity.push(wave[:1700])
    with pytest.raises(ValueError, match=words):
        identity.push(chunk)
    output = np.concatenate([first, identity.push(wave[1700:]), identity.flush()])
    np.testing.assert_array_equal(output[identity.latency :], whole(identity, wave))


def test_a_channel_may_be_given_as_a_row(identity, mixing):
    assert identity.push(np.zeros((1, 30))).shape == (1, 30)
    assert identity.push(np.zeros(0)).shape == (0,)
    with pytest.raises(ValueError, match=r"expected \[2, samples\]$"):
        mixing.push(np.zeros(5))


mixing_step = jax.jit(functools.partial(stream_step, Mixing(STUDENT), ONE_STEP, SMALL, None))


def test_the_step_is_pure_and_can_be_scanned(mixing):
    wave, size = sound(2, 10 * 512), 512
    blocks, keys = jnp.moveaxis(wave.reshape(2, -1, size), 1, 0), stream_keys(0, 2)
    step = lambda state, block: mixing_step(state, block, keys)  # noqa: E731
    _, outputs = jax.lax.scan(step, initial_state(mixing.model, SMALL, 2), blocks)
    output = np.moveaxis(np.asarray(outputs), 0, 1).reshape(2, -1)
    early = SMALL.delay(mixing.model.front_end)
    np.testing.assert_allclose(output[:, early:], whole(mixing, wave)[:, : 10 * size - early], atol=1e-6)


def test_the_state_can_be_saved_and_taken_up_again(tmp_path):
    blocks, keys = sound(8, 2, 512), stream_keys(0, 2)
    state = initial_state(Mixing(STUDENT), SMALL, 2)
    for i, block in enumerate(blocks):
        if i == 4:
            np.savez(tmp_path / "state.npz", **state._asdict())
        state, expected = mixing_step(state, block, keys)
    with np.load(tmp_path / "state.npz") as file:
        restored = StreamState(**file)
    for block in blocks[4:]:
        restored, output = mixing_step(restored, block, keys)
    np.testing.assert_array_equal(output, expected)


def test_many_streams_at_different_places_go_through_one_step_by_vmap():
    model = Mixing(STUDENT)
    blocks = sound(3, 2, 512)
    keys = jax.random.split(jax.random.key(5), (3, 2))
    fresh = initial_state(model, SMALL, 2)
    later = fresh._replace(first_frame=jnp.int32(2**31 - 9))  # the count is about to overflow, after 198 days
    states = [fresh, mixing_step(fresh, blocks[1], keys[0])[0], later]
    batched = jax.tree.map(lambda *leaves: jnp.stack(leaves), *states)
    following, outputs = jax.vmap(mixing_step)(batched, blocks, keys)
    for i, state in enumerate(states):
        expected, output = mixing_step(state, blocks[i], keys[i])
        np.testing.assert_allclose(outputs[i], output, atol=1e-6)
        jax.tree.map(lambda a, b, i=i: np.testing.assert_allclose(a[i], b, atol=1e-6), following, expected)


def test_a_frame_has_the_noise_that_it_has_in_the_whole_signal():
    model = Noisy(STUDENT)
    wave = np.sign(np.sin(np.pi * (np.arange(8000) + 0.5) / 32)).astype(np.float32)  # one level, no offset
    padded = jnp.pad(wave, (0, 64 * 128 - 8000))[None]
    enhance = jax.jit(functools.partial(enhance_padded, model, ONE_STEP, None))
    offline = enhance(padded, jnp.array([8000]), stream_keys(0, 1))[0]
    # With look-ahead enough that all frames of a sample are there.
    stream = StreamingEnhancer(model, None, config=dataclasses.replace(SMALL, look_ahead=3))
    np.testing.assert_allclose(whole(stream, wave)[400:7400], offline[400:7400], atol=2e-4)


@pytest.mark.parametrize("rate", [8_000, 11_025, 44_100, 48_000])
def test_any_rate_keeps_place_and_count(rate):
    stream = StreamingEnhancer(Identity(STUDENT), None, config=SMALL, sample_rate=rate)
    assert stream.latency_seconds > (SMALL.hop + SMALL.look_ahead + SMALL.fade + 1) * 128 / 16_000
    seconds = np.arange(rate) / rate
    wave = (0.5 * np.sin(2 * np.pi * 440 * seconds) * np.sin(np.pi * seconds) ** 2).astype(np.float32)
    output = run(stream, wave, [rate])
    np.testing.assert_array_equal(output[: stream.latency], 0)
    np.testing.assert_allclose(output[stream.latency :], wave, atol=1e-4)
    np.testing.assert_array_equal(run(stream, wave, [173, 1, 4096]), output)
    impulse = np.zeros(rate, np.float32)
    impulse[rate // 3] = 1
    assert np.argmax(run(stream, impulse, [rate])) == rate // 3 + stream.latency


def test_a_stream_that_makes_no_sense_is_refused():
    model = Identity(STUDENT)
    with pytest.raises(ValueError, match="this network needs a multiple of 2"):
        StreamingEnhancer(model, None, config=StreamConfig(window=25))
    with pytest.raises(ValueError, match="0 channels"):
        StreamingEnhancer(model, None, channels=0)
    with pytest.raises(ValueError, match=r"1\.5 channels"):
        StreamingEnhancer(model, None, channels=1.5)
    with pytest.raises(ValueError, match="sample rate of 3 Hz"):
        StreamingEnhancer(model, None, sample_rate=3)
    with pytest.raises(ValueError, match="sample rate of '16k' Hz"):
        StreamingEnhancer(model, None, sample_rate="16k")
    with pytest.raises(ValueError, match="doesn't go with this model"):
        StreamingEnhancer(model, None, SamplerConfig("bridge"))


def test_the_streams_of_an_enhancer_share_programs(monkeypatch):
    compiled = []

    def slow_compile_step(*arguments):
        compiled.append(arguments[-2:])
        time.sleep(0.1)
        return compile_step(*arguments)

    monkeypatch.setattr("rosecd_jax.inference.stream_step.compile_step", slow_compile_step)
    enhancer, wave = Enhancer(Mixing(STUDENT), None), sound(3000)
    with ThreadPoolExecutor(4) as pool:
        outputs = list(pool.map(lambda seed: whole(enhancer.stream(SMALL, seed=seed), wave), [0, 1, 0, 1]))
    assert compiled == [(SMALL, 1)]
    for seed in (0, 1):
        alone = StreamingEnhancer(Mixing(STUDENT), None, config=SMALL, seed=seed)
        np.testing.assert_array_equal(outputs[seed], whole(alone, wave))
        np.testing.assert_array_equal(outputs[seed + 2], outputs[seed])
    del compiled[:]
    enhancer.stream(SMALL, channels=2)
    enhancer.stream(dataclasses.replace(SMALL, hop=2))
    assert compiled == [(SMALL, 2), (dataclasses.replace(SMALL, hop=2), 1)]


def test_the_time_of_a_step_holds_the_resampling(monkeypatch):
    stream = StreamingEnhancer(Identity(STUDENT), None, config=SMALL, sample_rate=8_000)
    call = StreamResampler.__call__

    def slow_call(self, wave):
        time.sleep(stream.times.hop / 4)
        return call(self, wave)

    monkeypatch.setattr(StreamResampler, "__call__", slow_call)
    for chunk in np.array_split(sound(10 * 256), 20):  # two of them are a hop, four calls
        stream.push(chunk)
    assert stream.times.under_runs == stream.times.count == 9
    stream.push(sound(5 * 256))
    assert stream.times.count == 14
    assert stream.times.total >= (4 * 9 + 2) * stream.times.hop / 4


def test_the_steps_are_timed(identity):
    before = identity.times.count
    whole(identity, sound(5120))
    assert identity.times.count > before + 9
    times = StepTimes(hop=0.1)
    assert (times.mean, times.percentile(99), times.real_time_factor) == (0, 0, 0)
    for seconds in (0.02, 0.04, 0.3):
        times.record(seconds)
    assert times.under_runs == 1
    assert times.longest == 0.3
    assert times.mean == pytest.approx(0.12)
    assert times.real_time_factor == pytest.approx(1.2)
    assert times.percentile(50) == pytest.approx(0.04)
