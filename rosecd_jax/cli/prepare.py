"""rosecd prepare: make training data."""

from pathlib import Path
from typing import Annotated

import typer

from rosecd_jax.cli.common import SeedOption, plain_errors, progress_bar


def synthetic(
    directory: Annotated[
        Path, typer.Argument(metavar="OUT", help="Where train/, valid/ and test/ are made.")
    ],
    hours: Annotated[float, typer.Option(help="Length of the training split.")] = 0.5,
    seed: SeedOption = 0,
    test_files: Annotated[int, typer.Option(help="0: one for each minute of training speech.")] = 0,
) -> None:
    """The embedded corpus: synthetic voices and noises, nothing to download (needs the extra `demo`)."""
    from rosecd_jax.data.synthetic import SyntheticCorpus, write_corpus

    with plain_errors():
        corpus = SyntheticCorpus(hours=hours, seed=seed, test_files=test_files)
        with progress_bar(100, "synthesising") as advance:
            report = lambda split, part: advance(round(100 * part), 100, split)  # noqa: E731
            summary = write_corpus(directory, corpus, report)
    for split, made in summary.items():
        typer.echo(f"{directory / split}: {made.files} pairs, {made.seconds / 60:.1f} minutes")
