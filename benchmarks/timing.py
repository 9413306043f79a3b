"""Code shared by benchmarks: interleaved timing, the machine's best rates, models by name, tables."""

import contextlib
import functools
import os
import sys
import time
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from rich.console import Console
from rich.table import Table

from rosecd_jax.conversion.lightning import load_any_checkpoint
from rosecd_jax.diffusion import Preconditioning
from rosecd_jax.models import ModelConfig, NCSNppConfig, ScoreModel, convolution
from rosecd_jax.models.score_model import Params
from rosecd_jax.pretrained import pretrained_models

Name = TypeVar("Name", bound=Hashable)

SIZES = {
    "full": NCSNppConfig(),
    "32": NCSNppConfig(channels=32, multipliers=(1, 1, 2, 2, 2, 2, 2), blocks=1),
    "tiny": NCSNppConfig(channels=4, multipliers=(1, 1), blocks=1),
}
"""Untrained networks by name: the published size, the same levels with 32 channels, and one for tests."""


class Candidate(NamedTuple):
    """A function of no arguments with a known number of floating-point operations.

    Attributes:
      kind: "product" or "convolution".
      shape: shape in words.
      run: the compiled function.
      operations: operations of one call.
    """

    kind: str
    shape: str
    run: Callable[[], Any]
    operations: float


class Rate(NamedTuple):
    """The highest rate of the candidates of one kind, in FLOP/s, and the candidate's shape in words."""

    flops: float
    shape: str


@contextlib.contextmanager
def plain_errors() -> Iterator[None]:
    """Exit with one line for errors in the input; other errors keep their traceback."""
    try:
        yield
    except (ValueError, OSError, ImportError) as error:
        sys.exit(f"{Path(sys.argv[0]).stem}: {error}")


def seconds_of(function: Callable[[], Any]) -> float:
    """Measure the time of a call until its result is ready."""
    start = time.perf_counter()
    jax.block_until_ready(function())
    return time.perf_counter() - start


def interleaved(functions: Mapping[Name, Callable[[], Any]], runs: int) -> dict[Name, np.ndarray]:
    """Measure functions in turn, `runs` times each, so that other load on the machine affects all alike.

    Each is first called once, which is not counted. Returns the seconds until the result is ready, [runs].
    """
    for function in functions.values():
        jax.block_until_ready(function())
    rounds = [[seconds_of(function) for function in functions.values()] for _ in range(runs)]
    return dict(zip(functions, np.array(rounds).T, strict=True))


def plain_convolution(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Compute a 3 × 3 convolution as XLA does."""
    return jax.lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))


def candidates(dtype: str, tiny: bool = False) -> list[Candidate]:
    """Compile matrix products and 3 × 3 convolutions, of which the fastest gives the machine's best rate."""
    on_cpu = jax.default_backend() == "cpu"
    if tiny:
        products, convolutions = (64,), ((1, 8, 8),)
    elif on_cpu:
        products, convolutions = (1024, 2048), ((1, 128, 128), (1, 64, 256))
    else:
        products, convolutions = (4096, 8192), ((16, 256, 128), (16, 128, 256))
    ways: dict[str, Callable] = {"": plain_convolution}
    if on_cpu and dtype == "float32":
        ways["Winograd, "] = convolution.convolve  # counted as plain
    found = []
    for size in products:
        matrix = jnp.full((size, size), 0.01, dtype)
        run = functools.partial(jax.jit(jnp.matmul), matrix, matrix)
        found.append(Candidate("product", f"{size} x {size}", run, 2 * size**3))
    for batch, side, channels in convolutions:
        x = jnp.full((batch, side, side, channels), 0.01, dtype)
        kernel = jnp.full((3, 3, channels, channels), 0.01, dtype)
        operations = 2 * 9 * batch * side**2 * channels**2
        for words, way in ways.items():
            shape = f"{words}{batch} x {side} x {side} x {channels}"
            found.append(
                Candidate("convolution", shape, functools.partial(jax.jit(way), x, kernel), operations)
            )
    return found


def best_rate(kind: str, tested: Iterable[Candidate], seconds: Iterable[float]) -> Rate:
    """Return the best rate among candidates of a kind, given the median seconds of each candidate."""
    pairs = zip(tested, seconds, strict=True)
    return max(Rate(c.operations / s, c.shape) for c, s in pairs if c.kind == kind)


def load(name: str) -> tuple[ScoreModel, Params]:
    """Load a checkpoint or packaged model, or initialize an untrained student of one of `SIZES`."""
    if name not in SIZES:
        if name not in pretrained_models() and not Path(name).exists():
            known = ", ".join([*SIZES, *pretrained_models()])
            raise ValueError(f"{name} is neither a checkpoint nor one of {known}")
        return load_any_checkpoint(name)
    preconditioning = Preconditioning(c_in="1")
    model = ScoreModel(ModelConfig(role="student", preconditioning=preconditioning, network=SIZES[name]))
    return model, model.init(jax.random.key(0))


def parameters(params: Params) -> str:
    """Format the number of parameters."""
    return f"{sum(leaf.size for leaf in jax.tree.leaves(params)) / 1e6:.2f} M"


def machine() -> str:
    """Describe the devices."""
    device = jax.devices()[0]
    return f"{jax.device_count()} x {device.device_kind}, {os.cpu_count()} CPU cores, jax {jax.__version__}"


def print_table(title: str, header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table with the first column aligned to the left, the others to the right."""
    table = Table(title=title, title_justify="left")
    for i, words in enumerate(header):
        table.add_column(words, justify="right" if i else "left")
    for row in rows:
        table.add_row(*row)
    Console(width=None if sys.stdout.isatty() else 110).print(table)
