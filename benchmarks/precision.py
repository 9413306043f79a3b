"""Comparison of bfloat16 and float32: python -m benchmarks.precision CONFIG [--config.key=value]...

    python -m benchmarks.precision configs/demo.py:teacher --config.data.path=demo/corpus \
        --config.steps=200 --config.optimizer.decay_steps=200

Trains twice from the same weights on the same batches, with the same random numbers, and prints the mean loss
of each quarter of the two runs.
"""

import dataclasses
import sys

import jax
import numpy as np

from rosecd_jax.cli.train import read_config
from rosecd_jax.data.loader import open_source, training_batches
from rosecd_jax.models import ScoreModel
from rosecd_jax.processes import keep_freed_memory
from rosecd_jax.training.config import TrainConfig
from rosecd_jax.training.devices import make_mesh, place, place_batch, state_shardings
from rosecd_jax.training.loop import load_teacher
from rosecd_jax.training.step import Waves, make_step


def losses_of(config: TrainConfig) -> np.ndarray:
    """Train, and return the loss of every step, [steps]."""
    mesh, model = make_mesh(), ScoreModel(config.model)
    teacher, frozen, params = load_teacher(config)
    step = make_step(config, model, teacher, mesh)
    frozen = place(frozen, state_shardings(mesh, frozen, config.sharding))
    key_init, key_run = jax.random.split(jax.random.key(config.seed))
    params = jax.device_get(model.init(key_init) if params is None else params)
    state = step.init(params, np.asarray(jax.random.key_data(key_run)))
    source = open_source(config.data, model.front_end.sample_rate)
    batches = training_batches(source, config.data, model.front_end.samples(config.data.frames), config.seed)
    losses = []
    for _ in range(config.steps):
        pairs = [next(batches) for _ in range(config.optimizer.accumulate)]
        waves = [place_batch(Waves(pair["clean"], pair["noisy"]), mesh) for pair in pairs]
        state, metrics = step(state, frozen, waves)
        losses.append(metrics["loss"])
    return np.array(jax.device_get(losses))


def main(config: TrainConfig) -> None:
    """Train with both types, and print the table."""
    keep_freed_memory()
    table = {}
    for dtype in ("float32", "bfloat16"):
        network = dataclasses.replace(config.model.network, dtype=dtype)
        model = dataclasses.replace(config.model, network=network)
        quarters = np.array_split(losses_of(dataclasses.replace(config, model=model)), 4)
        table[dtype] = np.array([quarter.mean() for quarter in quarters])
        print(f"{dtype:10}" + "".join(f"{value:12.5g}" for value in table[dtype]), flush=True)
    difference = table["bfloat16"] / table["float32"] - 1
    print(f"{'difference':10}" + "".join(f"{value:12.2%}" for value in difference))


if __name__ == "__main__":
    main(read_config(sys.argv[1], sys.argv[2:]))
