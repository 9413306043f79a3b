"""rosecd_jax.training.operations: counts in closed form, of published networks, and of every objective."""

import dataclasses
import time
import typing

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rosecd_jax.diffusion import SBVE
from rosecd_jax.losses import Batch, ConsistencyTrainingConfig, DistillationConfig
from rosecd_jax.losses.distillation import Solver
from rosecd_jax.models import ModelConfig, NCSNppConfig, ScoreModel
from rosecd_jax.training import Functions, TrainConfig, make_loss
from rosecd_jax.training import operations as module
from rosecd_jax.training.curves import ManyCurves
from rosecd_jax.training.logging import Progress
from rosecd_jax.training.operations import count_operations, network_operations, operations_per_example
from rosecd_jax.training.status import Status


class Pointwise(nn.Module):
    """A network of one product, whose operations are 2 · bins · frames · 4 · 2."""

    @nn.compact
    def __call__(self, x, t):
        return nn.Dense(2, use_bias=False)(x)


def count(function, *shapes):
    arguments = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes]
    return count_operations(jax.make_jaxpr(function)(*arguments).jaxpr)


def test_products_and_convolutions_are_counted_in_closed_form():
    assert count(lambda x, w: jnp.tanh(x) @ w, (5, 7), (7, 3)) == 2 * 5 * 7 * 3
    assert count(lambda x, w: jnp.einsum("bij,bkj->bik", x, w), (2, 5, 7), (2, 3, 7)) == 2 * 2 * 5 * 3 * 7

    def convolve(x, kernel, stride=1, groups=1):
        axes = ("NHWC", "HWIO", "NHWC")
        return jax.lax.conv_general_dilated(
            x, kernel, (stride, stride), "SAME", dimension_numbers=axes, feature_group_count=groups
        )

    x, kernel = (2, 8, 10, 6), (3, 3, 6, 4)
    assert count(convolve, x, kernel) == 2 * (2 * 8 * 10) * (3 * 3 * 6) * 4
    assert count(lambda x, k: convolve(x, k, stride=2), x, kernel) == 2 * (2 * 4 * 5) * (3 * 3 * 6) * 4
    assert count(lambda x, k: convolve(x, k, groups=2), x, (3, 3, 3, 4)) == 2 * (2 * 8 * 10) * (3 * 3 * 3) * 4


def test_programs_within_programs_are_counted_with_their_lengths_and_their_largest_branch():
    def product(x, w):
        return x @ w

    once, shapes = 2 * 5 * 7 * 7, ((5, 7), (7, 7))
    assert (
        count(lambda x, w: jax.lax.scan(lambda x, _: (product(x, w), None), x, length=6), *shapes) == 6 * once
    )
    assert count(lambda x, w: jax.lax.map(lambda row: row @ w, x), *shapes) == once
    assert count(jax.jit(jax.checkpoint(product)), *shapes) == once

    def branches(x, w):
        return jax.lax.platform_dependent(x, w, cpu=lambda x, w: x, default=lambda x, w: product(x, w) @ w)

    assert count(branches, *shapes) == 2 * once


@pytest.mark.parametrize("remat", [False, True])
def test_a_call_of_the_published_network_on_256_frames_takes_532_gflop(remat):
    """Also with rematerialization, in which case the network is not the same program. XLA counts 528.8."""
    network = NCSNppConfig(remat=remat, dtype="bfloat16" if remat else "float32")
    start = time.process_time()
    assert network_operations(ScoreModel(ModelConfig(network=network)), 256) == 532_147_273_728
    assert time.process_time() - start < 20  # two to four seconds; a compilation takes a minute


def objectives():
    for solver in typing.get_args(Solver):
        yield "distillation", DistillationConfig(solver=solver, pesq_weight=0.0)
    yield "distillation", DistillationConfig(consistency_weight=0.0, pesq_weight=0.0)
    for training in ({}, {"steps": 1}, {"consistency_weight": 0.0}):
        yield "consistency-training", ConsistencyTrainingConfig(pesq_weight=0.0, **training)
    yield "score", None
    yield "score-matching", None


