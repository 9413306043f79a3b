"""A program for test_devices.py: a few steps of training, and the first gradient, written to a file.

python -m tests.training.check_devices CONFIG CORPUS WORKDIR OUT [--config.key=value]...
"""

import sys
from pathlib import Path

import jax
import numpy as np

from rosecd_jax.cli.train import read_config
from rosecd_jax.data.loader import open_source, training_batches
from rosecd_jax.models import ScoreModel
from rosecd_jax.training.devices import make_mesh, place_batch
from rosecd_jax.training.step import Waves, make_step


def main(config_file: str, corpus: str, out: str, *overrides: str) -> None:
    """Five losses, and the gradient of the first batch."""
    config = read_config(config_file, [f"--config.data.path={corpus}", *overrides])
    model, mesh = ScoreModel(config.model), make_mesh()
    step = make_step(config, model, None, mesh)
    key = np.asarray(jax.random.key_data(jax.random.key(1)))
    state = step.init(jax.device_get(model.init(jax.random.key(0))), key)
    if config.sharding == "fsdp":
        kernel = state.params["input"]["kernel"]
        assert kernel.addressable_shards[0].data.size * mesh.size == kernel.size
    source = open_source(config.data, 16_000)
    batches = training_batches(source, config.data, model.front_end.samples(config.data.frames), 0)
    losses, gradient = [], None
    for i in range(5):
        batch = next(batches)
        waves = [place_batch(Waves(batch["clean"], batch["noisy"]), mesh)]
        if i == 0:
            gradient, _ = step.add_gradient(step.zeros(state.params), state, {}, waves[0], np.int32(0))
        state, metrics = step(state, {}, waves)
        losses.append(float(metrics["loss"]))
    gradient = step.layout.unpack(gradient)
    leaves = {str(number): np.asarray(leaf) for number, leaf in enumerate(jax.tree.leaves(gradient))}
    np.savez(Path(out), losses=np.array(losses), **leaves)


if __name__ == "__main__":
    main(*sys.argv[1:])
