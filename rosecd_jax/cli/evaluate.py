"""The command `rosecd evaluate`."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rosecd_jax.cli.common import (
    CorrectorOption,
    DtypeOption,
    LimitOption,
    NetworkOption,
    SamplerOption,
    SeedOption,
    SnrOption,
    StepsOption,
    WeightsOption,
    load_enhancer,
    plain_errors,
    progress_bar,
)
from rosecd_jax.pretrained import DEFAULT

if TYPE_CHECKING:
    from rosecd_jax.evaluation.evaluate import Evaluation

MAX_NOTES = 10  # printed one by one


def evaluate(
    data: Annotated[Path, typer.Argument(help="Folder with clean/ and noisy/.")],
    checkpoint: Annotated[
        list[Path] | None,
        typer.Option(
            "--checkpoint",
            "-c",
            help="Model to measure; may be repeated. Without --enhanced, the packaged model is the default.",
        ),
    ] = None,
    enhanced: Annotated[
        list[Path] | None, typer.Option(help="Folder of enhanced files; may be repeated.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option(help="Folder for the enhanced files and a CSV table per method.")
    ] = None,
    weights: WeightsOption = "ema",
    sampler: SamplerOption = "auto",
    steps: StepsOption = 0,
    snr: SnrOption = 0.0,
    corrector: CorrectorOption = "annealed-langevin",
    seed: SeedOption = 0,
    dtype: DtypeOption = None,
    network: NetworkOption = "",
    limit: LimitOption = 30.0,
) -> None:
    """Measure models, or folders of enhanced files, on paired recordings."""
    with plain_errors():
        options: Any = {"sampler": sampler, "steps": steps, "snr": snr, "corrector": corrector}
        options |= {"weights": weights, "dtype": dtype, "limit": limit, "network": network}
        checkpoints = checkpoint or ([] if enhanced else [Path(DEFAULT)])
        run_evaluation(data, checkpoints, enhanced or [], output, seed, **options)


def run_evaluation(
    data: Path,
    checkpoints: Sequence[Path],
    enhanced: Sequence[Path],
    output: Path | None,
    seed: int = 0,
    **options: Any,
) -> "list[Evaluation]":
    """Evaluate the noisy input, every checkpoint and every folder; print the summary.

    `options` are those of `Enhancer.from_checkpoint`.
    """
    from rosecd_jax.evaluation.evaluate import evaluate

    named = [(unique_name(path, checkpoints), path) for path in checkpoints]
    # One signal at a time, so that the time of each can be measured.
    models = [(name, load_enhancer(path, batch_frames=0, **options)) for name, path in named]
    folders = [(unique_name(path, enhanced), path) for path in enhanced]
    methods: list[Any] = [("noisy", None), *models, *folders]
    names = [name for name, _ in methods]
    if len(set(names)) < len(names):
        raise ValueError(
            f"two methods share a name ({', '.join(names)}): give directories of different names"
        )
    with progress_bar(None, "evaluating") as advance:
        report = lambda method, done, total: advance(done, total, method)  # noqa: E731
        evaluations = evaluate(data, methods, output=output, seed=seed, progress=report)
    print_summary(evaluations)
    for evaluation in evaluations:
        shown = evaluation.notes[:MAX_NOTES] + evaluation.notes[MAX_NOTES:][-1:]
        for note in shown:
            typer.secho(f"rosecd: {evaluation.method}: {note}", fg="yellow", err=True)
        if more := len(evaluation.notes) - len(shown):
            where = f"see {output / evaluation.method}.csv" if output else "--output writes a table of them"
            typer.secho(f"rosecd: {evaluation.method}: {more} more notes; {where}", fg="yellow", err=True)
        for result in evaluation.errors:
            typer.secho(f"rosecd: {evaluation.method}: {result.error}", fg="red", err=True)
    if any(evaluation.errors for evaluation in evaluations):
        raise typer.Exit(1)
    return evaluations


def unique_name(path: Path, among: Sequence[Path]) -> str:
    """Return the last part of a path, with its parent's name if another path has the same last part."""
    path = path.resolve()
    alike = sum(other.resolve().name == path.name for other in among) > 1
    return f"{path.parent.name}-{path.name}" if alike else path.name


def print_summary(evaluations: "Sequence[Evaluation]") -> None:
    """Print mean ± standard deviation (number of files) of every score, and the real-time factor."""
    from rich.console import Console
    from rich.table import Table

    titles = {"pesq": "PESQ", "estoi": "ESTOI", "si_sdr": "SI-SDR", "si_sir": "SI-SIR", "si_sar": "SI-SAR"}
    table = Table("method", *titles.values(), "s per s of audio")
    for evaluation in evaluations:
        summary = evaluation.summary()
        digits = {"pesq": 2, "estoi": 3}
        scores = [
            f"{summary[name][0]:.{digits.get(name, 1)}f} ± {summary[name][1]:.{digits.get(name, 1)}f} "
            f"({evaluation.values(name).size})"
            for name in titles
        ]
        factor = evaluation.real_time_factor
        speed = "" if factor != factor else f"{factor:.4f}"
        table.add_row(evaluation.method, *scores, speed)
    console = Console()
    console.width = max(console.width, 132)
    console.print(table)
