"""rosecd_jax.training.validation: the right files, the right scores, the right checkpoints kept."""

import dataclasses
import json
import math
import os
import signal
import time
from concurrent.futures.process import BrokenProcessPool

import jax
import numpy as np
import pytest

from rosecd_jax import Enhancer, load_checkpoint
from rosecd_jax.cli.train import read_config
from rosecd_jax.data.pairs import DataError
from rosecd_jax.metrics import evaluate_pair, pesq_is_installed
from rosecd_jax.models import ScoreModel
from rosecd_jax.processes import Job
from rosecd_jax.training import CheckpointConfig, ValidationConfig, train
from rosecd_jax.training.checkpoints import KeepBest, best_steps
from rosecd_jax.training.curves import ManyCurves, spectrogram_picture
from rosecd_jax.training.devices import make_mesh
from rosecd_jax.training.status import Status
from rosecd_jax.training.step import make_step
from rosecd_jax.training.validation import Pending, Validation, read_validation_pairs
from tests.training.runs import RATE, write_config, write_corpus


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    folder = tmp_path_factory.mktemp("validation")
    corpus = write_corpus(folder / "corpus")
    config = read_config(str(write_config(folder)), [f"--config.data.path={corpus}", "--config.steps=6"])
    return dataclasses.replace(
        config,
        validation=ValidationConfig(every=2, files=3, examples=2, workers=2),
        checkpoints=CheckpointConfig(every=1, keep_last=1, keep_best=1, keep_every=5),
    )


@pytest.fixture(scope="module")
def finished(config, tmp_path_factory):
    workdir, lines = tmp_path_factory.mktemp("run"), []
    state = train(config, workdir, lines.append)
    return state, workdir, lines


def test_every_validation_is_told_and_kept(finished):
    _, workdir, lines = finished
    scores = json.loads((workdir / "validation.json").read_text())
    assert sorted(map(int, scores)) == [2, 4, 6]
    assert all(set(values) == {"loss", "pesq", "estoi", "si_sdr"} for values in scores.values())
    assert sum(line.startswith("validation at step") for line in lines) == 3


def test_the_last_the_best_and_every_fifth_checkpoint_stay(finished):
    _, workdir, lines = finished
    stored = json.loads((workdir / "validation.json").read_text())
    scores = {int(step): values for step, values in stored.items()}
    kept = {int(folder.name) for folder in (workdir / "checkpoints").iterdir()}
    assert {5, 6} <= kept
    among = {step: scores[step] for step in (2, 4)}  # what was known when step 6 was written
    best = {best_steps(among, name)[0] for name in ("pesq", "si_sdr")}
    assert kept == {5, 6} | best
    assert any(line.startswith("best validation si_sdr") for line in lines)


def test_the_scores_are_those_of_the_moving_average_on_the_split(finished, config):
    """By other means: the checkpoint, through the Enhancer, with the same noise."""
    _, workdir, _ = finished
    model, ema = load_checkpoint(workdir)
    assert model.config == config.model
    pairs = read_validation_pairs(config, model)
    assert len(pairs) == 3
    enhancer, scores = Enhancer(model, ema), []
    for index, pair in enumerate(pairs):
        key = jax.random.fold_in(jax.random.key(config.seed), index)
        enhanced = enhance_with_key(enhancer, pair["noisy"], key)
        scores.append(evaluate_pair(pair["clean"], pair["noisy"], enhanced, RATE).si_sdr)
    stored = json.loads((workdir / "validation.json").read_text())["6"]
    assert stored["si_sdr"] == pytest.approx(np.mean(scores), abs=1e-3)


def enhance_with_key(enhancer, wave, key):
    from rosecd_jax.models.enhancement import enhance_padded

    padded = np.pad(wave, (0, 512 * 16 - wave.size))[None]
    lengths = np.array([wave.size], np.int32)
    return np.asarray(
        enhance_padded(enhancer.model, enhancer.sampler, enhancer.params, padded, lengths, key[None])
    )[0, : wave.size]


def test_tensorboard_has_numbers_sounds_and_pictures(finished):
    _, workdir, _ = finished
    (file,) = (workdir / "tensorboard").glob("events.out.tfevents.*")
    content = file.read_bytes()
    for name in (
        "train/loss",
        "train/learning_rate",
        "train/gradient_norm",
        "train/examples_per_second",
        "train/audio_seconds_per_second",
        "valid/pesq",
        "example_0/noisy",
        "example_1/enhanced",
        "example_0/clean",
        "example_1/spectrograms",
    ):
        assert name.encode() in content, name
    assert b"example_2/" not in content
    assert content.count(b"\x89PNG") == 2 * 3
    assert content.count(b"WAVEfmt") == 2 * 3 + 2 * 2  # enhanced each time, noisy and clean once


