"""Speed and memory of a training step on this machine.

    python -m benchmarks.train_step CONFIG [--steps N] [--peak TFLOPS] [--parts N] [--memory-only] \
        [--config.key=value]...

    python -m benchmarks.train_step configs/rosecd_voicebank_teacher.py --peak 989
    python -m benchmarks.train_step configs/rosecd_voicebank_teacher.py --memory-only \
        --config.model.network.remat=True
    python -m benchmarks.train_step configs/rosecd_voicebank_teacher.py --topology v5e:2x2

The batches are noise, already on the devices. A student's teacher has the config's size and random
weights. Prints seconds per step, examples and seconds of audio per second, the temporary memory of the
gradient program according to XLA, and the rate of the networks' operations (as in the log of a run, see
rosecd_jax.training.operations), with its fraction of the devices' peak if that is known or given in TFLOP/s.

Then a table splits the step: the medians of --parts measurements of the whole step and of its parts, each
compiled separately and run in turn. The parts are the network's gradient; the solver, which is the
teacher's step and the target; the losses, which are the gradient of the objective with networks that cost
nothing, so STFT, noise and loss terms; the optimizer with the moving average; and, with --config.data.path
or --config.data.speech, the input: the time to get the next batches from the loader, which works ahead while
the devices compute, as in a run. Compiled together, parts may share work or be fused, so that shares don't
add up.

With --topology the programs are only compiled, for devices that may be absent: a TPU topology such as
v5e:2x2 (pip install libtpu), or a text file of a GpuTargetConfigProto that describes a GPU to XLA (pip
install --no-deps jax-cuda12-plugin jax-cuda12-pjrt, of jax's version, and nvidia-cuda-nvcc-cu12; and set
JAX_SKIP_CUDA_CONSTRAINTS_CHECK=1). Without a GPU, nothing is autotuned.
"""

import argparse
import dataclasses
import time
from typing import Any

import jax
import numpy as np

from benchmarks.memory import absent_devices
from benchmarks.step_parts import (
    Parts,
    gradient_arguments,
    median_seconds,
    print_parts,
    random_batches,
    update_arguments,
)
from rosecd_jax.cli.train import read_config
from rosecd_jax.models import ScoreModel
from rosecd_jax.processes import keep_freed_memory
from rosecd_jax.training.config import TrainConfig
from rosecd_jax.training.devices import AXIS, make_mesh, place
from rosecd_jax.training.operations import operations_per_example, peak_tflops
from rosecd_jax.training.step import Step, make_step


def compile_programs(config: TrainConfig, step: Step, mesh: jax.sharding.Mesh) -> jax.stages.Compiled:
    """Compile a batch's gradient and an update from shapes; print times and return the gradient's program."""
    arguments = gradient_arguments(config, step, mesh)
    gradient = compile_one("gradient", step.add_gradient, *arguments)
    compile_one("update", step.apply, *update_arguments(config, step, arguments))
    return gradient


def compile_one(name: str, program: Any, *arguments: Any) -> jax.stages.Compiled:
    """Compile a jitted function, and print the seconds of each stage and the size of the program."""
    times = [time.perf_counter()]
    traced = program.trace(*arguments)
    times.append(time.perf_counter())
    lowered = traced.lower()
    times.append(time.perf_counter())
    compiled = lowered.compile()
    times.append(time.perf_counter())
    trace, lower, compile_ = np.diff(times)
    text = compiled.as_text() or ""
    print(
        f"{name}: traced in {trace:.1f} s, lowered in {lower:.1f} s, compiled in {compile_:.1f} s; "
        f"{text.count(' = ')} instructions, {text.count(' fusion(')} fusions"
    )
    return compiled


def main(
    config: TrainConfig, steps: int, peak: float, memory_only: bool, topology: str, parts: int = 0
) -> None:
    """Measure and print the results."""
    keep_freed_memory()
    mesh = jax.sharding.Mesh(np.array(absent_devices(topology)), (AXIS,)) if topology else make_mesh()
    model = ScoreModel(config.model)
    teacher = ScoreModel(dataclasses.replace(config.model, role="teacher"))
    step = make_step(config, model, teacher, mesh)
    data, accumulate = config.data, config.optimizer.accumulate
    samples = model.front_end.samples(data.frames)
    print(f"{mesh.size} x {mesh.devices.flat[0].device_kind}, {config.objective}, {config.model.network}")
    memory = compile_programs(config, step, mesh).memory_analysis()
    gib = memory.temp_size_in_bytes / 2**30
    print(f"temporary memory for the gradient of {data.batch_size} items: {gib:.2f} GiB per device")
    if memory_only or topology:
        return

    params = jax.device_get(model.init(jax.random.key(0)))
    state = step.init(params, np.asarray(jax.random.key_data(jax.random.key(1))))
    frozen = place(params, step.shardings.params) if config.objective == "distillation" else {}
    batches = random_batches(config, samples, mesh)
    state, metrics = step(state, frozen, batches)
    jax.block_until_ready(metrics)
    start = time.perf_counter()
    for _ in range(steps):
        state, metrics = step(state, frozen, batches)
    jax.block_until_ready(metrics)
    seconds = (time.perf_counter() - start) / steps
    examples = data.batch_size * accumulate / seconds
    print(f"{seconds:.3f} s per step of {data.batch_size} x {accumulate} examples")
    print(f"{examples:.2f} examples/s, {examples * samples / model.front_end.sample_rate:.1f} s of audio/s")
    print(f"{config.steps} steps: {config.steps * seconds / 3600:.1f} hours")
    operations = operations_per_example(config, model, teacher) or 0
    used = examples * operations / 1e12 / mesh.size
    peak = peak or peak_tflops(config) or 0.0
    print(f"{used:.3g} TFLOP/s per device" + (f", {100 * used / peak:.1f} % of {peak:g}" if peak else ""))
    if parts:
        found = Parts(config, model, step, state, frozen, batches).all(mesh)
        print_parts(median_seconds(found, parts))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("config")
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--peak", type=float, default=0.0, help="peak of one device in TFLOP/s")
    parser.add_argument("--memory-only", action="store_true")
    parser.add_argument("--topology", default="", help="absent devices to compile for")
    parser.add_argument("--parts", type=int, default=5, help="repetitions of each part; 0: no table")
    known, overrides = parser.parse_known_args()
    settings = read_config(known.config, overrides)
    main(settings, known.steps, known.peak, known.memory_only, known.topology, known.parts)
