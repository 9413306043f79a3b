"""The command `rosecd report`."""

from pathlib import Path
from typing import Annotated

import typer

from rosecd_jax.cli.common import plain_errors


def report(
    directory: Annotated[
        Path, typer.Argument(metavar="DIR", help="Output folder of `rosecd evaluate --output`.")
    ],
    ratings: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="Ratings saved by a blind session of the report; may be repeated."),
    ] = None,
    measure: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="Measure used to choose which recordings get a player.",
            show_default="the first in the results that has a better side",
        ),
    ] = "",
    play: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FILE",
            help="Recording to embed with a player; may be repeated.",
            show_default="each system's best, median and worst, and its largest loss against the input",
        ),
    ] = None,
) -> None:
    """Write report.html: an evaluation's tables, charts, sounds and a blind test in one offline file."""
    with plain_errors():
        from rosecd_jax.evaluation.report import write_report

        typer.echo(write_report(directory, ratings or [], measure, play or []))
