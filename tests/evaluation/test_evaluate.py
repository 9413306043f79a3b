"""rosecd_jax.evaluation: real files in, tables out; what can't be scored is reported, the rest is scored."""

import csv

import jax
import numpy as np
import pytest

from rosecd_jax.audio import io
from rosecd_jax.evaluation import evaluate
from rosecd_jax.inference import Enhancer
from rosecd_jax.metrics import si_sdr
from tests.helpers import TINY

RATE = 16_000
NAMES = ("a.wav", "sub/b.wav", "sub/c.wav")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Three pairs of a pulsed tone in noise, 10 dB apart, and a folder of worse ones."""
    folder = tmp_path_factory.mktemp("pairs")
    generator = np.random.default_rng(0)
    for i, name in enumerate(NAMES):
        time = np.arange(RATE + 800 * i) / RATE
        clean = 0.2 * np.sin(2 * np.pi * 300 * time) * (np.sin(2 * np.pi * 4 * time) > 0)
        noise = generator.normal(size=time.size) * np.sqrt(np.mean(clean**2))
        for side, wave in (
            ("clean", clean),
            ("noisy", clean + 0.1 * noise),
            ("worse", clean + noise),
        ):
            io.write(folder / side / name, wave, RATE, subtype="FLOAT")
    return folder


@pytest.fixture(scope="module")
def evaluations(data, tmp_path_factory):
    output = tmp_path_factory.mktemp("output")
    model = Enhancer(TINY, TINY.init(jax.random.key(0)), steps_of_one(), buckets=())
    seen = []
    methods = [("noisy", None), ("worse", data / "worse"), ("model", model)]
    results = evaluate(data, methods, output=output, progress=lambda *words: seen.append(words))
    return results, output, seen


def steps_of_one():
    from rosecd_jax.inference import SamplerConfig

    return SamplerConfig("consistency", 1)


def test_the_noisy_input_is_scored_as_it_is(evaluations, data):
    noisy = evaluations[0][0]
    assert [result.file for result in noisy.files] == list(NAMES)
    for result in noisy.files:
        clean, mixture = (io.read(data / side / result.file).wave[0] for side in ("clean", "noisy"))
        assert result.scores.si_sdr == pytest.approx(si_sdr(clean, mixture), abs=1e-6)
        assert result.scores.si_sdr == pytest.approx(20, abs=0.5)
        assert result.seconds == clean.size / RATE
    assert np.isnan(noisy.real_time_factor)


def test_a_folder_of_enhanced_files_is_scored(evaluations):
    worse = evaluations[0][1]
    assert worse.summary()["si_sdr"][0] == pytest.approx(0, abs=0.5)
    assert worse.summary()["pesq"][0] < evaluations[0][0].summary()["pesq"][0]


def test_a_model_is_timed_and_its_files_are_kept(evaluations, data):
    results, output, _ = evaluations
    model = results[2]
    assert 0 < model.real_time_factor < 100
    for result in model.files:
        kept = io.read(output / "model" / result.file)
        clean = io.read(data / "clean" / result.file).wave[0]
        assert kept.wave.shape == (1, clean.size)
        assert result.scores.si_sdr == pytest.approx(si_sdr(clean, kept.wave[0]), abs=1e-4)


def test_the_summary_is_mean_and_standard_deviation(evaluations):
    noisy = evaluations[0][0]
    values = [result.scores.estoi for result in noisy.files]
    assert noisy.summary()["estoi"] == pytest.approx((np.mean(values), np.std(values)))


def test_the_table_on_disk_holds_every_file(evaluations):
    results, output, seen = evaluations
    with open(output / "worse.csv", newline="") as table:
        rows = list(csv.DictReader(table))
    assert [row["file"] for row in rows] == list(NAMES)
    assert float(rows[1]["si_sdr"]) == pytest.approx(results[1].files[1].scores.si_sdr)
    assert not list(output.glob(".*"))
    assert seen[:3] == [("noisy", 1, 3), ("noisy", 2, 3), ("noisy", 3, 3)]


def test_files_that_cannot_be_scored_are_reported_and_the_others_scored(data, tmp_path):
    for name in NAMES:
        for side in ("clean", "noisy"):
            io.write(tmp_path / side / name, io.read(data / side / name).wave, RATE, subtype="FLOAT")
    (tmp_path / "noisy" / "a.wav").write_bytes(b"RIFF, but no more")
    short = io.read(data / "noisy" / "sub/b.wav").wave[:, :-10]
    io.write(tmp_path / "noisy" / "sub/b.wav", short, RATE, subtype="FLOAT")
    (result,) = evaluate(tmp_path, [("noisy", None)])
    assert [r.file for r in result.errors] == ["a.wav", "sub/b.wav"]
    assert "a.wav" in result.errors[0].error
    assert "shapes differ" in result.errors[1].error
    assert np.isnan(result.errors[0].scores.pesq)
    assert result.summary()["si_sdr"] == (pytest.approx(20, abs=0.5), 0.0)


@pytest.mark.parametrize("missing", ["clean", "noisy"])
def test_a_missing_folder_is_named(tmp_path, data, missing):
    present = {"clean": "noisy", "noisy": "clean"}[missing]
    io.write(tmp_path / present / "a.wav", np.zeros(800), RATE)
    with pytest.raises(io.AudioError, match=missing):
        evaluate(tmp_path, [("noisy", None)])
