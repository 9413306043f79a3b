"""Convolutions of [batch, frequency, frame, channel] that keep the resolution, faster on a CPU than XLA's."""

import functools
import operator
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from rosecd_jax.arrays import Array

Maps = Float[Array, "B F T C"]
Result = Float[Array, "B F T D"]
Kernel = Float[Array, "3 3 C D"]

LEAST_CHANNELS, LEAST_PRODUCTS = 32, 128 * 128 * 32 * 32
"""Minima of channels, and of positions times input times output channels, for Winograd's algorithm."""
LEAST_POSITIONS, LEAST_PAIRS = 64 * 64, 64
"""Minima of positions, and of input times output channels, for gradients by blocks."""
BAND_ELEMENTS = 128 * 256 * 128
"""Number of elements of an input that Winograd's algorithm transforms at a time."""
BLOCK_POSITIONS = 2048
"""Number of positions whose 3 × 3 neighborhoods fit into a CPU core's cache."""
TILE = 4
"""Height and width of an output tile of Winograd's algorithm; its input tile is larger by two."""
POINTS = (0.0, 0.75, -0.75, 1.5, -1.5)
"""Points of Winograd's algorithm, exact in float32; with the usual ±1 and ±2, rounding errors double."""


def _matrices(points: Sequence[float]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the matrices that transform input tiles, kernels and products, float32.

    Four outputs of a row are the transpose of a product of polynomials, one with the kernel's three taps and
    one with four coefficients. The product has degree five, so that its values at five points and its leading
    coefficient determine it (Toom and Cook; Lavin and Gray 2015, arXiv 1509.09308, eq. 5).
    """
    others = [np.poly([q for q in points if q != p]) for p in points]
    scales = np.array([[np.polyval(other, p)] for other, p in zip(others, points, strict=True)])
    inputs = [[*other[::-1], 0] for other in others] + [np.poly(points)[::-1]]
    kernels = [*np.vander(points, 3, increasing=True) / scales, [0, 0, 1]]
    outputs = [*np.vander(points, TILE, increasing=True), np.eye(TILE)[-1]]
    return np.array(inputs, np.float32), np.array(kernels, np.float32), np.array(outputs, np.float32).T


INPUT, KERNEL, OUTPUT = _matrices(POINTS)


def pointwise(x: Maps, kernel: Float[Array, "1 1 C D"]) -> Result:
    """Compute a 1 × 1 convolution as a matrix product: two to three times as fast on a CPU."""
    return x @ kernel[0, 0]


@jax.custom_jvp
def convolve(x: Maps, kernel: Kernel) -> Result:
    """Compute a 3 × 3 convolution with zero padding.

    On a CPU, large float32 convolutions of many channels and their derivatives use Winograd's algorithm, with
    36 products instead of 144; rounding errors are a few times larger. For few channels, the derivative with
    respect to the kernel is computed by blocks.
    """
    return _on_cpu(winograd if _is_wide(x, kernel) else _plain, x, kernel)


@convolve.defjvp
def _(primals: tuple[jax.Array, ...], tangents: tuple[jax.Array, ...]) -> tuple[jax.Array, jax.Array]:
    (x, kernel), (x_dot, kernel_dot) = primals, tangents
    by_input = by_kernel = _plain
    if _is_wide(x, kernel):
        by_input = by_kernel = jax.checkpoint(winograd)  # the transformed tiles aren't stored
    elif _is_long(x, kernel):
        by_kernel = by_blocks
    return convolve(x, kernel), _on_cpu(by_input, x_dot, kernel) + _on_cpu(by_kernel, x, kernel_dot)


def _on_cpu(algorithm: Callable[[Maps, Kernel], Result], x: Maps, kernel: Kernel) -> Result:
    """Compute a convolution by an algorithm on a CPU, and by XLA's elsewhere."""
    if algorithm is _plain:
        return _plain(x, kernel)
    return jax.lax.platform_dependent(x, kernel, cpu=algorithm, default=_plain)


def _is_wide(x: Maps, kernel: Kernel) -> bool:
    """Return whether Winograd's algorithm can be used and pays."""
    _, height, width, channels = x.shape
    features = kernel.shape[-1]
    positions = height * (width if isinstance(width, int) else height)  # jax.export may leave the length open
    pays = min(channels, features) >= LEAST_CHANNELS and positions * channels * features >= LEAST_PRODUCTS
    return pays and height % TILE == 0 and width % TILE == 0 and x.dtype == jnp.float32


def _is_long(x: Maps, kernel: Kernel) -> bool:
    """Return whether the gradient by blocks pays."""
    _, height, width, channels = x.shape
    pays = isinstance(width, int) and height * width >= LEAST_POSITIONS
    return pays and channels * kernel.shape[-1] >= LEAST_PAIRS and x.dtype == jnp.float32


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
    # Variables to XLA, which otherwise compiles nine slices instead of one.
    shifts = jax.lax.optimization_barrier([np.int32(shift) for shift in range(3)])

    @functools.partial(jax.checkpoint, prevent_cse=False)
    def block(i: jax.Array, matrix: jax.Array) -> jax.Array:
        item, row = i // (height // rows), i % (height // rows) * rows
        corners = [(item, row + down, right, 0) for down in shifts for right in shifts]
        shifted = [jax.lax.dynamic_slice(x, corner, (1, rows, width, channels)) for corner in corners]
        neighborhoods = jnp.concatenate(shifted, axis=-1).reshape(-1, 9 * channels)
        return jax.lax.dot_general(neighborhoods, matrix, (((1,), (1,)), ((), ())))

    out = jax.lax.map(lambda i: block(i, matrix), jnp.arange(batch * height // rows))
    return out.reshape(batch, height, width, -1)


def _plain(x: Maps, kernel: Kernel) -> Result:
    return jax.lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))


def winograd(x: Maps, kernel: Kernel) -> Result:
    """Compute `convolve` for heights and widths that are multiples of four.

    A 6 × 6 tile of x gives 4 × 4 output positions. Computed in bands of rows, whose tiles and products need
    less memory at a time.
    """
    _, height, width, channels = x.shape
    count = max(1, height * width * channels // BAND_ELEMENTS) if isinstance(width, int) else 1
    rows = next(n for n in range(max(TILE, height // count), height + 1) if height % n == 0 and n % TILE == 0)
    kernels = jnp.matmul(np.kron(KERNEL, KERNEL), kernel.reshape(9, -1)).reshape(36, channels, -1)
    x = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    bands = [_winograd_band(x[:, i : i + rows + 2], kernels) for i in range(0, height, rows)]
    return jnp.concatenate(bands, axis=1)


def _winograd_band(x: Maps, kernels: Float[Array, "36 C D"]) -> Float[Array, "B _ _ D"]:
    """Compute the result of padded rows of x and transformed kernels."""
    batch, height, width, channels = x.shape
    height, width = height - 2, width - 2
    across = [jax.lax.slice_in_dim(x, i, i + width - 3, TILE, axis=2) for i in range(len(INPUT))]
    x = _combine(INPUT, across, axis=0)
    down = [jax.lax.slice_in_dim(x, i, i + height - 3, TILE, axis=2) for i in range(len(INPUT))]
    tiles = _combine(INPUT, down, axis=0).reshape(len(kernels), -1, channels)
    products = (tiles @ kernels).reshape(*INPUT.shape, batch, height // TILE, width // TILE, -1)
    down = _combine(OUTPUT, _unstack(products), axis=3)
    return _combine(OUTPUT, _unstack(down), axis=4).reshape(batch, height, width, -1)


def _unstack(x: jax.Array) -> list[jax.Array]:
    """Compute `jax.numpy.unstack` so that its transpose is one concatenation instead of a sum."""
    return [part[0] for part in jax.lax.split(x, [1] * len(x))]


def _combine(matrix: np.ndarray, parts: Sequence[jax.Array], axis: int) -> jax.Array:
    """Stack the sums of the parts weighted by each row of a matrix."""
    weighted = [[float(c) * part for c, part in zip(row, parts, strict=True) if c] for row in matrix]
    return jnp.stack([functools.reduce(operator.add, terms) for terms in weighted], axis)
