"""The tables and notes that `rosecd evaluate` prints."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from rosecd_jax.evaluation.systems import Evaluation

MAX_NOTES = 10  # printed before the last one
WIDTH = 132
MOST_COLUMNS = 8


def print_summary(evaluations: "Sequence[Evaluation]") -> None:
    """Print mean ± standard deviation (number of files) of every score, and the real-time factor."""
    from rosecd_jax.metrics import MEASURES

    rows = []
    for evaluation in evaluations:
        row = [evaluation.method]
        for name, (mean, std) in evaluation.summary().items():
            digits = MEASURES[name].digits
            row.append(f"{mean:.{digits}f} ± {std:.{digits}f} ({evaluation.values(name).size})")
        factor = evaluation.real_time_factor
        rows.append([*row, "" if math.isnan(factor) else f"{factor:.4f}"])
    titles = [MEASURES[name].title for name in evaluations[0].measures]
    _print_table("", ["method", *titles, "s per s of audio"], rows)


def print_results(results: Mapping[str, Any], factors: Mapping[str, float]) -> None:
    """Print means with intervals, published figures, and differences from the baseline.

    Args:
      results: content of results.json.
      factors: seconds of computation per second of audio, by system; nan where nothing was computed.
    """
    measures, systems = results["measures"], results["systems"]
    titles = [measure["title"] for measure in measures]
    rows = []
    for system in systems:
        scored = _scored(system)
        cells = [_interval(system["summary"][measure["name"]], measure, scored) for measure in measures]
        rows.append([system["name"], str(scored), *cells, _number(factors[system["name"]], 4)])
    for paper in results["published"]:
        cells = [_number(paper.get(measure["name"]), measure["digits"]) for measure in measures]
        rows.append([f"{paper['name']} ({paper['source']})", "–", *cells])
    _print_table("means [95 % intervals]", ["method", "files", *titles, "s per s of audio"], rows)
    rows = []
    for system in systems:
        if differences := system["difference"]:
            scored = _scored(system)
            cells = [_difference(differences[measure["name"]], measure, scored) for measure in measures]
            rows.append([system["name"], *cells])
    if rows:
        title = f"differences from {results['baseline']}, and files better / worse"
        _print_table(title, ["method", *titles], rows)


def _scored(system: Mapping[str, Any]) -> int:
    return max(found["files"] for found in system["summary"].values())


def _interval(found: Mapping[str, Any], measure: Mapping[str, Any], scored: int) -> str:
    """Format mean and interval, and the number of files if it differs from the system's."""
    if not found["files"]:
        return "–"
    mean, low, high = (_number(found[key], measure["digits"]) for key in ("mean", "low", "high"))
    return f"{mean} [{low}, {high}]{_files(found, scored)}"


def _files(found: Mapping[str, Any], scored: int) -> str:
    return f" ({found['files']})" if found["files"] != scored else ""


def _difference(found: Mapping[str, Any], measure: Mapping[str, Any], scored: int) -> str:
    if not found["files"]:
        return "–"
    mean, low, high = (_number(found[key], measure["digits"], "+") for key in ("mean", "low", "high"))
    shares = f", {found['better']:.0%} / {found['worse']:.0%}" if measure["better"] else ""
    return f"{mean} [{low}, {high}]{_files(found, scored)}{shares}"


def _number(value: float | None, digits: int, sign: str = "") -> str:
    return "–" if value is None or math.isnan(value) else f"{value:{sign}.{digits}f}"


def _print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table; transposed, with a row per measure, if it has more than `MOST_COLUMNS`."""
    from rich.console import Console
    from rich.table import Table

    if len(columns) > MOST_COLUMNS:
        columns, *rows = zip(("measure", *columns[1:]), *rows, strict=True)
    table = Table(*columns, title=title or None, title_justify="left")
    for row in rows:
        table.add_row(*row)
    console = Console()
    console.width = max(console.width, WIDTH)
    console.print(table)


def print_notes(evaluation: "Evaluation", output: Path | None) -> None:
    """Print the first `MAX_NOTES` notes, the last one, and the errors of files to stderr."""
    shown = evaluation.notes[:MAX_NOTES] + evaluation.notes[MAX_NOTES:][-1:]
    for note in shown:
        typer.secho(f"rosecd: {evaluation.method}: {note}", fg="yellow", err=True)
    if more := len(evaluation.notes) - len(shown):
        where = f"see {output / evaluation.method}.csv" if output else "--output writes a table of them"
        typer.secho(f"rosecd: {evaluation.method}: {more} more notes; {where}", fg="yellow", err=True)
    for result in evaluation.errors:
        typer.secho(f"rosecd: {evaluation.method}: {result.error}", fg="red", err=True)
