"""FFTs of real signals along the last axis, sharded over the devices of the mesh in context.

XLA's partitioner doesn't shard an FFT: it gathers the whole array, and every device transforms all of it.
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Complex64, Float32

from rosecd_jax.arrays import Array

AXIS = "data"
"""Name of the mesh axis over which batches are sharded."""


def rfft(x: Float32[Array, "*shape n"], size: int | None = None) -> Complex64[Array, "*shape bins"]:
    """Compute `jnp.fft.rfft`, each device for its shard of the first axis."""
    return _by_parts(functools.partial(jnp.fft.rfft, n=size), x)


def irfft(x: Complex64[Array, "*shape bins"], size: int | None = None) -> Float32[Array, "*shape n"]:
    """Compute `jnp.fft.irfft`, each device for its shard of the first axis."""
    return _by_parts(functools.partial(jnp.fft.irfft, n=size), x)


def _by_parts(transform: Callable[[Array], Array], x: Array) -> Array:
    """Apply a transform of the last axis to each device's shard of the first axis.

    Without a mesh, inside shard_map, and for a first axis that the mesh doesn't divide, it is a plain call.
    """
    mesh = jax.sharding.get_abstract_mesh()
    automatic = set(mesh.axis_types) == {jax.sharding.AxisType.Auto} and AXIS in mesh.axis_names
    if not automatic or x.ndim < 2 or x.shape[0] % mesh.shape[AXIS]:
        return transform(x)
    return jax.shard_map(transform, in_specs=jax.P(AXIS), out_specs=jax.P(AXIS))(x)
