"""What the commands share: options, the progress bar, and how errors are reported."""

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rosecd_jax.cli.modules import make_network

if TYPE_CHECKING:
    from rosecd_jax.inference.enhancer import Enhancer

CheckpointOption = Annotated[
    Path,
    typer.Option(
        "--checkpoint",
        "-c",
        help="A model that comes with the package (see `rosecd models`), a model's or a training run's "
        "directory, or the authors' .ckpt file.",
    ),
]
SamplerOption = Annotated[
    str,
    typer.Option(
        help="auto (by the model), consistency, pc (predictor-corrector), predictor, ode, bridge, bridge-sde."
    ),
]
CorrectorOption = Annotated[str, typer.Option(help="Of pc: annealed-langevin or langevin.")]
SnrOption = Annotated[
    float,
    typer.Option(help="Of the corrector, and of the noise between consistency steps; 0: the model's.", min=0),
]
StepsOption = Annotated[int, typer.Option(help="Steps of the sampler; 0: its default (1 or 30).", min=0)]
WeightsOption = Annotated[str, typer.Option(help="ema (the moving average) or raw.")]
DtypeOption = Annotated[str, typer.Option(help="float32 or bfloat16; the model's unless given.")]
NetworkOption = Annotated[
    str,
    typer.Option(
        metavar="FILE.py:NAME",
        help="The Flax module of a checkpoint that needs one of your own: a class, or function, without "
        "arguments.",
    ),
]
StrengthOption = Annotated[
    float,
    typer.Option(help="0 leaves the input as it is, 1 gives the model's output.", min=0.0, max=1.0),
]
AttenuationOption = Annotated[
    float | None,
    typer.Option(help="dB by which noise is lowered at most, by leaving some of the input.", min=0.0),
]
LimitOption = Annotated[float, typer.Option(help="Seconds; longer files go in overlapping windows.")]
SeedOption = Annotated[int, typer.Option(help="Of all random numbers.")]


def keep_freed_memory(largest: int | None = None) -> None:
    """Let the process keep the memory that it frees, where the C library is glibc.

    XLA's CPU programs allocate their buffers again at every run, and glibc gives the system back what they
    free: faulting the pages in again costs a sixth of a small network's training step. There are two heaps
    for all threads, so that what one of them has freed another one uses; with a single one, the threads of
    XLA's compiler wait for each other, and compiling takes half as long again.

    Args:
      largest: bytes, at most 32 MiB; larger blocks go back all the same. Without that, blocks of many sizes
        tear the heap to pieces, which grows for hours. None: all are kept.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt:
        trim_threshold, top_pad, mmap_threshold, mmap_max, arena_max = -1, -2, -3, -4, -8
        large = ((mmap_threshold, largest),) if largest else ((mmap_max, 0),)
        for option, value in ((trim_threshold, 2**31 - 1), (top_pad, 2**26), (arena_max, 2), *large):
            mallopt(option, value)


@contextmanager
def plain_errors(*more: type[Exception]) -> Iterator[None]:
    """Bad input, and `more`, ends in one line and exit code 1; what is not foreseen keeps its traceback."""
    try:
        yield
    except (ValueError, OSError, ImportError, *more) as error:
        typer.secho(f"rosecd: {error}", fg="red", err=True)
        raise typer.Exit(1) from error


@contextmanager
def progress_bar(total: int | None, what: str) -> Iterator[Any]:
    """A rich bar on stderr; yields a function (done, total, words)."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(what, total=total)

        def advance(done: int, total: int | None = None, words: str = what) -> None:
            bar.update(task, completed=done, total=total, description=words)

        yield advance


def load_enhancer(checkpoint: Path, network: str = "", **sampling: Any) -> "Enhancer":
    """A checkpoint, ready to enhance as the fields of SamplerConfig say; `network` is a `NetworkOption`."""
    from rosecd_jax.inference.enhancer import Enhancer

    module = make_network(network) if network else None
    return Enhancer.from_checkpoint(checkpoint, network=module, **sampling)