@pytest.mark.parametrize(("objective", "constants"), list(objectives()), ids=str)
def test_the_calls_of_an_objective_are_those_of_its_program(objective, constants):
    """Of the forward program, in which the only products are the networks'; a gradient adds two calls."""
    names = {"distillation": "distillation", "consistency-training": "consistency_training"}
    role = "student" if objective in names else "teacher"
    bridge = {"sde": SBVE()} if "bridge" in getattr(constants, "solver", "") else {}
    model = ModelConfig(role=role, **bridge)
    config = TrainConfig(
        objective=objective,
        model=model,
        teacher="somewhere" if objective == "distillation" else "",
        **({names[objective]: constants} if constants else {}),
    )
    network = ScoreModel(model, Pointwise())
    loss = make_loss(config, network, network)
    params = jax.eval_shape(network.init, jax.random.key(0))
    batch = Batch(*2 * [jax.ShapeDtypeStruct((1, 256, config.data.frames), jnp.complex64)])
    program = jax.make_jaxpr(loss)(params, params, params, batch, jax.random.key(0))
    call = 2 * 256 * config.data.frames * 4 * 2
    assert network_operations(network, config.data.frames) == call
    assert operations_per_example(config, network, network) == count_operations(program.jaxpr) + 2 * call


def test_a_teacher_with_another_network_counts_as_it_is_and_custom_functions_do_not():
    config = TrainConfig(objective="distillation", teacher="somewhere", model=ModelConfig(role="student"))
    student = ScoreModel(config.model, Pointwise())
    teacher = ScoreModel(
        dataclasses.replace(config.model, network=NCSNppConfig(channels=4, multipliers=(1, 1)))
    )
    frames = config.data.frames
    expected = 4 * network_operations(student, frames) + 2 * network_operations(teacher, frames)
    assert operations_per_example(config, student, teacher) == expected
    for functions in (Functions(loss=lambda *_: None), Functions(teacher_step=lambda *_: None)):
        assert operations_per_example(config, student, teacher, functions) is None
    ignored = Functions(teacher_step=lambda *_: None)  # there is no teacher
    assert operations_per_example(TrainConfig(), student, None, ignored) == 3 * network_operations(
        student, frames
    )


class Kept(ManyCurves):
    def __init__(self):
        super().__init__()
        self.values = {}

    def scalars(self, values, step):
        self.values[step] = dict(values)


METRICS = {name: np.float32(1) for name in ("loss", "gradient_norm", "skipped", "skipped_in_a_row")}


def log(config, operations=lambda: 10**12):
    """Lines and curves of three steps of 0.1 s, a half of which is spent waiting for data."""
    lines, curves = [], Kept()
    with Status(lines.append) as status, Progress(config, 0, 1.0, curves, status, operations) as progress:
        for step in (1, 2, 3):
            with progress.waiting_for_data():
                time.sleep(0.5 if step == 1 else 0.05)  # the first one isn't counted
            time.sleep(0.05)
            progress.add(step, METRICS)
            progress.pause()
            time.sleep(0.05)  # nor is this
            progress.unpause()
    return lines[-1], curves.values[3]


def test_a_line_gives_the_operations_their_share_of_the_peak_and_the_wait_for_data(monkeypatch):
    config = TrainConfig(steps=3, log_every=3, peak_tflops=1_000.0)
    line, curves = log(config)
    rate = curves["train/examples_per_second"]
    assert rate == pytest.approx(140, rel=0.3)
    assert curves["train/tflops_per_second"] == pytest.approx(rate)
    assert curves["train/mfu"] == pytest.approx(rate / 1000 / jax.device_count())
    assert curves["train/data_wait"] == pytest.approx(0.5, abs=0.1)
    percent = 100 * curves["train/data_wait"]
    assert f"{rate:.1f} TFLOP/s ({100 * curves['train/mfu']:.1f} % of peak)  {percent:.1f} % waiting" in line

    line, curves = log(dataclasses.replace(config, peak_tflops=0.0), lambda: 10**9)
    assert "train/mfu" not in curves
    assert f"{curves['train/examples_per_second']:.1f} GFLOP/s  " in line  # no peak of a CPU is known

    monkeypatch.setitem(module.PEAK_TFLOPS, jax.devices()[0].device_kind, 500.0)
    _, curves = log(dataclasses.replace(config, peak_tflops=0.0))
    assert curves["train/mfu"] == pytest.approx(curves["train/tflops_per_second"] / 500 / jax.device_count())

    line, curves = log(config, lambda: None)
    assert "FLOP" not in line
    assert {"train/tflops_per_second", "train/mfu"}.isdisjoint(curves)
    assert "% waiting for data" in line
