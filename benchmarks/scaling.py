"""Scaling of time with the length of audio, the batch and the devices, and of a step's communication.

    python -m benchmarks.scaling length [MODEL] [--seconds 1 2 4 8 15 30 60 120 300 600]
    python -m benchmarks.scaling batch [MODEL] [--sizes 1 2 4 8 16] [--frames 256]
    python -m benchmarks.scaling devices [CONFIG] [--counts 1 2 4 8] [--batch 8] [--config.key=value]...
    python -m benchmarks.scaling collectives [CONFIG] [--chips 8 64 256] [--per-chip 2] [--link-gbps 1600]
        [--step-seconds S] [--topology v5e:2x4] [--config.key=value]...

length: seconds to enhance a wave by an Enhancer, as a user gets it; above 30 s it works in windows.
batch: seconds of an Enhancer's program for several signals at once, each of --frames frames.
devices: seconds of a training step of a constant batch of noise, divided among the first 1, 2, ... devices.
On a CPU these are virtual devices, in a process for each number: with as many cores as before, they show only
the overhead of dividing the work.
collectives: bytes that each chip sends per update, counted in the compiled programs of a training step,
replicated and fsdp. Both are compiled for 8 virtual CPU devices (or a TPU topology, if libtpu is installed),
with one and with two items per device, and extrapolated: the size of an array is either the same on any
number of devices, or proportional to the batch of all of them; of an all-reduce over a ring of n, each chip
sends 2 (n - 1) / n of the array's bytes, of an all-gather or reduce-scatter (n - 1) / n. Arrays without an
axis that n divides are not divided by fsdp. Seconds are bytes divided by the rate of all links of a chip
together, by default the 4 links of a TPU v5e, all used at once, without latency and without overlap with the
computation. The CPU's compiler reduces gradients to all devices, also for fsdp; a TPU's can send half.
MODEL is a checkpoint, a packaged model, `full`, `32` or `tiny` (see benchmarks.one_step). --tiny tests the
program in seconds.
"""

import argparse
import dataclasses
import functools
import json
import os
import subprocess
import sys

import jax
import numpy as np

from benchmarks.collectives import divided_share, traffic
from benchmarks.memory import absent_devices
from benchmarks.timing import SIZES, interleaved, load, machine, parameters, plain_errors, print_table
from rosecd_jax import Enhancer, ScoreModel
from rosecd_jax.cli.train import read_config
from rosecd_jax.inference.programs import Programs, Stretch
from rosecd_jax.inference.windows import plan_windows
from rosecd_jax.processes import keep_freed_memory
from rosecd_jax.training.config import TrainConfig
from rosecd_jax.training.devices import AXIS, make_mesh, place, place_batch
from rosecd_jax.training.step import Waves, make_step

DEVICES = "--xla_force_host_platform_device_count"


def noise(*shape: int) -> np.ndarray:
    """Make float32 noise."""
    return np.random.default_rng(0).uniform(-0.1, 0.1, shape).astype(np.float32)


def length(options: argparse.Namespace) -> None:
    """Measure waves of several lengths, and print seconds per second of audio."""
    model, params = load(options.model)
    enhancer, rate = Enhancer(model, params), model.front_end.sample_rate
    waves = {seconds: noise(round(seconds * rate)) for seconds in sorted(options.seconds)}
    for wave in waves.values():
        enhancer.prepare(wave.size, rate)
    print(f"{parameters(params)} parameters on {machine()}")
    times = interleaved(
        {s: functools.partial(enhancer, wave, rate) for s, wave in waves.items()}, options.runs
    )
    rows, per_second, inner = [], {}, enhancer.waves
    for seconds, wave in waves.items():
        frames, windows = inner.frames(wave.size), 1
        if inner.is_long(wave.size):
            plan = plan_windows(model.front_end.frames(wave.size), inner.window, inner.unit)
            frames, windows = plan.window, len(plan.firsts)
        median = float(np.median(times[seconds]))
        per_second[seconds] = median / seconds
        rows.append((f"{seconds:g}", f"{windows} x {frames}", f"{median:.3f}", f"{median / seconds:.4f}"))
    print_table(f"medians of {options.runs}", ("s of audio", "frames", "s", "s per s of audio"), rows)
    shortest, longest = min(per_second), max(per_second)
    ratio = per_second[longest] / per_second[shortest]
    print(f"a second of {longest:g} s takes {ratio:.2f} times as long as a second of {shortest:g} s")


