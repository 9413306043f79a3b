"""Devices and hosts as a mesh with one axis, `data`."""

import contextlib
import os
from typing import Any, Literal

import jax
import numpy as np

from rosecd_jax.audio.fft import AXIS

AnyMesh = jax.sharding.Mesh | jax.sharding.AbstractMesh


def join_processes() -> None:
    """Initialize `jax.distributed` if the environment asks for it; to be called before any use of JAX.

    JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES and JAX_PROCESS_ID work on any machines; under Slurm's srun and
    Open MPI's mpirun, and on a TPU slice of several hosts, JAX detects the processes.

    Raises:
      ValueError: if the three variables are not set together.
    """
    names = ("JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID")
    given = [os.environ.get(name, "") for name in names]
    launched = (int(os.environ.get(name, "1")) for name in ("SLURM_STEP_NUM_TASKS", "OMPI_COMM_WORLD_SIZE"))
    slice_hosts = os.environ.get("TPU_WORKER_HOSTNAMES", "").count(",") + 1
    if any(given):
        if not (all(given) and given[1].isdigit() and given[2].isdigit()):
            described = ", ".join(f"{name}={value!r}" for name, value in zip(names, given, strict=True))
            raise ValueError(
                f"several processes need an address, their count and an ID each; found {described}"
            )
        jax.distributed.initialize(given[0], int(given[1]), int(given[2]))
    elif max(*launched, slice_hosts) > 1:
        jax.distributed.initialize()


def make_mesh() -> jax.sharding.Mesh:
    """Return a mesh of all devices of all processes along the axis `data`."""
    return jax.make_mesh((jax.device_count(),), (AXIS,), axis_types=(jax.sharding.AxisType.Auto,))


def replicated(mesh: AnyMesh) -> jax.NamedSharding:
    """Return the sharding that replicates an array on every device."""
    return jax.NamedSharding(mesh, jax.P())


def over_batch(mesh: jax.sharding.Mesh) -> jax.NamedSharding:
    """Return the sharding of the first axis, the batch, over the devices."""
    return jax.NamedSharding(mesh, jax.P(AXIS))


def state_shardings(mesh: AnyMesh, shapes: Any, how: Literal["replicated", "fsdp"]) -> Any:
    """Return a sharding for each array of a tree: replicated, or ("fsdp") over its longest divisible axis.

    An array without an axis that is divisible by the number of devices is replicated; such arrays are small.
    """

    def sharding(leaf: Any) -> jax.NamedSharding:
        axes = [axis for axis, size in enumerate(leaf.shape) if size % mesh.size == 0]
        if how == "replicated" or mesh.size == 1 or not axes:
            return replicated(mesh)
        longest = max(axes, key=lambda axis: leaf.shape[axis])
        return jax.NamedSharding(mesh, jax.P(*[None] * longest, AXIS))

    return jax.tree.map(sharding, shapes)


def in_context(mesh: jax.sharding.Mesh) -> contextlib.AbstractContextManager[Any]:
    """Return a context for tracing in which `audio.fft` shards FFTs if there are several devices."""
    return jax.sharding.use_abstract_mesh(mesh.abstract_mesh) if mesh.size > 1 else contextlib.nullcontext()


def place(tree: Any, shardings: Any) -> Any:
    """Put host arrays that are equal on every process on the devices."""
    return jax.jit(lambda same: same, out_shardings=shardings)(jax.tree.map(np.asarray, tree))


def place_batch(batch: Any, mesh: jax.sharding.Mesh) -> Any:
    """Put this process's share of a batch, [B / processes, ...], on the devices as part of [B, ...]."""
    sharding = over_batch(mesh)

    def to_devices(local: np.ndarray) -> jax.Array:
        shape = (local.shape[0] * jax.process_count(), *local.shape[1:])
        return jax.make_array_from_process_local_data(sharding, local, shape)

    return jax.tree.map(to_devices, batch)


def check_batch(batch_size: int, mesh: AnyMesh) -> None:
    """Raise ValueError if the devices can't share a batch evenly."""
    if batch_size % mesh.size:
        below = batch_size - batch_size % mesh.size
        fitting = " or ".join(str(size) for size in (below, below + mesh.size) if size)
        raise ValueError(
            f"data.batch_size is {batch_size}, for all devices together, and not a multiple of the "
            f"{mesh.size} devices; set it to {fitting}"
        )
