"""Circular complex Gaussian noise of unit variance, and noise that depends on its frame only."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

NoiseSource = Callable[[jax.Array | int], jax.Array]
"""The noise of a trajectory as data: draw number i -> complex64 of the state's shape."""


def complex_normal(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """complex64 noise with E|z|² = 1, so that each real component has variance 0.5."""
    real, imaginary = jax.random.normal(key, (2, *shape), jnp.float32) * np.float32(np.sqrt(0.5))
    return jax.lax.complex(real, imaginary)


def frame_noise(key: jax.Array, bins: int, frames: int, first_frame: jax.Array | int = 0) -> jax.Array:
    """complex64 [bins, frames]; the column of a frame depends on `key` and its absolute number alone.

    Padding a signal, or cutting it into windows, therefore leaves the noise of its frames as it was.
    """
    numbers = jnp.arange(frames) + first_frame
    return jax.vmap(lambda n: complex_normal(jax.random.fold_in(key, n), (bins,)), out_axes=1)(numbers)


def noise_source(keys: jax.Array, bins: int, frames: int, first_frames: jax.Array | int = 0) -> NoiseSource:
    """A trajectory's noise for a batch of `keys` [B]: i -> complex64 [B, bins, frames].

    `first_frames`: the absolute number of each item's first frame, int32 [B], or one for all.
    """
    firsts = jnp.broadcast_to(jnp.asarray(first_frames, jnp.int32), keys.shape)

    def draw(i: jax.Array | int) -> jax.Array:
        columns = lambda key, first: frame_noise(jax.random.fold_in(key, i), bins, frames, first)  # noqa: E731
        return jax.vmap(columns)(keys, firsts)

    return draw