def batch(options: argparse.Namespace) -> None:
    """Measure the program of an Enhancer for several rows, and print seconds per row."""
    model, params = load(options.model)
    programs = Programs(model, Enhancer(model, params).sampler, params)
    wave = noise(model.front_end.stretch(options.frames))
    calls = {}
    for rows in sorted(options.sizes):
        stretches = [Stretch(wave, options.frames, 0, i) for i in range(rows)]
        calls[rows] = functools.partial(programs, options.frames, rows, stretches)
        programs.program(options.frames, rows)
    print(f"{parameters(params)} parameters on {machine()}; compiled in {programs.compile_seconds:.1f} s")
    times = interleaved(calls, options.runs)
    least = min(times)
    per_row = {rows: float(np.median(seconds)) / rows for rows, seconds in times.items()}
    table = [
        (str(rows), f"{1000 * rows * s:.1f}", f"{1000 * s:.1f}", f"{per_row[least] / s:.2f}")
        for rows, s in per_row.items()
    ]
    header = ("batch", "ms", "ms per signal", f"speed per signal, batch {least}: 1")
    print_table(f"{options.frames} frames, medians of {options.runs}", header, table)
    most = max(times)
    print(f"in batches of {most}, a signal is {per_row[least] / per_row[most]:.2f} times as fast")


def seconds_per_step(config: TrainConfig, count: int, runs: int) -> float:
    """Measure training steps on the first `count` devices; return the median in seconds."""
    mesh = jax.sharding.Mesh(np.array(jax.devices()[:count]), (AXIS,))
    model = ScoreModel(config.model)
    teacher = ScoreModel(dataclasses.replace(config.model, role="teacher"))
    step = make_step(config, model, teacher, mesh)
    params = jax.device_get(model.init(jax.random.key(0)))
    state = step.init(params, np.asarray(jax.random.key_data(jax.random.key(1))))
    frozen = place(params, step.shardings.params) if config.objective == "distillation" else {}
    waves = noise(config.data.batch_size, model.front_end.samples(config.data.frames))
    batches = [place_batch(Waves(waves, waves), mesh)] * config.optimizer.accumulate
    held = [state]  # a step's state is donated to the next

    def one_step() -> object:
        held[0], metrics = step(held[0], frozen, batches)
        return metrics

    return float(np.median(interleaved({"step": one_step}, runs)["step"]))


def devices(options: argparse.Namespace, overrides: list[str]) -> None:
    """Measure training steps on several numbers of devices, and print their speed."""
    config = make_config(options, overrides)
    config = dataclasses.replace(config, data=dataclasses.replace(config.data, batch_size=options.batch))
    if options.measure:
        print(json.dumps(seconds_per_step(config, options.measure, options.runs)))
        return
    virtual, times = jax.default_backend() == "cpu", {}
    print(f"{config.objective}, {config.sharding}, batch {options.batch}, on {machine()}")
    for count in options.counts:
        if not virtual:
            times[count] = seconds_per_step(config, count, options.runs)
            continue
        flags = f"{os.environ.get('XLA_FLAGS', '')} {DEVICES}={count}"
        words = [sys.executable, "-m", "benchmarks.scaling", *sys.argv[1:], f"--measure={count}"]
        environment = os.environ | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}
        done = subprocess.run(words, env=environment, stdout=subprocess.PIPE, text=True, check=True)
        times[count] = json.loads(done.stdout.splitlines()[-1])
    first, last = options.counts[0], options.counts[-1]
    rows = [
        (
            str(count),
            f"{options.batch / count:g}",
            f"{s:.3f}",
            f"{options.batch / s:.1f}",
            f"{times[first] / s:.2f}",
        )
        for count, s in times.items()
    ]
    header = ("devices", "items per device", "s per step", "examples/s", "speed")
    print_table(f"medians of {options.runs}", header, rows)
    if virtual:
        print(f"Virtual devices share {os.cpu_count()} cores: they show overhead, not a gain.")
    print(f"{last} devices are {times[first] / times[last]:.2f} times as fast as {first}")


