"""rosecd enhance."""

from pathlib import Path
from typing import Annotated

import typer

from rosecd_jax.cli.common import (
    CheckpointOption,
    CorrectorOption,
    SamplerOption,
    SeedOption,
    SnrOption,
    StepsOption,
    load_enhancer,
    plain_errors,
    progress_bar,
)


def enhance(
    source: Annotated[Path, typer.Argument(metavar="INPUT", help="An audio file, or a folder of them.")],
    target: Annotated[
        Path, typer.Argument(metavar="OUTPUT", help="A file for a file, a folder for a folder.")
    ],
    checkpoint: CheckpointOption,
    sampler: SamplerOption = "auto",
    steps: StepsOption = 0,
    snr: SnrOption = 0.5,
    corrector: CorrectorOption = "annealed-langevin",
    seed: SeedOption = 0,
) -> None:
    """Remove noise from a file, or from every file of a folder.

    Rate, length and channels stay as they are. A file that can't be read is reported at the end, with exit
    code 1; the others are enhanced all the same.
    """
    from rosecd_jax.audio import io

    with plain_errors():
        files = io.find(source)
        if source.is_file() and (target.is_dir() or not target.suffix):
            target = target / source.name
        if source.is_dir() and target.is_file():
            raise ValueError(f"{target} is a file; a folder's output needs a folder")
        if source.resolve() == target.resolve():
            raise ValueError(f"{target} is the input itself; choose another output")
        enhancer = load_enhancer(checkpoint, sampler=sampler, steps=steps, snr=snr, corrector=corrector)
        failed = []
        with progress_bar(len(files), "enhancing") as advance:
            if source.is_file():
                enhancer.enhance_file(source, target, seed=seed)
            else:
                for done, report in enumerate(enhancer.enhance_folder(source, target, seed=seed), 1):
                    advance(done)
                    failed += [report.error] if report.error else []
    typer.echo(f"{len(files) - len(failed)} of {len(files)} files enhanced into {target}")
    for error in failed:
        typer.secho(f"rosecd: {error}", fg="red", err=True)
    if failed:
        raise typer.Exit(1)
