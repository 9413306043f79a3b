"""rosecd_jax.training.config: what a run refuses before it begins."""

import dataclasses

import pytest

from rosecd_jax.audio import FrontEnd
from rosecd_jax.data.loader import LoaderConfig
from rosecd_jax.losses import DistillationConfig
from rosecd_jax.models import ModelConfig, NCSNppConfig
from rosecd_jax.training import OptimiserConfig, TrainConfig, ValidationConfig
from rosecd_jax.training.config import CheckpointConfig

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
        (TrainConfig, "", {"steps": 2.5}),
        (LoaderConfig, "data.", {"frames": 0}),
        (LoaderConfig, "data.", {"batch_size": -3}),
        (LoaderConfig, "data.", {"batch_size": True}),
        (LoaderConfig, "data.", {"workers": -1}),
        (OptimiserConfig, "optimiser.", {"learning_rate": float("nan")}),
        (OptimiserConfig, "optimiser.", {"learning_rate": -1.0}),
        (OptimiserConfig, "optimiser.", {"learning_rate": "1e-4"}),
        (OptimiserConfig, "optimiser.", {"ema_decay": 1.0}),
        (OptimiserConfig, "optimiser.", {"ema_decay": 7.0}),
        (OptimiserConfig, "optimiser.", {"decay_steps": 20, "warmup_steps": 20}),
        (ValidationConfig, "validation.", {"every": -1}),
        (CheckpointConfig, "checkpoints.", {"every": 0}),
        (FrontEnd, "front_end.", {"n_fft": -2, "hop": 0}),
        (FrontEnd, "front_end.", {"hop": 510}),
        (FrontEnd, "front_end.", {"exponent": 0.0}),
        (FrontEnd, "front_end.", {"factor": float("inf")}),
    ],
    ids=str,
)
def test_a_config_that_makes_no_sense_is_refused_where_it_is_made(make, where, fields):
    with pytest.raises(ValueError, match=rf"^{where}{next(iter(fields))} is .*(has to be|set it to)"):
        make(**fields)


@pytest.mark.parametrize("objective", ["score", "score-matching"])
def test_a_teacher_that_is_not_used_is_refused(objective):
    words = f"objective '{objective}' has no use for the teacher /nonexistent: leave it out"
    with pytest.raises(ValueError, match=words):
        TrainConfig(objective=objective, teacher="/nonexistent")


def test_updates_without_a_learning_rate_are_refused():
    decaying = OptimiserConfig(decay_steps=100)
    assert TrainConfig(optimiser=decaying, steps=100)
    with pytest.raises(ValueError, match=r"^steps is 101, .* set optimiser\.decay_steps=101, or fewer steps"):
        TrainConfig(optimiser=decaying, steps=101)