def collectives(options: argparse.Namespace, overrides: list[str]) -> None:
    """Count the bytes of a training step's collectives, and print the seconds they take."""
    config = make_config(options, overrides)
    if options.topology:
        mesh = jax.sharding.Mesh(np.array(absent_devices(options.topology)), (AXIS,))
    else:
        jax.config.update("jax_platforms", "cpu")
        jax.config.update("jax_num_cpu_devices", options.compiled)
        mesh = make_mesh()
    rate, rows, seconds = options.link_gbps * 1e9 / 8, [], {}
    for sharding in ("replicated", "fsdp"):
        config = dataclasses.replace(config, sharding=sharding)
        found, compiled = traffic(config, mesh), divided_share(config, mesh.size)
        words = (f"{count} {kind}" for kind, count in found.counts.items())
        print(f"{sharding}, per update: {', '.join(words) or 'no collectives'}", flush=True)
        for chips in options.chips:
            divided = divided_share(config, chips)
            relative = divided / compiled if compiled else 1.0
            fixed, of_batch = found.moved(chips, chips * options.per_chip, relative)
            took = seconds[sharding, chips] = (fixed + of_batch) / rate
            share = f"{100 * took / options.step_seconds:.1f} %" if options.step_seconds else ""
            numbers = (
                f"{100 * divided:.0f} %",
                f"{fixed / 1e6:.2f}",
                f"{of_batch / 1e6:.2f}",
                f"{1000 * took:.3f}",
            )
            rows.append((sharding, str(chips), *numbers, share))
    accumulate = config.optimizer.accumulate
    title = f"sent by each chip per update of {options.per_chip} x {accumulate} examples per chip"
    header = ["sharding", "chips", "weights divided", "MB, weights", "MB, batch", "ms"]
    if options.step_seconds:
        header.append(f"of {options.step_seconds:g} s per step")
    print_table(title, header, [row[: len(header)] for row in rows])
    print(
        f"Assumed: {options.link_gbps:g} Gbit/s per chip, all links together, without latency or overlap.\n"
        f"Compiled for {mesh.size} devices ({mesh.devices.flat[0].device_kind}), extrapolated to others."
    )
    most = max(options.chips)
    ratio = seconds["fsdp", most] / seconds["replicated", most]
    print(f"on {most} chips, fsdp takes {ratio:.2f} times as long to communicate as replicated")


def make_config(options: argparse.Namespace, overrides: list[str]) -> TrainConfig:
    """Read the training config; with --tiny, use the smallest network."""
    config = read_config(options.config, overrides)
    if not options.tiny:
        return config
    model = dataclasses.replace(config.model, network=SIZES["tiny"])
    frames = 48 if config.objective == "distillation" else 16  # enough for the PESQ loss
    return dataclasses.replace(config, model=model, data=dataclasses.replace(config.data, frames=frames))


def parse(words: list[str]) -> tuple[argparse.Namespace, list[str]]:
    """Return the options, and the overrides of a config."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    models = {name: commands.add_parser(name) for name in ("length", "batch")}
    configs = {name: commands.add_parser(name) for name in ("devices", "collectives")}
    for command in models.values():
        command.add_argument("model", nargs="?", default="small")
    for name, command in configs.items():
        default = "configs/demo.py:teacher" if name == "devices" else "configs/rosecd_voicebank_student.py"
        command.add_argument("config", nargs="?", default=default)
    for command in (*models.values(), *configs.values()):
        command.add_argument("--runs", type=int, default=5)
        command.add_argument("--tiny", action="store_true", help="a network of a few thousand weights")
    lengths = [1, 2, 4, 8, 15, 30, 60, 120, 300, 600]
    models["length"].add_argument("--seconds", type=float, nargs="+", default=lengths)
    models["batch"].add_argument("--sizes", type=int, nargs="+", default=[1, 2, 4, 8, 16])
    models["batch"].add_argument("--frames", type=int, default=256)
    configs["devices"].add_argument("--counts", type=int, nargs="+", default=[1, 2, 4, 8])
    configs["devices"].add_argument("--batch", type=int, default=8, help="batch size over all devices")
    configs["devices"].add_argument("--measure", type=int, help=argparse.SUPPRESS)
    more = configs["collectives"]
    more.add_argument("--chips", type=int, nargs="+", default=[8, 64, 256])
    more.add_argument("--per-chip", type=int, default=2, help="examples per chip and gradient")
    more.add_argument("--link-gbps", type=float, default=1600.0, help="Gbit/s of a chip's links together")
    more.add_argument("--step-seconds", type=float, default=0.0, help="seconds of an update's computation")
    more.add_argument(
        "--compiled", type=int, default=8, help="virtual devices that programs are compiled for"
    )
    more.add_argument("--topology", default="", help="TPU topology to compile for instead")
    options, overrides = parser.parse_known_args(words)
    if overrides and options.command in models:
        parser.error(f"unknown option {overrides[0]}")
    if options.tiny:
        options.runs = 2
        if options.command in models:
            options.model, options.seconds, options.sizes, options.frames = "tiny", [0.5, 1.0], [1, 2], 16
    return options, overrides


def main(words: list[str]) -> None:
    """Run a subcommand."""
    keep_freed_memory()
    options, overrides = parse(words)
    if options.command in ("length", "batch"):
        {"length": length, "batch": batch}[options.command](options)
    else:
        {"devices": devices, "collectives": collectives}[options.command](options, overrides)


if __name__ == "__main__":
    with plain_errors():
        main(sys.argv[1:])
