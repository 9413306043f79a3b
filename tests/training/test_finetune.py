"""Runs that start from other weights, and `rosecd finetune`."""

import dataclasses
import json

import jax
import numpy as np
import pytest
from typer.testing import CliRunner

from rosecd_jax import load_checkpoint, save_checkpoint
from rosecd_jax.audio import FrontEnd, io
from rosecd_jax.cli import app
from rosecd_jax.conversion import save_torch_checkpoint
from rosecd_jax.data.loader import LoaderConfig
from rosecd_jax.diffusion import OUVE, SBVE, Preconditioning
from rosecd_jax.models import ModelConfig, NCSNppConfig, ScoreModel
from rosecd_jax.training import OptimizerConfig, TrainConfig, ValidationConfig, train
from rosecd_jax.training.finetune import finetune_config, objective_of
from rosecd_jax.training.loop import load_initial_weights
from tests.helpers import random_params

FRONT_END = FrontEnd(n_fft=62, hop=32)
NETWORK = NCSNppConfig(channels=4, multipliers=(1, 1), blocks=1, attention_heights=(), bins=32)
MODEL = ScoreModel(ModelConfig(role="student", front_end=FRONT_END, sde=OUVE(steps=2), network=NETWORK))
RATE = 16_000


@pytest.fixture(scope="module")
def weights():
    return {name: random_params(MODEL, seed) for name, seed in (("ema", 1), ("raw", 2))}


@pytest.fixture(scope="module")
def checkpoint(weights, tmp_path_factory):
    return save_checkpoint(tmp_path_factory.mktemp("model") / "tiny", MODEL, weights)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Five recordings of speech and as many of noise."""
    root, generator = tmp_path_factory.mktemp("recordings"), np.random.default_rng(0)
    for number in range(5):
        time = np.arange(40_000 + 100 * number) / RATE
        io.write(
            root / "speech" / f"{number}.wav",
            0.3 * np.sin(2 * np.pi * (150 + 20 * number) * time) * np.sin(9 * time),
            RATE,
        )
        io.write(root / "noise" / f"{number}.flac", 0.1 * generator.normal(size=30_000), RATE)
    return root


def assert_same(left, right):
    for a, b in zip(jax.tree.leaves(left), jax.tree.leaves(right), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["ema", "raw"])
def test_a_run_starts_from_the_weights_it_is_given(kind, weights, checkpoint, folders, tmp_path):
    config = TrainConfig(
        objective="score",
        model=dataclasses.replace(MODEL.config, role="teacher", sde=OUVE(gamma=2.0)),
        init_from=str(checkpoint),
        init_weights=kind,
        data=LoaderConfig(
            speech=str(folders / "speech"), noise=str(folders / "noise"), frames=16, batch_size=2
        ),
        optimizer=OptimizerConfig(learning_rate=0.0),
        validation=ValidationConfig(every=0),
        steps=1,
    )
    assert_same(train(config, tmp_path, lambda line: None).params, weights[kind])


@pytest.mark.slow
def test_the_authors_files_are_started_from(checkpoint, tmp_path):
    model = ScoreModel(ModelConfig(network=NCSNppConfig(channels=4, multipliers=(1, 1), blocks=1)))
    params = random_params(model)
    file = save_torch_checkpoint(tmp_path / "model.ckpt", model, params)
    assert_same(load_initial_weights(TrainConfig(model=model.config, init_from=str(file))), params)
    other = dataclasses.replace(MODEL.config, role="teacher")
    with pytest.raises(ValueError, match=r"(?s)has to match .*model\.ckpt.*front_end.*bins"):
        load_initial_weights(TrainConfig(model=other, init_from=str(file), data=LoaderConfig(frames=16)))


@pytest.mark.parametrize(
    ("changes", "objective"),
    [
        ({}, "consistency-training"),
        ({"role": "teacher"}, "score"),
        ({"role": "teacher", "sde": SBVE()}, "data-prediction"),
        ({"role": "teacher", "preconditioning": Preconditioning(output="score")}, "score-matching"),
    ],
)
def test_every_model_has_an_objective_to_go_further_with(changes, objective):
    model = dataclasses.replace(MODEL.config, **changes)
    assert objective_of(model) == objective
    config = finetune_config("small", model, speech="a", noise="b")
    assert config.objective == objective
    seconds = model.front_end.samples(config.data.frames) / RATE
    assert seconds == pytest.approx(2, abs=0.1)


@pytest.mark.slow
def test_the_command_tells_what_was_gained_and_leaves_a_model(checkpoint, folders, tmp_path):
    words = ["finetune", checkpoint, tmp_path / "mine", "--steps", 2, "--batch-size", 2, "--files", 2]
    words += ["--speech", folders / "speech", "--noise", folders / "noise"]
    done = CliRunner().invoke(app, [str(word) for word in words])
    assert done.exit_code == 0, done.output
    for title in ("PESQ", "ESTOI", "SI-SDR", "before", "after", "change"):
        assert title in done.output
    scores = json.loads((tmp_path / "mine" / "validation.json").read_text())
    assert sorted(scores) == ["0", "2"]
    model, params = load_checkpoint(tmp_path / "mine")
    assert model.config == MODEL.config
    moved = [
        not np.array_equal(a, b)
        for a, b in zip(jax.tree.leaves(params), jax.tree.leaves(load_checkpoint(checkpoint)[1]), strict=True)
    ]
    assert sum(moved) > len(moved) / 2
    again = CliRunner().invoke(app, [str(word) for word in words])
    assert again.exit_code == 0, again.output
    assert "change" in again.output


def test_a_folder_that_is_both_is_refused_before_training(checkpoint, folders, tmp_path):
    words = ["finetune", checkpoint, tmp_path / "mine", "--speech", folders, "--noise", folders / "noise"]
    done = CliRunner().invoke(app, [str(word) for word in words])
    assert done.exit_code == 1
    assert "; remove it from one" in done.output
    assert not (tmp_path / "mine").exists()
