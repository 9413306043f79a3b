"""Options, progress bar and error reporting that the commands share."""

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from rosecd_jax.cli.modules import make_network

if TYPE_CHECKING:
    from rosecd_jax.inference.enhancer import Enhancer

# The library's Literals, repeated here because importing them would import JAX; a test compares them.
Sampler = Literal["auto", "consistency", "pc", "predictor", "ode", "bridge", "bridge-sde"]
Corrector = Literal["annealed-langevin", "langevin"]
Weights = Literal["ema", "raw"]
Dtype = Literal["float32", "bfloat16"]

CheckpointOption = Annotated[
    Path,
    typer.Option(
        "--checkpoint",
        "-c",
        help="Name of a packaged model (see `rosecd models`), directory of a model or training run, or "
        ".ckpt file of the authors.",
    ),
]
SamplerOption = Annotated[
    Sampler,
    typer.Option(
        help="Sampler; auto: consistency for a student, bridge for a bridge, otherwise pc, "
        "predictor-corrector."
    ),
]
CorrectorOption = Annotated[Corrector, typer.Option(help="Corrector of the pc sampler.")]
SnrOption = Annotated[
    float,
    typer.Option(
        help="Signal-to-noise ratio of the corrector and of the noise between consistency steps; 0: the "
        "model's.",
        min=0,
    ),
]
StepsOption = Annotated[
    int, typer.Option(help="Number of sampler steps; 0: 1 for consistency, otherwise the model's.", min=0)
]
WeightsOption = Annotated[Weights, typer.Option(help="Moving average (ema) or raw weights.")]
DtypeOption = Annotated[
    Dtype | None, typer.Option(help="Data type of the network.", show_default="the model's")
]
NetworkOption = Annotated[
    str,
    typer.Option(
        metavar="FILE.py:NAME",
        help="Class or function, called without arguments, that returns the Flax module of a checkpoint with "
        "a custom network.",
    ),
]
StrengthOption = Annotated[
    float,
    typer.Option(help="Share of the model's output in the result; 0 keeps the input.", min=0.0, max=1.0),
]
AttenuationOption = Annotated[
    float | None,
    typer.Option(metavar="DB", help="Maximum attenuation of the noise.", min=0.0, show_default="no maximum"),
]
LimitOption = Annotated[
    float,
    typer.Option(metavar="SECONDS", help="Length above which a signal is enhanced in overlapping windows."),
]
SeedOption = Annotated[int, typer.Option(help="Seed of all random numbers.")]


def keep_freed_memory(largest: int | None = None) -> None:
    """Keep freed memory in the process instead of returning it to the system (glibc only).

    XLA's CPU programs allocate their buffers at every run. When glibc returns them to the system, the page
    faults of the next run cost a sixth of a small network's training step. All threads share two heaps, so
    that they reuse each other's memory; with one heap, the threads of XLA's compiler wait for each other and
    compilation takes 50 % longer.

    Args:
      largest: bytes, at most 32 MiB; larger blocks are returned. Without a limit, blocks of many sizes
        fragment the heap, which then grows for hours. None: keep all.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt:
        trim_threshold, top_pad, mmap_threshold, mmap_max, arena_max = -1, -2, -3, -4, -8
        large = ((mmap_threshold, largest),) if largest else ((mmap_max, 0),)
        for option, value in ((trim_threshold, 2**31 - 1), (top_pad, 2**26), (arena_max, 2), *large):
            mallopt(option, value)


@contextmanager
def plain_errors(*more: type[Exception]) -> Iterator[None]:
    """Print bad input and the errors in `more` in one line and exit with 1; others keep their traceback."""
    try:
        yield
    except (ValueError, OSError, ImportError, *more) as error:
        typer.secho(f"rosecd: {error}", fg="red", err=True)
        raise typer.Exit(1) from error


@contextmanager
def progress_bar(total: int | None, what: str) -> Iterator[Any]:
    """Show a rich bar on stderr; yields a function (done, total, description)."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(what, total=total)

        def advance(done: int, total: int | None = None, description: str = what) -> None:
            bar.update(task, completed=done, total=total, description=description)

        yield advance


def load_enhancer(checkpoint: Path, network: str = "", **sampling: Any) -> "Enhancer":
    """Load a checkpoint for enhancement; `sampling` are arguments of `Enhancer.from_checkpoint`."""
    from rosecd_jax.inference.enhancer import Enhancer

    module = make_network(network) if network else None
    return Enhancer.from_checkpoint(checkpoint, network=module, **sampling)
