"""The step by itself, as the documentation shows it; samplers and seeds that it takes."""

import re
from pathlib import Path

import jax
import numpy as np
import pytest

from rosecd_jax.inference import Enhancer
from rosecd_jax.inference.stream_step import StreamConfig, initial_state, stream_keys, stream_step
from rosecd_jax.inference.streaming import StreamingEnhancer
from rosecd_jax.models import ScoreModel
from rosecd_jax.models.enhancement import SamplerConfig
from tests.helpers import random_params
from tests.inference.streams import ONE_STEP, SMALL, STUDENT, Identity, Mixing, sound

PAGE = Path(__file__).parents[2] / "docs" / "streaming.md"


def test_what_the_readme_shows_runs_and_is_what_a_stream_gives():
    section = PAGE.read_text()
    model = ScoreModel(STUDENT)
    enhancer, wave = Enhancer(model, random_params(model)), sound(16_384)
    for code in re.findall(r"```python\n(.*?)```", section, re.S):
        names = {"enhancer": enhancer, "wave": wave, "chunk": np.zeros(4800, np.float32)}
        exec(code, names)
    stream = enhancer.stream()
    last = np.concatenate([stream.push(wave), stream.flush()])[stream.latency :]
    end = 16_384 - StreamConfig().delay(model.front_end)
    np.testing.assert_allclose(names["late"][0], last[end - 1024 : end], atol=1e-6)


def test_the_sampler_need_not_be_resolved():
    model, block = Mixing(STUDENT), sound(1, 512)
    outputs = [
        stream_step(model, sampler, SMALL, None, initial_state(model, SMALL), block, stream_keys(0, 1))[1]
        for sampler in (SamplerConfig(), ONE_STEP)
    ]
    np.testing.assert_array_equal(*outputs)
    with pytest.raises(ValueError, match="doesn't go with this model"):
        stream_step(model, SamplerConfig("bridge"), SMALL, None, initial_state(model, SMALL), block, None)


@pytest.mark.parametrize(
    "seed", [np.uint32(3), np.int64(3), np.uint8(3), 3 + 2**32, 3 - 2**32, np.int64(3 - 2**32)]
)
def test_seeds_are_whole_numbers_of_any_kind(seed):
    keys, expected = (jax.random.key_data(stream_keys(s, 2)) for s in (seed, 3))
    np.testing.assert_array_equal(keys, expected)


@pytest.mark.parametrize("seed", [1.5, np.float32(3), None])
def test_no_other_seeds(seed):
    with pytest.raises(TypeError, match="integer"):
        stream_keys(seed, 1)


def passed(wave: np.ndarray, look_ahead: int = 8) -> np.ndarray:
    stream = StreamingEnhancer(Identity(STUDENT), None, config=StreamConfig(look_ahead=look_ahead))
    return np.concatenate([stream.push(wave), stream.flush()])[stream.latency :]


@pytest.mark.parametrize("places", [[3_000], [3_000, 9_000, 14_000, 20_000]])
def test_a_loud_event_of_a_stream_is_limited_and_leaves_the_rest_as_it_was(places):
    wave = sound(32_000)
    loud = wave.copy()
    loud[places] = 30 * np.abs(wave).max()
    far = np.abs(np.arange(32_000) - np.array(places)[:, None]).min(axis=0) > 512
    output = passed(loud)
    np.testing.assert_allclose(output[far], passed(wave)[far], atol=1e-5)
    assert np.abs(output[places]).max() < 6 * np.abs(wave).max()
    early = passed(loud, look_ahead=0)  # too early to tell an event from an onset
    np.testing.assert_allclose(early[places], loud[places], rtol=1e-3)


@pytest.mark.parametrize("floor", [0, 1e-5, 1e-3])
def test_the_onset_of_a_sound_is_no_event(floor):
    wave = floor * sound(40_000, seed=1)
    wave[30_000:] += sound(10_000)
    np.testing.assert_allclose(passed(wave), wave, atol=1e-4)


def test_an_onset_that_looks_like_an_event_is_kept():
    wave = 0.02 * sound(32_000, seed=1)
    wave[16_000:16_800] += 8 * np.abs(wave[:16_000]).max() * np.sin(np.arange(800) / 5)  # 50 ms, 18 dB
    wave[20_000:] += sound(12_000)
    output = passed(wave)[16_000:16_800]
    assert np.abs(output).max() > 0.5 * np.abs(wave[16_000:16_800]).max()
