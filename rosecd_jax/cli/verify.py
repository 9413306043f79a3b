"""rosecd verify."""

from pathlib import Path
from typing import Annotated

import typer

from rosecd_jax.cli.common import plain_errors, progress_bar


def verify(
    goldens: Annotated[Path, typer.Argument(metavar="GOLDENS", help="The folder of the authors' numbers.")],
) -> None:
    """Compare everything with numbers computed by the authors' code; exit code 1 if one does not agree."""
    from rich.console import Console
    from rich.table import Table

    from rosecd_jax.evaluation.verify import verify

    table = Table("quantity", "shape", "largest difference", "relative", "allowed", "")
    rows = []
    with plain_errors(), progress_bar(None, "comparing") as advance:
        for row in verify(goldens):
            rows.append(row)
            advance(len(rows), None, row.quantity)
            table.add_row(*row.cells())
    console = Console()
    console.width = max(console.width, 110)
    console.print(table)
    different = sum(not row.agrees for row in rows)
    typer.echo(f"{len(rows) - different} of {len(rows)} agree")
    if different:
        raise typer.Exit(1)
