"""Convolutions of [batch, frequency, frame, channel] that keep the resolution, faster on a CPU than XLA's."""

import functools
import operator
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from rosecd_jax.arrays import Array

Maps = Float[Array, "B F T C"]
Result = Float[Array, "B F T D"]
Kernel = Float[Array, "3 3 C D"]

LEAST_POSITIONS, LEAST_CHANNELS = 64 * 64, 128
"""Minimum sizes for which Winograd's algorithm is worth its compilation time."""
LEAST_PAIRS = 64
"""Minimum of input times output channels for gradients by blocks; positions as for Winograd's algorithm."""
BAND_POSITIONS = 128 * 256
"""Number of positions that Winograd's algorithm transforms at a time."""
BLOCK_POSITIONS = 2048
"""Number of positions whose 3 × 3 neighborhoods fit into a CPU core's cache."""

# F(2 × 2, 3 × 3) of Lavin and Gray 2015, arXiv 1509.09308, eq. 8: of input tiles, kernels and products.
INPUT = ((1, 0, -1, 0), (0, 1, 1, 0), (0, -1, 1, 0), (0, 1, 0, -1))
KERNEL = np.array([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]], np.float32)
OUTPUT = ((1, 1, 1, 0), (0, 1, -1, -1))


def pointwise(x: Maps, kernel: Float[Array, "1 1 C D"]) -> Result:
    """Compute a 1 × 1 convolution as a matrix product: two to three times as fast on a CPU."""
    return x @ kernel[0, 0]


@jax.custom_jvp
def convolve(x: Maps, kernel: Kernel) -> Result:
    """Compute a 3 × 3 convolution with zero padding.

    On a CPU, large float32 convolutions use Winograd's algorithm, with 16 products instead of 36; its
    rounding errors are a few units in the last place larger. The derivative with respect to x is that of the
    plain convolution; that with respect to the kernel uses `by_blocks`.
    """
    _, height, width, channels = x.shape
    known_width = width if isinstance(width, int) else height  # jax.export may leave the length open
    large = height * known_width >= LEAST_POSITIONS and min(channels, kernel.shape[-1]) >= LEAST_CHANNELS
    if not large or height % 2 or width % 2 or x.dtype != jnp.float32:
        return _plain(x, kernel)
    return jax.lax.platform_dependent(x, kernel, cpu=winograd, default=_plain)


@convolve.defjvp
def _(primals: tuple[jax.Array, ...], tangents: tuple[jax.Array, ...]) -> tuple[jax.Array, jax.Array]:
    (x, kernel), (x_dot, kernel_dot) = primals, tangents
    return convolve(x, kernel), _plain(x_dot, kernel) + _by_kernel(x, kernel_dot)


def _by_kernel(x: Maps, kernel: Kernel) -> Result:
    """Compute the plain convolution so that its transpose with respect to the kernel is fast."""
    _, height, width, channels = x.shape
    large = isinstance(width, int) and height * width >= LEAST_POSITIONS
    if not large or channels * kernel.shape[-1] < LEAST_PAIRS or x.dtype != jnp.float32:
        return _plain(x, kernel)
    return jax.lax.platform_dependent(x, kernel, cpu=by_blocks, default=_plain)


def by_blocks(x: Maps, kernel: Kernel) -> Result:
    """Compute `convolve` by blocks of rows, each a matrix product with its 3 × 3 neighborhoods.

    The transpose with respect to the kernel sums products of a block's gradient and its neighborhoods, which
    are recomputed (`jax.checkpoint`) and stay in the cache. On a CPU it is faster than XLA's gradient, a
    convolution whose kernel is as large as x.
    """
    batch, height, width, channels = x.shape
    rows = next(n for n in range(max(1, min(height, BLOCK_POSITIONS // width)), 0, -1) if height % n == 0)
    x = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    matrix = kernel.reshape(9 * channels, -1).T

    @functools.partial(jax.checkpoint, prevent_cse=False)
    def block(i: jax.Array, matrix: jax.Array) -> jax.Array:
        corner = (i // (height // rows), i % (height // rows) * rows, 0, 0)
        here = jax.lax.dynamic_slice(x, corner, (1, rows + 2, width + 2, channels))[0]
        shifted = [here[a : a + rows, b : b + width] for a in range(3) for b in range(3)]
        neighborhoods = jnp.concatenate(shifted, axis=-1).reshape(-1, 9 * channels)
        return jax.lax.dot_general(neighborhoods, matrix, (((1,), (1,)), ((), ())))

    out = jax.lax.map(lambda i: block(i, matrix), jnp.arange(batch * height // rows))
    return out.reshape(batch, height, width, -1)


def _plain(x: Maps, kernel: Kernel) -> Result:
    return jax.lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))


def winograd(x: Maps, kernel: Kernel) -> Result:
    """Compute `convolve` for even heights and widths: a 4 × 4 tile of x gives 2 × 2 output positions.

    Computed in bands of rows, whose tiles and products need less memory at a time.
    """
    _, height, width, channels = x.shape
    count = max(1, height * width // BAND_POSITIONS) if isinstance(width, int) else 1
    rows = next(n for n in range(max(2, height // count), height + 1) if height % n == 0 and n % 2 == 0)
    kernels = jnp.einsum("ia,jb,abcd->ijcd", KERNEL, KERNEL, kernel).reshape(16, channels, -1)
    x = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    bands = [_winograd_band(x[:, i : i + rows + 2], kernels) for i in range(0, height, rows)]
    return jnp.concatenate(bands, axis=1)


def _winograd_band(x: Maps, kernels: Float[Array, "16 C D"]) -> Float[Array, "B _ _ D"]:
    """Compute the result of padded rows of x and transformed kernels."""
    batch, height, width, channels = x.shape
    height, width = height - 2, width - 2
    corners = [[x[:, i : i + height : 2, j : j + width : 2] for j in range(4)] for i in range(4)]
    tiles = jnp.stack([tile.reshape(-1, channels) for row in _transform(INPUT, corners) for tile in row])
    products = (tiles @ kernels).reshape(4, 4, batch, height // 2, width // 2, -1)
    outputs = _transform(OUTPUT, [list(row) for row in products])
    rows = jnp.stack([jnp.stack(row, axis=3) for row in outputs], axis=2)
    return rows.reshape(batch, height, width, -1)


def _transform(matrix: Sequence[Sequence[int]], grid: list[list[jax.Array]]) -> list[list[jax.Array]]:
    """Compute matrix · grid · matrixᵀ for a square grid of arrays and a matrix of 1, 0 and −1."""

    def combine(parts: Sequence[jax.Array]) -> list[jax.Array]:
        signed = ([p if c > 0 else -p for c, p in zip(row, parts, strict=True) if c] for row in matrix)
        return [functools.reduce(operator.add, terms) for terms in signed]

    columns = [combine(column) for column in zip(*grid, strict=True)]
    return [combine(row) for row in zip(*columns, strict=True)]
