"""Training, validation and inference can be lowered for TPUs and CUDA GPUs, without either."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rosecd_jax.diffusion import Preconditioning
from rosecd_jax.losses import DistillationConfig
from rosecd_jax.models import ModelConfig, NCSNppConfig, ScoreModel
from rosecd_jax.models.enhancement import SamplerConfig, enhance_padded
from rosecd_jax.training import OptimizerConfig, TrainConfig
from rosecd_jax.training.devices import make_mesh
from rosecd_jax.training.step import Waves, make_step

NETWORK = NCSNppConfig(channels=64, multipliers=(1, 2), blocks=1, remat=True, dtype="bfloat16")
TEACHER = ModelConfig(network=NETWORK)
STUDENT = ModelConfig(role="student", network=NETWORK, preconditioning=Preconditioning(c_in="1"))
PLATFORMS = ("tpu", "cuda")


def shapes(function, *arguments):
    return jax.eval_shape(function, *arguments)


def lower(function, *arguments):
    """The StableHLO of a jitted function for both platforms; raises where one of them can't run it."""
    return [jax.export.export(function, platforms=[p])(*arguments).mlir_module() for p in PLATFORMS]


@pytest.mark.parametrize("objective", ["score", "distillation", "consistency-training"])
def test_every_program_of_training(objective):
    config = TrainConfig(
        objective=objective,
        teacher="" if objective == "score" else "somewhere",
        model=TEACHER if objective == "score" else STUDENT,
        distillation=DistillationConfig(),  # with PESQ and SI-SDR
        optimizer=OptimizerConfig(gradient_clip=1.0, warmup_steps=10, decay_steps=100),
        steps=100,
    )
    model, teacher = ScoreModel(config.model), ScoreModel(TEACHER)
    step = make_step(config, model, teacher, make_mesh())
    key = jax.ShapeDtypeStruct((2,), jnp.uint32)
    params = shapes(model.init, jax.random.key(0))
    state = shapes(step.init, params, key)
    frozen = params if objective == "distillation" else {}
    wave = jax.ShapeDtypeStruct((2, 63 * 128), jnp.float32)
    total = shapes(step.zeros, state.params)
    number = jax.ShapeDtypeStruct((), jnp.int32)
    gradient = (total, state, frozen, Waves(wave, wave), number)
    _, terms = shapes(step.add_gradient, *gradient)
    if objective != "score":
        assert {"consistency", "pesq", "si_sdr"} <= set(terms)
    lower(step.init, params, key)
    assert all("convolution" in program for program in lower(step.add_gradient, *gradient))
    lower(step.apply, state, total, [terms, terms])
    lower(step.loss, state, frozen, Waves(wave, wave), key)


@pytest.mark.parametrize(
    ("model_config", "sampler"),
    [
        (STUDENT, SamplerConfig()),
        (STUDENT, SamplerConfig("consistency", 3)),
        (TEACHER, SamplerConfig()),
        (TEACHER, SamplerConfig("ode", 4)),
    ],
    ids=["one step", "three steps", "predictor-corrector", "probability flow"],
)
def test_every_sampler_from_wave_to_wave(model_config, sampler):
    model = ScoreModel(model_config)
    function = jax.jit(functools.partial(enhance_padded, model, sampler.resolve(model)))
    params = shapes(model.init, jax.random.key(0))
    keys = shapes(lambda: jax.random.split(jax.random.key(0), 2))
    wave = jax.ShapeDtypeStruct((2, 64 * 128), np.float32)
    lengths = jax.ShapeDtypeStruct((2,), np.int32)
    lower(function, params, wave, lengths, keys)
