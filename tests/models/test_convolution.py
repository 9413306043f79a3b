"""rosecd_jax.models.convolution: fast algorithms agree with the definition."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rosecd_jax.models import convolution
from rosecd_jax.models.convolution import by_blocks, convolve, pointwise, winograd
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


@pytest.mark.parametrize("shape", [(1, 4, 4, 1), (2, 4, 8, 3), (1, 16, 8, 5)])
def test_winograds_algorithm_is_a_convolution(shape):
    x, kernel = arrays(*shape, features=4)
    assert relative_error(winograd(jnp.asarray(x), jnp.asarray(kernel)), by_definition(x, kernel)) < 2e-6


def test_a_row_of_winograds_matrices_is_a_correlation_up_to_float32():
    row, taps = np.random.default_rng(0).normal(size=(2, 6))
    taps = taps[:3]
    ours = convolution.OUTPUT @ ((convolution.KERNEL @ taps) * (convolution.INPUT @ row))
    np.testing.assert_allclose(ours, np.correlate(row, taps), rtol=0, atol=1e-6)


@pytest.mark.parametrize("shape", [(2, 16, 8, 3), (1, 28, 8, 3), (1, 4, 40, 3)])
def test_bands_of_rows_join_into_one_convolution(shape, monkeypatch):
    x, kernel = arrays(*shape, features=4)
    monkeypatch.setattr(convolution, "BAND_ELEMENTS", 96)  # 4 and 7 bands of four rows, and a single band
    assert relative_error(winograd(jnp.asarray(x), jnp.asarray(kernel)), by_definition(x, kernel)) < 2e-6


WIDE_ERROR = 4e-6
"""Sums of n = 9 · 128 products are off by about 2⁻²⁴ √n = 2e-6, with Winograd's algorithm by a bit more."""


@pytest.mark.parametrize("shape", [(2, 64, 64, 128), (1, 66, 128, 160), (1, 65, 64, 128), (1, 8, 8, 3)])
def test_a_convolution_of_any_size_is_right(shape):
    x, kernel = arrays(*shape, features=128)
    assert relative_error(jax.jit(convolve)(x, kernel), by_definition(x, kernel)) < WIDE_ERROR


def test_the_large_ones_take_the_fast_way_on_a_cpu_and_the_plain_one_elsewhere():
    x, kernel = arrays(1, 64, 64, 128, features=128)
    exported = jax.export.export(jax.jit(convolve), platforms=["cpu"])(x, kernel).mlir_module()
    assert "stablehlo.convolution" not in exported
    for platform in ("cuda", "tpu"):
        exported = jax.export.export(jax.jit(convolve), platforms=[platform])(x, kernel).mlir_module()
        assert exported.count("stablehlo.convolution") == 1
        assert "dot_general" not in exported


def test_an_exported_program_takes_the_fast_way_at_any_length():
    (frames,) = jax.export.symbolic_shape("4*blocks")
    kernel = arrays(1, 1, 1, 64, features=64)[1]
    shape = jax.ShapeDtypeStruct((1, 64, frames, 64), np.float32)
    exported = jax.export.export(jax.jit(convolve), platforms=["cpu"])(shape, kernel)
    assert "stablehlo.convolution" not in exported.mlir_module()
    for length in (4, 132):
        x = arrays(1, 64, length, 64, features=64)[0]
        assert relative_error(exported.call(x, kernel), by_definition(x, kernel)) < WIDE_ERROR


def kernel_gradient(function, x, kernel, weight):
    return jax.jit(jax.grad(lambda k: jnp.vdot(function(x, k), weight)))(kernel)


SHAPES = [(1, 64, 64, 206), (2, 66, 64, 205), (3, 67, 128, 206), (1, 64, 4096, 8), (2, 4100, 1, 210)]
"""A block of many rows, of one (67 is a prime), wider than a block, and of one column."""


