"""The command `rosecd check`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rosecd_jax.cli.common import plain_errors, progress_bar

if TYPE_CHECKING:
    from rosecd_jax.evaluation.check import Finding, Report

COLORS = {"error": "red", "warning": "yellow", "information": "blue"}
MAX_FILES = 3  # files printed for a finding


def check(
    data: Annotated[
        Path,
        typer.Argument(help="Folder with clean/ and noisy/, or with SPLIT/clean and SPLIT/noisy."),
    ],
    report: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.json", help="JSON file for all findings and the measurements of each file."
        ),
    ] = None,
) -> None:
    """Find problems in paired recordings before training or evaluation."""
    from rosecd_jax.evaluation.check import examine

    with plain_errors():
        with progress_bar(None, "checking") as advance:
            found = examine(data, progress=advance)
        print_findings(found)
        if report:
            found.write(report)
    if found.number("error"):
        raise typer.Exit(1)


def print_findings(report: "Report") -> None:
    """Print a table of the findings, the most serious first, and their counts."""
    from rich.console import Console
    from rich.table import Table

    from rosecd_jax.evaluation.check.finding import count

    console = Console()
    console.width = max(console.width, 100)
    table = Table("finding", "what was found", "remedy", show_lines=True)
    for finding in report.findings:
        color = COLORS[finding.severity]
        title = f"[{color}]{finding.severity}[/{color}]\n{finding.kind}"
        table.add_row(title, _described(finding), _escaped(finding.remedy))
    console.print(table)
    numbers = f"{count(report.number('error'), 'error')}, {count(report.number('warning'), 'warning')}"
    console.print(
        f"{count(report.pairs, 'pair')}, {report.seconds:.1f} s: {numbers}, "
        f"{report.number('information')} information",
        highlight=False,
    )


def _described(finding: "Finding") -> str:
    """Format the message, and a line with the measurement of each of the first files."""
    lines = [finding.message]
    figures = [f" {figure:.4g} {finding.unit}".rstrip() for figure in finding.figures] or [""] * MAX_FILES
    lines += [f"{file}{figure}" for file, figure in zip(finding.files[:MAX_FILES], figures, strict=False)]
    if (more := len(finding.files) - MAX_FILES) > 0:
        lines.append(f"and {more} more")
    return _escaped("\n".join(lines))


def _escaped(text: str) -> str:
    """Escape text for rich: file names may contain its markup, or bytes that are not UTF-8."""
    from rich.markup import escape

    return escape(text.encode("utf-8", "replace").decode("utf-8"))
