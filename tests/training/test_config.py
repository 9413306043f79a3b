"""rosecd_jax.training.config: what a run refuses before it begins."""

import dataclasses

import pytest

from rosecd_jax.audio import FrontEnd
from rosecd_jax.data.loader import LoaderConfig
from rosecd_jax.losses import DistillationConfig
from rosecd_jax.models import ModelConfig, NCSNppConfig
from rosecd_jax.training import OptimiserConfig, TrainConfig, ValidationConfig

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
    "part",
    [
        {"seed": -1},
        {"data": LoaderConfig(frames=0)},
        {"data": LoaderConfig(workers=-1)},
        {"optimiser": OptimiserConfig(learning_rate=float("nan"))},
        {"optimiser": OptimiserConfig(learning_rate=-1.0)},
        {"optimiser": OptimiserConfig(ema_decay=1.0)},
        {"optimiser": OptimiserConfig(warmup_steps=20, decay_steps=20)},
        {"validation": ValidationConfig(every=-1)},
    ],
    ids=str,
)
def test_numbers_that_make_no_sense_are_refused_by_name(part):
    (name,) = part
    with pytest.raises(ValueError, match=rf"^{name}[\w.]* is .* (has to be|set it to)"):
        TrainConfig(**part)
