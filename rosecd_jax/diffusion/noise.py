"""Circular complex Gaussian noise of unit variance, and noise by absolute frame number."""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Complex64, Int32, Key

from rosecd_jax.arrays import Array, State

Number = Int32[Array, ""] | int
NoiseSource = Callable[[Number], State]
"""Noise of a trajectory: index i of the draw -> noise of the state's shape."""


def complex_normal(key: Key[Array, ""], shape: tuple[int, ...]) -> Complex64[Array, "..."]:
    """Draw circular complex Gaussian noise with E|z|² = 1: real and imaginary part have variance 0.5."""
    # The same numbers as for (2, *shape), in a kernel that XLA compiles in a third of the time.
    flat = (2, *shape[:1], math.prod(shape[1:]))
    real, imaginary = jax.random.normal(key, flat, jnp.float32).reshape(2, *shape) * np.float32(np.sqrt(0.5))
    return jax.lax.complex(real, imaginary)


def frame_noise(
    key: Key[Array, ""], bins: int, frames: int, first_frame: Number = 0
) -> Complex64[Array, "bins frames"]:
    """Draw noise in which a column depends only on `key` and its frame's absolute number.

    Padding a signal, or cutting it into windows, therefore doesn't change the noise of its frames.
    """
    numbers = jnp.arange(frames) + first_frame
    return jax.vmap(lambda n: complex_normal(jax.random.fold_in(key, n), (bins,)), out_axes=1)(numbers)


def noise_source(
    keys: Key[Array, " B"], bins: int, frames: int, first_frames: Int32[Array, " B"] | Number = 0
) -> NoiseSource:
    """Return the noise of trajectories, one per key: i -> complex64 [B, bins, frames].

    `first_frames`: absolute number of each item's first frame, or one for all.
    """
    firsts = jnp.broadcast_to(jnp.asarray(first_frames, jnp.int32), keys.shape)

    def draw(i: Number) -> Complex64[Array, "B bins frames"]:
        columns = lambda key, first: frame_noise(jax.random.fold_in(key, i), bins, frames, first)  # noqa: E731
        return jax.vmap(columns)(keys, firsts)

    return draw
