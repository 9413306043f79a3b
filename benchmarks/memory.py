"""Memory saved by rematerialization on a TPU: python -m benchmarks.memory [TOPOLOGY] [ITEMS]

Compiles the gradient of the published network in bfloat16 for one device of a TPU topology (default
v5e:2x2), for ITEMS (default 2) spectrograms of 256 frames, and prints the temporary memory that XLA plans
without and with `network.remat`. No TPU is needed, only the package libtpu: pip install -e '.[tpu]'.
On two CPU cores the compiler takes five to fifteen minutes for each.
"""

import dataclasses
import os
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from rosecd_jax.models import ModelConfig, NCSNppConfig, ScoreModel
from rosecd_jax.models.score_model import Params
from rosecd_jax.training.devices import AXIS, replicated


def absent_devices(topology: str) -> list[jax.Device]:
    """Return abstract devices to compile for: those of a TPU topology, or the GPU that a file describes."""
    from jax.experimental import topologies

    if Path(topology).is_file():
        target = Path(topology).read_text()
        described = topologies.get_topology_desc("gpu", "cuda", target_config=target, topology="1x1x1")
        return list(described.devices)

    alone = {"TPU_ACCELERATOR_TYPE": "v5litepod-1", "TPU_WORKER_ID": "0", "TPU_WORKER_HOSTNAMES": "localhost"}
    for name, value in {"JAX_PLATFORMS": "cpu", "TPU_SKIP_MDS_QUERY": "1", **alone}.items():
        os.environ.setdefault(name, value)
    jax.config.update("jax_platforms", "cpu")
    return list(topologies.get_topology_desc(topology, platform="tpu").devices)


def temporary_memory(network: NCSNppConfig, items: int, device: jax.Device, frames: int = 256) -> float:
    """Return the temporary memory of the gradient's program in GiB."""
    model = ScoreModel(ModelConfig(network=network))
    everywhere = replicated(jax.sharding.Mesh(np.array([device]), (AXIS,)))

    def shape(size: tuple[int, ...], dtype: type) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(size, dtype, sharding=everywhere)

    def loss(params: Params, x_t: jax.Array, y: jax.Array, t: jax.Array) -> jax.Array:
        return jnp.sum(jnp.abs(model.denoise(params, x_t, y, t)) ** 2)

    shapes = jax.eval_shape(model.init, jax.random.key(0))
    params = jax.tree.map(lambda leaf: shape(leaf.shape, leaf.dtype), shapes)
    state = shape((items, network.bins, frames), jnp.complex64)
    program = jax.jit(jax.grad(loss)).lower(params, state, state, shape((items,), jnp.float32)).compile()
    return program.memory_analysis().temp_size_in_bytes / 2**30


def main(topology: str = "v5e:2x2", items: str = "2") -> None:
    """Compile with and without rematerialization, and print the memory."""
    device = absent_devices(topology)[0]
    network = NCSNppConfig(dtype="bfloat16")
    for remat in (False, True):
        memory = temporary_memory(dataclasses.replace(network, remat=remat), int(items), device)
        print(f"{device.device_kind}, {items} items, remat={remat}: {memory:.2f} GiB", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
