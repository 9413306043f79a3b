"""rosecd_jax.training.config: what a run refuses before it begins."""

import dataclasses

import numpy as np
import pytest

from rosecd_jax.audio import FrontEnd, io
from rosecd_jax.cli.train import read_config
from rosecd_jax.config import from_dict, to_dict
from rosecd_jax.data.loader import LoaderConfig
from rosecd_jax.data.mixing import MixConfig
from rosecd_jax.losses import ConsistencyTrainingConfig, DistillationConfig
from rosecd_jax.models import ModelConfig, NCSNppConfig, ScoreModel
from rosecd_jax.training import OptimizerConfig, TrainConfig, ValidationConfig
from rosecd_jax.training.config import CheckpointConfig
from rosecd_jax.training.loop import load_teacher, open_data
from rosecd_jax.training.status import Status

STUDENT = TrainConfig(
    objective="distillation",
    teacher="runs/teacher",
    model=ModelConfig(role="student", network=NCSNppConfig(channels=4, multipliers=(1, 1))),
)
NO_PESQ = DistillationConfig(pesq_weight=0.0)


def test_the_pesq_loss_is_refused_at_other_rates_than_its_own():
    model = dataclasses.replace(STUDENT.model, front_end=FrontEnd(sample_rate=48_000))
    assert dataclasses.replace(STUDENT, model=model, distillation=NO_PESQ)
    with pytest.raises(ValueError, match=r"distillation\.pesq_weight=0"):
        dataclasses.replace(STUDENT, model=model)


@pytest.mark.parametrize(
    ("objective", "role"),
    [("score", "teacher"), ("score-matching", "teacher"), ("consistency-training", "student")],
)
def test_an_objective_trains_a_model_of_its_role(objective, role):
    config = dataclasses.replace(STUDENT, objective=objective, teacher="", model=ModelConfig(role=role))
    other = {"teacher": "student", "student": "teacher"}[role]
    with pytest.raises(ValueError, match=f"objective '{objective}' trains a {role}: set model.role='{role}'"):
        dataclasses.replace(config, model=ModelConfig(role=other))


def test_a_student_is_no_teacher():
    with pytest.raises(ValueError, match=r"small is a student, it can't be the teacher of a distillation"):
        load_teacher(dataclasses.replace(STUDENT, teacher="small"))


def test_crops_too_short_for_the_pesq_loss_are_refused():
    assert dataclasses.replace(STUDENT, data=LoaderConfig(frames=42))
    short = LoaderConfig(frames=40)
    assert dataclasses.replace(STUDENT, data=short, distillation=NO_PESQ)
    words = r"data\.frames is 40, the PESQ loss needs at least 42: set more, or distillation\.pesq_weight=0"
    with pytest.raises(ValueError, match=words):
        dataclasses.replace(STUDENT, data=short)


@pytest.mark.parametrize(
    ("make", "where", "fields"),
    [
        (TrainConfig, "", {"seed": -1}),
        (TrainConfig, "", {"seed": 2**32}),
        (TrainConfig, "", {"steps": 2.5}),
        (LoaderConfig, "data.", {"frames": 0}),
        (LoaderConfig, "data.", {"batch_size": -3}),
        (LoaderConfig, "data.", {"batch_size": True}),
        (LoaderConfig, "data.", {"workers": -1}),
        (OptimizerConfig, "optimizer.", {"learning_rate": float("nan")}),
        (OptimizerConfig, "optimizer.", {"learning_rate": -1.0}),
        (OptimizerConfig, "optimizer.", {"learning_rate": "1e-4"}),
        (OptimizerConfig, "optimizer.", {"ema_decay": 1.0}),
        (OptimizerConfig, "optimizer.", {"ema_decay": 7.0}),
        (OptimizerConfig, "optimizer.", {"decay_steps": 20, "warmup_steps": 20}),
        (ValidationConfig, "validation.", {"every": -1}),
        (CheckpointConfig, "checkpoints.", {"every": 0}),
        (FrontEnd, "front_end.", {"n_fft": -2, "hop": 0}),
        (FrontEnd, "front_end.", {"hop": 510}),
        (FrontEnd, "front_end.", {"hop": 341}),
        (FrontEnd, "front_end.", {"exponent": 0.0}),
        (FrontEnd, "front_end.", {"exponent": 2.0}),
        (MixConfig, "mix.", {"tilt": 1e6}),
        (MixConfig, "mix.", {"noises": 1000}),
        (MixConfig, "mix.", {"held_back": 1.0}),
        (FrontEnd, "front_end.", {"factor": float("inf")}),
    ],
    ids=str,
)
def test_a_config_that_makes_no_sense_is_refused_where_it_is_made(make, where, fields):
    with pytest.raises(ValueError, match=rf"^{where}{next(iter(fields))} is .*(has to be|set it to)"):
        make(**fields)


