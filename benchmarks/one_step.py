"""Time of one network call of the full-size model: python -m benchmarks.one_step [SECONDS OF AUDIO]

Prints the times of initializing, compiling and enhancing with an untrained student of 65.6 M parameters, and
of the network alone.
"""

import sys
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rosecd_jax import Enhancer, ModelConfig, ScoreModel
from rosecd_jax.cli.common import keep_freed_memory
from rosecd_jax.diffusion import Preconditioning


def seconds_of(function: Callable[[], Any]) -> float:
    """Measure the time of a call until its result is ready."""
    start = time.perf_counter()
    jax.block_until_ready(function())
    return time.perf_counter() - start


def main(audio_seconds: float = 2.0, runs: int = 5) -> None:
    """Measure and print the times."""
    keep_freed_memory()
    model = ScoreModel(ModelConfig(role="student", preconditioning=Preconditioning(c_in="1")))
    start = time.perf_counter()
    params = jax.block_until_ready(model.init(jax.random.key(0)))
    print(
        f"{sum(leaf.size for leaf in jax.tree.leaves(params)) / 1e6:.1f} M parameters on {jax.devices()[0]}"
    )
    print(f"initializing, with compilation    {time.perf_counter() - start:7.2f} s")

    enhancer = Enhancer(model, params)
    rate = model.front_end.sample_rate
    wave = np.random.default_rng(0).uniform(-0.1, 0.1, round(audio_seconds * rate)).astype(np.float32)
    print(f"compiling one step                {seconds_of(lambda: enhancer.prepare(wave.size, rate)):7.2f} s")
    times = [seconds_of(lambda: enhancer(wave, rate)) for _ in range(runs)]
    print(
        f"enhancing {audio_seconds:g} s of audio       {min(times):7.2f} s, median {np.median(times):.2f} s"
    )

    frames = model.front_end.frames(wave.size)
    frames += -frames % model.config.network.stride
    state = jnp.full((1, model.front_end.bins, frames), 0.1 + 0.1j, jnp.complex64)
    denoise = jax.jit(model.denoise).lower(params, state, state, jnp.ones(1)).compile()
    times = [seconds_of(lambda: denoise(params, state, state, jnp.ones(1))) for _ in range(runs)]
    print(f"the network alone, {frames} frames     {min(times):7.2f} s, median {np.median(times):.2f} s")


if __name__ == "__main__":
    main(*map(float, sys.argv[1:2]))
