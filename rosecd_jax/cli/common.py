"""Options, progress bar and error reporting shared by the commands."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from rosecd_jax.cli.modules import make_network
from rosecd_jax.processes import keep_freed_memory

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
    int,
    typer.Option(
        help="Number of sampler steps; 0 means 1 for consistency, otherwise the model's number.", min=0
    ),
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
    typer.Option(
        metavar="SECONDS",
        help="Length above which a signal is enhanced in overlapping windows, unless it fits in one.",
    ),
]
SeedOption = Annotated[int, typer.Option(help="Seed of all random numbers.", min=0, max=2**32 - 1)]


def main(context: typer.Context) -> None:
    """One-step speech enhancement by consistency distillation."""
    warnings.formatwarning = lambda message, *_, **__: f"rosecd: {message}\n"
    keep_freed_memory(2**25 if context.invoked_subcommand == "enhance" else None)


@contextmanager
def plain_errors(*more: type[Exception]) -> Iterator[None]:
    """Print errors in the input, and those in `more`, in one line and exit with 1; pass on others."""
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