@pytest.mark.parametrize("make", [DistillationConfig, ConsistencyTrainingConfig])
def test_an_objective_without_terms_is_refused(make):
    names = ("consistency_weight", "pesq_weight", "si_sdr_weight")
    for name in names:
        assert make(**dict.fromkeys(names, 0.0) | {name: 1e-9})
    with pytest.raises(ValueError, match=r"\.consistency_weight, .*\.si_sdr_weight are all 0"):
        make(**dict.fromkeys(names, 0.0))


@pytest.mark.parametrize(("reverb", "noted"), [(0.9, True), (MixConfig().reverb, False), (0.0, False)])
def test_a_share_of_rooms_without_any_is_logged(tmp_path, reverb, noted):
    for name in ("speech/a", "speech/b", "rooms/a"):
        io.write(tmp_path / f"{name}.wav", np.random.default_rng(0).normal(0, 0.1, 16_000), 16_000)
    data = LoaderConfig(speech=str(tmp_path / "speech"), mix=MixConfig(reverb=reverb))
    for rir, expected in (("", noted), (str(tmp_path / "rooms"), False)):
        lines = []
        config = TrainConfig(data=dataclasses.replace(data, rir=rir), validation=ValidationConfig(every=0))
        open_data(config, ScoreModel(config.model), Status(lines.append))
        assert any("data.mix.reverb is not used" in line for line in lines) == expected


@pytest.mark.parametrize("objective", ["score", "score-matching"])
def test_a_teacher_that_is_not_used_is_refused(objective):
    words = f"objective '{objective}' doesn't use the teacher /nonexistent: leave it out"
    with pytest.raises(ValueError, match=words):
        TrainConfig(objective=objective, teacher="/nonexistent")


def test_updates_without_a_learning_rate_are_refused():
    decaying = OptimizerConfig(decay_steps=100)
    assert TrainConfig(optimizer=decaying, steps=100)
    with pytest.raises(ValueError, match=r"^steps is 101, .* set optimizer\.decay_steps=101, or fewer steps"):
        TrainConfig(optimizer=decaying, steps=101)


def test_the_optimizer_of_former_configs_and_commands_is_read_under_its_old_spelling():
    faster = OptimizerConfig(learning_rate=3e-3)
    config = TrainConfig(optimiser=faster)
    assert config == TrainConfig(optimizer=faster) == dataclasses.replace(TrainConfig(), optimiser=faster)
    assert config.optimiser is config.optimizer
    assert from_dict(TrainConfig, {"optimiser": {"learning_rate": 3e-3}}) == config
    assert "optimiser" not in to_dict(config)
    settings = read_config("configs/small.py:student", ["--config.optimiser.learning_rate=0.5"])
    assert settings.optimizer.learning_rate == 0.5


@pytest.mark.parametrize(
    "words", ["10", "10:", "10:10", "12:10", "0:5", "-1:5", "1.5:3", "a:b", "1:2:3", " 1:2"]
)
def test_a_profile_that_is_not_a_range_of_steps_is_refused(words):
    with pytest.raises(ValueError, match=rf"^profile is {words!r}, it has to be START:STOP"):
        TrainConfig(profile=words)


def test_the_steps_of_a_profile_are_those_of_a_slice():
    assert not TrainConfig().profiled
    assert list(TrainConfig(profile="10:12").profiled) == [10, 11]
    assert TrainConfig(profile="10:12", steps=10).profiled
    with pytest.raises(ValueError, match=r"^profile is '10:12', it has to start by the last step, 9$"):
        TrainConfig(profile="10:12", steps=9)
    settings = read_config("configs/small.py:student", ["--config.profile=10:12", "--config.peak_tflops=989"])
    assert (settings.profile, settings.peak_tflops) == ("10:12", 989.0)
