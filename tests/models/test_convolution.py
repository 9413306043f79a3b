"""rosecd_jax.models.convolution: the fast ways give what the definition gives."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rosecd_jax.models.convolution import convolve, pointwise, winograd
from tests.helpers import relative_error


def arrays(*shape: int, features: int, size: int = 3):
    generator = np.random.default_rng(0)
    x = generator.normal(size=shape).astype(np.float32)
    return x, generator.normal(size=(size, size, shape[-1], features)).astype(np.float32)


def by_definition(x: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Sum over the kernel's positions of shifted products, float64."""
    size = kernel.shape[0]
    edge = size // 2
    padded = np.pad(x.astype(np.float64), ((0, 0), (edge, edge), (edge, edge), (0, 0)))
    height, width = x.shape[1:3]
    shifts = ((i, j) for i in range(size) for j in range(size))
    return sum(padded[:, i : i + height, j : j + width] @ kernel[i, j].astype(np.float64) for i, j in shifts)


@pytest.mark.parametrize("shape", [(1, 2, 2, 1), (2, 4, 6, 3), (1, 16, 8, 5)])
def test_winograds_algorithm_is_a_convolution(shape):
    x, kernel = arrays(*shape, features=4)
    assert relative_error(winograd(jnp.asarray(x), jnp.asarray(kernel)), by_definition(x, kernel)) < 2e-6


@pytest.mark.parametrize("shape", [(2, 64, 64, 64), (1, 66, 128, 80), (1, 65, 64, 64), (1, 8, 8, 3)])
def test_a_convolution_of_any_size_is_right(shape):
    x, kernel = arrays(*shape, features=64)
    assert relative_error(jax.jit(convolve)(x, kernel), by_definition(x, kernel)) < 2e-6


def test_the_large_ones_take_the_fast_way_on_a_cpu_and_the_plain_one_elsewhere():
    x, kernel = arrays(1, 64, 64, 64, features=64)
    exported = jax.export.export(jax.jit(convolve), platforms=["cpu"])(x, kernel).mlir_module()
    assert "stablehlo.convolution" not in exported
    for platform in ("cuda", "tpu"):
        exported = jax.export.export(jax.jit(convolve), platforms=[platform])(x, kernel).mlir_module()
        assert exported.count("stablehlo.convolution") == 1
        assert "dot_general" not in exported


def test_derivatives_forward_and_backward_are_those_of_a_convolution():
    x, kernel = arrays(1, 64, 64, 64, features=64)
    direction = arrays(1, 64, 64, 64, features=64)[0][:, ::-1]
    _, forward = jax.jvp(lambda x: convolve(x, kernel), (x,), (direction,))
    assert relative_error(forward, by_definition(direction, kernel)) < 2e-6
    weight = np.random.default_rng(1).normal(size=x.shape).astype(np.float32)
    backward = jax.grad(lambda k: jnp.vdot(convolve(x, k), weight))(kernel)
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    corner = np.einsum("bhwc,bhwd->cd", padded[:, 2:, :64].astype(np.float64), weight)
    assert relative_error(backward[2, 0], corner) < 2e-5


def test_a_pointwise_convolution_is_a_convolution():
    x, kernel = arrays(2, 3, 4, 5, features=6, size=1)
    assert relative_error(pointwise(jnp.asarray(x), jnp.asarray(kernel)), by_definition(x, kernel)) < 1e-6