def test_a_split_that_is_missing_is_an_error_with_its_remedy(config):
    other = dataclasses.replace(config, validation=ValidationConfig(split="nowhere"))
    with pytest.raises(DataError, match=r"(?s)nowhere.*--config\.validation\.every=0"):
        read_validation_pairs(other, ScoreModel(config.model))


def test_files_are_spread_over_the_split(config):
    pairs = read_validation_pairs(
        dataclasses.replace(config, validation=ValidationConfig(files=2)), ScoreModel(config.model)
    )
    assert [pair["clean"].size for pair in pairs] == [8_000, 8_100]  # the first and the last of three


@pytest.mark.slow
def test_killed_workers_cost_neither_the_run_nor_a_score(config, tmp_path):
    """A file is scored twice; its score is nan only if both attempts fail."""
    model, mesh = ScoreModel(config.model), make_mesh()
    step = make_step(config, model, None, mesh)
    params = jax.device_get(model.init(jax.random.key(0)))
    state = step.init(params, np.asarray(jax.random.key_data(jax.random.key(0))))
    pairs = read_validation_pairs(config, model)
    with Validation(config, model, pairs, step, mesh, tmp_path, ManyCurves(), Status(print)) as validation:
        lost = validation.workers.pool.submit(time.sleep, 60)
        validation.start(state._replace(step=np.int32(1)), {})
        for process in validation.workers.pool._processes.values():
            process.kill()
        with pytest.raises(BrokenProcessPool):
            lost.result()
        validation.start(state._replace(step=np.int32(2)), {})
        assert validation.collect(wait=True) == [1, 2]
        validation.pending.append(Pending(3, {"loss": 1.0}, [Job(lost, os._exit, (1,))]))  # dies again
        assert validation.collect(wait=True) == [3]
    assert math.isfinite(validation.scores[1]["si_sdr"])
    for name in ("pesq", "si_sdr"):
        nan_ok = name == "pesq" and not pesq_is_installed()
        assert validation.scores[1][name] == pytest.approx(
            validation.scores[2][name], rel=1e-9, nan_ok=nan_ok
        )
    assert math.isnan(validation.scores[3]["pesq"])


@dataclasses.dataclass
class Stored:
    step: int


def test_the_best_are_kept_by_each_score_and_nan_is_the_worst():
    scores = {
        1: {"pesq": 3.0, "si_sdr": 1.0},
        2: {"pesq": math.nan, "si_sdr": 9.0},
        3: {"pesq": 2.0, "si_sdr": 5.0},
        4: {"pesq": 1.0, "si_sdr": math.nan},
    }
    policy = KeepBest(lambda: scores, ("pesq", "si_sdr"), 1)
    stored = [Stored(step) for step in (1, 2, 3, 4, 5)]
    assert policy.should_preserve(stored, context=None) == [True, True, False, False, False]
    assert best_steps(scores, "pesq") == [1, 3, 4, 2]
    assert best_steps({1: {"pesq": 2.0}, 2: {"pesq": 2.0}}, "pesq") == [2, 1]  # of equals the later


def test_a_picture_has_low_frequencies_below_and_loud_is_bright():
    spectrogram = np.full((4, 3), 1e-9, np.complex64)
    spectrogram[0, 1] = 1.0
    picture = spectrogram_picture(spectrogram)
    assert picture.shape == (4, 3, 3)
    assert picture.dtype == np.uint8
    assert tuple(picture[-1, 1]) == (255, 255, 240)
    assert not picture[0].any()


@pytest.mark.slow
def test_interrupts_are_left_to_the_process_that_trains(config, tmp_path):
    """A Ctrl-C reaches every process of a terminal; the workers have to outlive it to finish the scores."""
    model = ScoreModel(config.model)
    step = make_step(config, model, None, make_mesh())
    with Validation(
        config, model, [], step, make_mesh(), tmp_path, ManyCurves(), Status(print)
    ) as validation:
        assert validation.workers.pool.submit(signal.getsignal, signal.SIGINT).result() == signal.SIG_IGN