@pytest.mark.parametrize("shape", SHAPES)
def test_a_convolution_by_blocks_is_a_convolution_and_so_is_its_gradient(shape):
    x, kernel = arrays(*shape, features=5)
    assert relative_error(jax.jit(by_blocks)(x, kernel), by_definition(x, kernel)) < 2e-6
    weight = np.random.default_rng(1).normal(size=(*shape[:3], 5)).astype(np.float32)
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0))).astype(np.float64)
    gradient = kernel_gradient(convolve, x, kernel, weight)
    for i, j in np.ndindex(3, 3):
        shifted = padded[:, i : i + shape[1], j : j + shape[2]]
        right = np.einsum("bhwc,bhwd->cd", shifted, weight.astype(np.float64))
        assert np.abs(gradient[i, j] - right).max() < 2e-5 * np.abs(gradient).max()


def test_derivatives_in_forward_mode_are_those_of_a_convolution():
    x, kernel = arrays(1, 64, 64, 128, features=128)
    direction = arrays(1, 64, 64, 128, features=128)[0][:, ::-1]
    _, forward = jax.jvp(lambda x: convolve(x, kernel), (x,), (direction,))
    assert relative_error(forward, by_definition(direction, kernel)) < WIDE_ERROR
    _, forward = jax.jvp(lambda k: convolve(x, k), (kernel,), (kernel[::-1],))
    assert relative_error(forward, by_definition(x, kernel[::-1])) < WIDE_ERROR


def test_gradients_of_a_wide_convolution_are_those_of_the_definition_and_store_no_tiles():
    x, kernel = arrays(2, 64, 64, 96, features=64)
    weight = np.random.default_rng(1).normal(size=(2, 64, 64, 64)).astype(np.float32)
    by_input, by_kernel = jax.jit(jax.grad(lambda x, k: jnp.vdot(convolve(x, k), weight), (0, 1)))(x, kernel)
    flipped = kernel[::-1, ::-1].swapaxes(2, 3)
    assert relative_error(by_input, by_definition(weight, flipped)) < WIDE_ERROR
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0))).astype(np.float64)
    for i, j in np.ndindex(3, 3):
        shifted = padded[:, i : i + 64, j : j + 64]
        right = np.tensordot(shifted, weight.astype(np.float64), ([0, 1, 2], [0, 1, 2]))
        assert np.abs(by_kernel[i, j] - right).max() < 2e-5 * np.abs(by_kernel).max()
    stored = jax.eval_shape(lambda x, k: jax.vjp(convolve, x, k)[1], x, kernel)
    assert sum(leaf.size for leaf in jax.tree.leaves(stored)) <= 1.01 * (x.size + kernel.size)


@pytest.mark.parametrize(("channels", "features"), [(32, 33), (64, 64)])
def test_gradients_of_many_kernels_at_once_are_those_of_each(channels, features):
    x, kernel = arrays(2, 64, 64, channels, features=features)
    kernels, weight = np.stack([kernel, kernel[::-1]]), np.ones((2, 64, 64, features), np.float32)
    squared = lambda k: jnp.vdot(convolve(x, k) ** 2, weight)  # noqa: E731
    together = jax.jit(jax.vmap(jax.grad(squared)))(kernels)
    for one, alone in zip(together, map(jax.grad(squared), kernels), strict=True):
        assert relative_error(one, alone) < 1e-5


def test_the_gradient_is_fast_on_a_cpu_and_the_plain_one_elsewhere():
    x, kernel = arrays(1, 64, 64, 32, features=32)
    gradient = jax.jit(jax.grad(lambda k: convolve(x, k).sum()))
    assert "stablehlo.while" in jax.export.export(gradient, platforms=["cpu"])(kernel).mlir_module()
    for platform in ("cuda", "tpu"):
        program = jax.export.export(gradient, platforms=[platform])(kernel).mlir_module()
        assert "stablehlo.while" not in program
        assert "dot_general" not in program


def test_a_pointwise_convolution_is_a_convolution():
    x, kernel = arrays(2, 3, 4, 5, features=6, size=1)
    assert relative_error(pointwise(jnp.asarray(x), jnp.asarray(kernel)), by_definition(x, kernel)) < 1e-6
