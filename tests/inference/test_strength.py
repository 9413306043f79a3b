"""How much of the input stays: in arrays, files, folders and streams, aligned to the sample."""

import dataclasses
import math

import numpy as np
import pytest

from rosecd_jax.audio import io
from rosecd_jax.inference import Enhancer
from rosecd_jax.models.enhancement import blend, wet_share
from tests.helpers import random_params
from tests.inference.small import MODEL, speech_like


@pytest.fixture(scope="module")
def student() -> Enhancer:
    return Enhancer(MODEL, random_params(MODEL), limit=2.0)


def with_strength(enhancer: Enhancer, strength: float) -> Enhancer:
    return dataclasses.replace(enhancer, strength=strength)


def test_shares():
    assert wet_share() == 1
    assert wet_share(0.3) == 0.3
    assert wet_share(1, 0) == 0
    assert wet_share(1, 20) == pytest.approx(0.9)
    assert wet_share(0.5, math.inf) == 0.5


@pytest.mark.parametrize("arguments", [(-0.1,), (1.1,), (math.nan,), (1, -3), (1, math.nan)])
def test_shares_that_make_no_sense_are_refused(arguments):
    with pytest.raises(ValueError, match="it has to be"):
        wet_share(*arguments)


def test_noise_that_is_removed_is_lowered_by_the_limit_and_no_more():
    noise = np.random.default_rng(0).normal(size=1_000).astype(np.float32)
    left = blend(np.zeros_like(noise), noise, wet_share(1, 12))
    assert 20 * np.log10(np.std(left) / np.std(noise)) == pytest.approx(-12, abs=1e-4)


@pytest.mark.parametrize("rate", [16_000, 44_100])
@pytest.mark.parametrize("seconds", [0.5, 5.0], ids=["whole", "windows"])
def test_arrays_and_files_are_between_input_and_output(student, tmp_path, rate, seconds):
    wave = np.stack([speech_like(int(seconds * rate)), 0.5 * speech_like(int(seconds * rate))[::-1]])
    io.write(tmp_path / "in.wav", wave, rate, subtype="FLOAT")
    results = {}
    for strength in (0.0, 0.25, 1.0):
        enhancer = with_strength(student, strength)
        results[strength] = enhancer(wave, rate)
        enhancer.enhance_file(tmp_path / "in.wav", tmp_path / "out.wav")
        np.testing.assert_allclose(io.read(tmp_path / "out.wav").wave, results[strength], atol=2e-5)
    np.testing.assert_array_equal(results[0.0], wave)
    np.testing.assert_array_equal(results[1.0], student(wave, rate))
    np.testing.assert_allclose(results[0.25], 0.25 * results[1.0] + 0.75 * wave, atol=1e-5)


def test_a_folder_at_strength_0_is_its_input_bit_for_bit(student, tmp_path):
    for name, rate, seconds in (("a.wav", 16_000, 0.7), ("b.flac", 48_000, 1.3), ("c.wav", 8_000, 4.0)):
        io.write(tmp_path / "in" / name, speech_like(int(seconds * rate)), rate)
    enhancer = with_strength(student, 0.0)
    for report in enhancer.enhance_folder(tmp_path / "in", tmp_path / "out"):
        assert report.status == "enhanced", report.error
    for path in (tmp_path / "in").iterdir():
        np.testing.assert_array_equal(io.read(tmp_path / "out" / path.name).wave, io.read(path).wave)


@pytest.mark.parametrize("rate", [16_000, 44_100])
def test_a_stream_is_between_input_and_output(student, rate):
    wave = speech_like(rate)
    results = {}
    for strength in (0.0, 0.25, 1.0):
        stream = with_strength(student, strength).stream(sample_rate=rate)
        chunks = [stream.push(chunk) for chunk in np.split(wave, [100, 1_000, 1_001, 9_000])]
        results[strength] = np.concatenate([*chunks, stream.flush()])[stream.latency :]
    np.testing.assert_array_equal(results[0.0], wave)
    np.testing.assert_allclose(results[0.25], 0.25 * results[1.0] + 0.75 * wave, atol=1e-6)
    stream = with_strength(student, 0.0).stream(sample_rate=rate)
    stream.push(wave)
    stream.reset()  # a new signal knows nothing of the one before
    assert not stream.push(np.zeros(3 * stream.latency, np.float32)).any()
