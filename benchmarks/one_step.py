"""Time and rate of one network call.

    python -m benchmarks.one_step [--sizes full small 32] [--batch 1 16] [--dtypes float32 bfloat16]

Calls the denoiser of each size on noise of 256 frames: `full` is the published size, `small` the packaged
model, `32` the levels of `small` with 32 channels; a checkpoint's path is also a size. Prints the seconds of
compilation (nothing comes from the cache of compiled programs), the median milliseconds of a call until its
result is ready, GFLOP/s, and their share of the best matrix product and of the best 3 × 3 convolution of the
same dtype on this machine, which are measured in the same rounds. Operations are counted as those of plain
convolutions: in float32 on a CPU, Winograd's algorithm, used in large networks and among the best
convolutions, needs fewer. The default batch is 1 on a CPU, where 16 at full size take a minute and several
GB, and 1 and 16 elsewhere. --tiny tests the program in seconds, with its own sizes, frames and runs.
"""

import argparse
import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.timing import (
    Candidate,
    best_rate,
    candidates,
    interleaved,
    load,
    machine,
    parameters,
    plain_errors,
    print_table,
    seconds_of,
)
from rosecd_jax.models import ScoreModel
from rosecd_jax.models.score_model import Params
from rosecd_jax.processes import keep_freed_memory
from rosecd_jax.training.operations import network_operations


class Call(NamedTuple):
    """A compiled call.

    Attributes:
      size, batch, dtype: as given on the command line.
      compile_seconds: seconds of tracing and compilation.
      run: the call, without arguments.
      operations: floating-point operations for the whole batch.
    """

    size: str
    batch: int
    dtype: str
    compile_seconds: float
    run: Callable[[], Any]
    operations: float


def compile_call(
    size: str, model: ScoreModel, params: Params, batch: int, dtype: str, frames: int, operations: float
) -> Call:
    """Compile the denoiser for a batch; `operations` are those of one item."""
    network = dataclasses.replace(model.config.network, dtype=dtype)
    model = ScoreModel(dataclasses.replace(model.config, network=network))
    real, imaginary = np.random.default_rng(0).normal(scale=0.3, size=(2, batch, network.bins, frames))
    state, t = jnp.asarray(real + 1j * imaginary, jnp.complex64), jnp.ones(batch)
    programs = []
    denoise = jax.jit(model.denoise)
    seconds = seconds_of(lambda: programs.append(denoise.lower(params, state, state, t).compile()))
    run = functools.partial(programs[0], params, state, state, t)
    return Call(size, batch, dtype, seconds, run, batch * operations)


def print_results(calls: list[Call], tested: dict[str, list[Candidate]], frames: int, runs: int) -> None:
    """Measure all calls and candidates in the same rounds, and print the table and the best rates."""
    functions = {(dtype, i): c.run for dtype, found in tested.items() for i, c in enumerate(found)}
    functions |= {("call", i): call.run for i, call in enumerate(calls)}
    times = {name: float(np.median(seconds)) for name, seconds in interleaved(functions, runs).items()}
    best = {
        (dtype, kind): best_rate(kind, found, [times[dtype, i] for i in range(len(found))])
        for dtype, found in tested.items()
        for kind in ("product", "convolution")
    }
    rows, ratios = [], []
    for i, call in enumerate(calls):
        rate = call.operations / times["call", i]
        shares = [f"{100 * rate / best[call.dtype, kind].flops:.0f} %" for kind in ("product", "convolution")]
        cells = (call.compile_seconds, 1000 * times["call", i], call.operations / 1e9, rate / 1e9)
        formats = ("{:.1f}", "{:.1f}", "{:.1f}", "{:.1f}")
        numbers = [form.format(cell) for form, cell in zip(formats, cells, strict=True)]
        rows.append((call.size, str(call.batch), call.dtype, *numbers, *shares))
        ratios.append(f"{call.size}, {call.dtype}, batch {call.batch}: {shares[0]} of the best product")
    header = ("size", "batch", "type", "compile s", "ms", "GFLOP", "GFLOP/s", "of product", "of convolution")
    print_table(f"one call on {frames} frames, medians of {runs}", header, rows)
    for (dtype, kind), rate in best.items():
        print(f"best {kind} in {dtype}: {rate.flops / 1e9:.0f} GFLOP/s ({rate.shape})")
    print(ratios[0])


def main(sizes: list[str], batches: list[int], dtypes: list[str], frames: int, runs: int, tiny: bool) -> None:
    """Compile, measure and print."""
    keep_freed_memory()
    print(machine())
    tested = {dtype: candidates(dtype, tiny) for dtype in dtypes}
    calls = []
    for size in sizes:
        model, params = load(size)
        operations = network_operations(model, frames)
        print(f"{size}: {parameters(params)} parameters, compiling", flush=True)
        for dtype in dtypes:
            calls += [compile_call(size, model, params, b, dtype, frames, operations) for b in batches]
    print_results(calls, tested, frames, runs)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--sizes", nargs="+", default=["full", "small", "32"])
    parser.add_argument("--batch", nargs="+", type=int)
    parser.add_argument("--dtypes", nargs="+", default=["float32", "bfloat16"])
    parser.add_argument("--frames", type=int, default=256)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--tiny", action="store_true", help="an untrained network of a few thousand weights")
    options = parser.parse_args()
    if options.tiny:
        options.sizes, options.frames, options.runs = ["tiny"], 16, 2
    batches = options.batch or ([1] if jax.default_backend() == "cpu" else [1, 16])
    with plain_errors():
        main(options.sizes, batches, options.dtypes, options.frames, options.runs, options.tiny)
