"""Throughput of the loader in examples per second: python -m benchmarks.loader CONFIG [--config.key=value]...

    python -m benchmarks.loader configs/demo.py:student --config.data.path=demo/corpus

No model runs at the same time. `benchmarks.train_step` prints the rate that a model consumes.
"""

import sys
import time

from rosecd_jax.cli.train import read_config
from rosecd_jax.data.loader import open_source, training_batches
from rosecd_jax.models import ScoreModel
from rosecd_jax.training.config import TrainConfig


def main(config: TrainConfig, seconds: float = 10.0) -> None:
    """Measure and print the rate."""
    front = ScoreModel(config.model).front_end
    start = time.perf_counter()
    source = open_source(config.data, front.sample_rate)
    print(f"{len(source)} pairs found and checked in {time.perf_counter() - start:.2f} s")
    samples = front.samples(config.data.frames)
    batches = training_batches(source, config.data, samples, config.seed)
    next(batches)
    start, count = time.perf_counter(), 0
    while (elapsed := time.perf_counter() - start) < seconds:
        next(batches)
        count += 1
    rate = count * config.data.batch_size / elapsed
    print(
        f"{rate:.0f} examples/s of {samples / front.sample_rate:.2f} s, "
        f"{config.data.threads} threads, {config.data.workers} workers"
    )


if __name__ == "__main__":
    main(read_config(sys.argv[1], sys.argv[2:]))
