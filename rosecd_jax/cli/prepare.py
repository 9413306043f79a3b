"""rosecd prepare: make training data."""

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rosecd_jax.cli.common import SeedOption, plain_errors, progress_bar

if TYPE_CHECKING:
    from rosecd_jax.data.pairs import SplitSummary

OutArgument = Annotated[
    Path,
    typer.Argument(metavar="OUT", help="Where the data set is made: --config.data.path of `rosecd train`."),
]
FilesOption = Annotated[int, typer.Option(help="0: one for each minute of training speech.")]


def synthetic(
    directory: Annotated[
        Path, typer.Argument(metavar="OUT", help="Where train/, valid/ and test/ are made.")
    ],
    hours: Annotated[float, typer.Option(help="Length of the training split.")] = 0.5,
    seed: SeedOption = 0,
    valid_files: FilesOption = 0,
    test_files: FilesOption = 0,
    utterance_seconds: Annotated[
        tuple[float, float], typer.Option(metavar="SHORTEST LONGEST", help="Lengths of the files.")
    ] = (2.0, 4.0),
) -> None:
    """The embedded corpus: synthetic voices and noises, nothing to download (needs the extra `demo`)."""
    from rosecd_jax.data.corpus.synthetic import SyntheticCorpus, write_corpus

    with plain_errors():
        corpus = SyntheticCorpus(
            hours=hours,
            seed=seed,
            utterance_seconds=utterance_seconds,
            valid_files=valid_files,
            test_files=test_files,
        )
        with progress_bar(100, "synthesizing") as advance:
            summary = write_corpus(directory, corpus, _percent(advance))
    _tell(directory, summary)


def voicebank(
    source: Annotated[
        Path, typer.Argument(metavar="SOURCE", help="Holds the four published archives, zipped or unpacked.")
    ],
    out: OutArgument,
) -> None:
    """VoiceBank-DEMAND, at 16 kHz; validation speakers p226 and p287."""
    with plain_errors(), progress_bar(100, "checking") as advance:
        from rosecd_jax.data.builders import prepare_voicebank

        summary = prepare_voicebank(source, out, _percent(advance))
    _tell(out, summary)


def folder(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="SOURCE",
            help="Holds train/clean and train/noisy (or anechoic and reverb), other splits too.",
        ),
    ],
    out: OutArgument,
    sample_rate: Annotated[int, typer.Option(help="Hz; other rates are resampled.", min=1)] = 16_000,
) -> None:
    """Any paired recordings, in folders of the same file names."""
    with plain_errors(), progress_bar(100, "checking") as advance:
        from rosecd_jax.data.builders import prepare_folder

        summary = prepare_folder(source, out, sample_rate, _percent(advance))
    _tell(out, summary)


def mix(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Where SPLIT/clean and SPLIT/noisy are made.")],
    speech: Annotated[str, typer.Option(help="Folder of clean speech; several are joined by ':'.")] = "",
    noise: Annotated[
        str,
        typer.Option(
            help="Folder of noise, the only one there is then; without it, synthetic noise and babble."
        ),
    ] = "",
    rir: Annotated[str, typer.Option(help="Folder of rooms' impulse responses.")] = "",
    files: Annotated[int, typer.Option(help="Number of pairs.", min=1)] = 100,
    seconds: Annotated[float, typer.Option(help="Length of each.", min=0.1)] = 4.0,
    snr: Annotated[tuple[float, float], typer.Option(metavar="LOWEST HIGHEST", help="dB.")] = (-5.0, 20.0),
    split: Annotated[str, typer.Option(help="Name of the split.")] = "test",
    sample_rate: Annotated[int, typer.Option(help="Hz.", min=4000)] = 16_000,
    seed: SeedOption = 0,
    replay: Annotated[
        Path | None, typer.Option(metavar="MANIFEST", help="Make the mixes of this table again.")
    ] = None,
) -> None:
    """Noisy speech from folders of clean speech and of noise, as it is mixed on the fly in training.

    Beside the pairs, manifest.csv has every draw: recordings, SNR, levels, tilts, rooms.
    """
    from rosecd_jax.data.mixed_files import replay_mixes, write_mixes
    from rosecd_jax.data.mixing import MixConfig, open_mixer

    folder = out / split
    with plain_errors(), progress_bar(100, "mixing") as advance:
        report = lambda part: _percent(advance)("mixing", part)  # noqa: E731
        if replay:
            if speech or noise or rir:
                raise ValueError("--replay takes all recordings from its table; leave out the folders")
            summary = replay_mixes(folder, replay, report)
        elif not speech:
            raise ValueError("no speech to mix; give --speech FOLDER, or --replay MANIFEST")
        else:
            config = MixConfig(snr=snr)
            if noise:  # a test set is of its noise alone
                config = dataclasses.replace(config, babble=0.0, synthetic=0.0)
            mixer = open_mixer(speech, noise, rir, config, sample_rate)
            for library in mixer.libraries:
                typer.echo(library.summary())
            summary = write_mixes(folder, mixer, seed, files, seconds, report)
    _tell(out, {split: summary})


def _percent(advance: Callable[..., None]) -> Callable[[str, float], None]:
    """A report of (what, part done) as a movement of the bar."""
    return lambda what, part: advance(round(100 * part), 100, what)


def _tell(out: Path, summary: Mapping[str, "SplitSummary"]) -> None:
    for split, made in summary.items():
        typer.echo(f"{out}, {split}: {made.files} pairs, {made.seconds / 60:.1f} minutes")
