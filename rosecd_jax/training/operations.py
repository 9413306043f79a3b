"""Floating-point operations of training, and the peaks of devices, for model FLOPs utilization (MFU)."""

import math
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend import core

from rosecd_jax.models.score_model import ScoreModel
from rosecd_jax.training.config import TrainConfig
from rosecd_jax.training.functions import AS_CONFIGURED, Functions

PEAK_TFLOPS = {
    "NVIDIA A100-SXM4-40GB": 312.0,
    "NVIDIA A100-SXM4-80GB": 312.0,
    "NVIDIA A100-PCIE-40GB": 312.0,
    "NVIDIA A100 80GB PCIe": 312.0,
    "NVIDIA H100 80GB HBM3": 989.0,  # SXM
    "NVIDIA H200": 989.0,
    "NVIDIA L4": 121.0,
    "TPU v3": 61.5,  # a JAX device is one of a chip's two cores
    "TPU v4": 275.0,
    "TPU v5 lite": 197.0,
    "TPU v5e": 197.0,
    "TPU v5": 459.0,
    "TPU v5p": 459.0,
    "TPU v6 lite": 918.0,
    "TPU v6e": 918.0,
}
"""By `device_kind`, the vendors' peaks of dense bfloat16 matrix products on one JAX device, in TFLOP/s."""

CALLS_OF_A_GRADIENT = 3
"""Cost of a reverse-mode gradient in network calls: the call itself, and twice its operations."""
CALLS_OF_A_SOLVER = {"pc": 2, "euler": 1, "heun": 2, "mix": 1, "bridge-ode": 1, "bridge-sde": 1}
"""Calls of the teacher in one step of distillation."""


def operations_per_example(
    config: TrainConfig,
    model: ScoreModel,
    teacher: ScoreModel | None = None,
    functions: Functions = AS_CONFIGURED,
) -> int | None:
    """Count the operations of all network calls for one example.

    Recomputation by rematerialization is not counted, nor is the work between calls: STFT, loss terms,
    optimizer.

    Args:
      teacher: teacher of distillation; None: one with the network of `model`.

    Returns:
      The number, or None for a custom loss or solver, whose number of calls is not known.
    """
    distills = config.objective == "distillation"
    if functions.loss or (functions.teacher_step and distills):
        return None
    of_call = network_operations(model, config.data.frames)
    operations = (CALLS_OF_A_GRADIENT + uses_target(config)) * of_call
    if distills and uses_target(config):
        if teacher and teacher.network != model.network:
            of_call = network_operations(teacher, config.data.frames)
        operations += CALLS_OF_A_SOLVER[config.distillation.solver] * of_call
    return operations


def uses_target(config: TrainConfig) -> bool:
    """Return whether the objective calls the network with the EMA weights, for its target."""
    if config.objective == "distillation":
        return config.distillation.consistency_weight > 0
    constants = config.consistency_training
    trains = config.objective == "consistency-training"
    return trains and constants.consistency_weight > 0 and constants.steps > 1


def network_operations(model: ScoreModel, frames: int) -> int:
    """Count the operations of one network call on one item; takes a second or two for a large network."""
    params = jax.eval_shape(model.init, jax.random.key(0))
    state = jax.ShapeDtypeStruct((1, model.front_end.bins, frames), jnp.complex64)
    time = jax.ShapeDtypeStruct((1,), jnp.float32)
    return count_operations(jax.make_jaxpr(model.raw)(params, state, state, time).jaxpr)


def count_operations(jaxpr: core.Jaxpr) -> int:
    """Count the operations of matrix products and convolutions, two for a product and its sum.

    Of the branches of a condition, which may be algorithms for different platforms, the one with the most
    operations counts. A `while` loop counts as one iteration. Products with padding and with the zeros of
    dilation are counted.
    """
    return sum(_operations(equation) for equation in jaxpr.eqns)


def _operations(equation: core.JaxprEqn) -> int:
    name, params = equation.primitive.name, equation.params
    if name in ("dot_general", "conv_general_dilated"):
        shapes: list[Any] = [getattr(v.aval, "shape", ()) for v in (*equation.invars, *equation.outvars)]
        left, right, result = shapes
        numbers = params["dimension_numbers"]
        if name == "dot_general":
            (contracted, _), _ = numbers
            return 2 * math.prod(result) * math.prod(left[axis] for axis in contracted)
        return 2 * math.prod(result) * math.prod(right) // right[numbers.rhs_spec[0]]
    parts = [count_operations(part) for part in _jaxprs(params)]
    if name == "cond":
        return max(parts)
    return sum(parts) * (params["length"] if name == "scan" else 1)


def _jaxprs(params: dict[str, Any]) -> Iterator[core.Jaxpr]:
    """Yield the programs among an equation's parameters."""
    kinds = core.Jaxpr, core.ClosedJaxpr
    for leaf in jax.tree.leaves(list(params.values()), is_leaf=lambda value: isinstance(value, kinds)):
        if isinstance(leaf, kinds):
            yield leaf.jaxpr if isinstance(leaf, core.ClosedJaxpr) else leaf


def peak_tflops(config: TrainConfig) -> float | None:
    """Return the peak of one device in TFLOP/s: the config's, or that of a known device; None if unknown."""
    return config.peak_tflops or PEAK_TFLOPS.get(jax.devices()[0].device_kind)
