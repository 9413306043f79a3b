"""Step times and accuracy of streams: python -m benchmarks.streaming [CHECKPOINT] [SECONDS]

Prints, for several lengths, the latency, the times of the steps, and the difference from enhancement of the
whole signal at once, as an SNR in dB, for a tone in stationary noise. CHECKPOINT is a path or the name of a
packaged model; without one, or with "", the model is an untrained student of the demonstration's size.
"""

import sys

import jax
import numpy as np

from configs.demo import NETWORK, PROCESS
from rosecd_jax import Enhancer, ModelConfig, ScoreModel
from rosecd_jax.conversion.lightning import load_any_checkpoint
from rosecd_jax.inference.stream_step import StreamConfig
from rosecd_jax.inference.streaming import StreamingEnhancer
from rosecd_jax.models.score_model import Params
from rosecd_jax.processes import keep_freed_memory

CONFIGS = ({}, {"look_ahead": 0}, {"look_ahead": 128}, {"hop": 32}, {"hop": 128}, {"window": 2048})  # ms


def fresh_student() -> tuple[ScoreModel, Params]:
    """Make an untrained student of the demonstration's size."""
    model = ScoreModel(ModelConfig(role="student", sde=PROCESS, network=NETWORK))
    return model, model.init(jax.random.key(0))


def main(checkpoint: str = "", seconds: float = 30.0) -> None:
    """Measure and print the table."""
    keep_freed_memory()
    model, params = load_any_checkpoint(checkpoint) if checkpoint else fresh_student()
    rate = model.front_end.sample_rate
    time = np.arange(round(seconds * rate)) / rate
    noise = np.random.default_rng(0).standard_normal(time.size)
    wave = (0.1 * np.sin(2 * np.pi * 300 * time) + 0.02 * noise).astype(np.float32)
    whole = Enhancer(model, params)(wave, rate)

    frame = 1000 * model.front_end.hop / rate
    print(f"{sum(leaf.size for leaf in jax.tree.leaves(params)):,} parameters on {jax.devices()[0]}, in ms:")
    print("window   hop  look-ahead  latency    p50    p99    max  under-runs  s per s   SNR to whole")
    for lengths in CONFIGS:
        config = StreamConfig.from_milliseconds(model, **lengths)
        stream = StreamingEnhancer(model, params, config=config)
        output = np.concatenate([stream.push(wave), stream.flush()])[stream.latency :]
        inside = slice(rate, -rate)  # streams are padded by silence, whole signals by reflection
        difference = np.sum((output - whole)[inside] ** 2)
        ratio = 10 * np.log10(np.sum(whole[inside] ** 2) / difference)
        times = stream.times
        p50, p99, longest = (1000 * s for s in (times.percentile(50), times.percentile(99), times.longest))
        print(
            f"{config.window * frame:6.0f}{config.hop * frame:6.0f}{config.look_ahead * frame:12.0f}"
            f"{1000 * stream.latency_seconds:9.1f}{p50:7.1f}{p99:7.1f}{longest:7.1f}{times.under_runs:12}"
            f"{times.real_time_factor:9.3f}{ratio:12.1f} dB"
        )


if __name__ == "__main__":
    main(*sys.argv[1:2], *map(float, sys.argv[2:3]))
