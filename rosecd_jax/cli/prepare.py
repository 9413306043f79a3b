"""The commands `rosecd prepare ...`, which make training data."""

import dataclasses
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rosecd_jax.cli.common import SeedOption, plain_errors, progress_bar

if TYPE_CHECKING:
    from rosecd_jax.data.pairs import SplitSummary

OutArgument = Annotated[
    Path,
    typer.Argument(metavar="OUT", help="Output folder, the --config.data.path of `rosecd train`."),
]
FilesOption = Annotated[
    int, typer.Option(help="Number of files in the split; 0: one per minute of training speech, at least 8.")
]


def synthetic(
    directory: Annotated[
        Path, typer.Argument(metavar="OUT", help="Output folder, for train/, valid/ and test/.")
    ],
    hours: Annotated[float, typer.Option(help="Length of the training split.")] = 0.5,
    seed: SeedOption = 0,
    valid_files: FilesOption = 0,
    test_files: FilesOption = 0,
    utterance_seconds: Annotated[
        tuple[float, float], typer.Option(metavar="SHORTEST LONGEST", help="Range of file lengths.")
    ] = (2.0, 4.0),
) -> None:
    """Synthesize a corpus of voices and noises, without downloads (extra `demo`)."""
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
    _print_summary(directory, summary)


def voicebank(
    source: Annotated[
        Path,
        typer.Argument(metavar="SOURCE", help="Folder of the four published archives, zipped or unpacked."),
    ],
    out: OutArgument,
) -> None:
    """Prepare VoiceBank-DEMAND at 16 kHz; speakers p226 and p287 are the validation split."""
    with plain_errors(), progress_bar(100, "checking") as advance:
        from rosecd_jax.data.builders import prepare_voicebank

        summary = prepare_voicebank(source, out, _percent(advance))
    _print_summary(out, summary)


def folder(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="SOURCE",
            help="Folder with SPLIT/clean and SPLIT/noisy (or SPLIT/anechoic and SPLIT/reverb).",
        ),
    ],
    out: OutArgument,
    sample_rate: Annotated[
        int, typer.Option(metavar="HZ", help="Sample rate; recordings are resampled to it.", min=1)
    ] = 16_000,
) -> None:
    """Prepare any paired recordings; the files of a pair have the same name."""
    with plain_errors(), progress_bar(100, "checking") as advance:
        from rosecd_jax.data.builders import prepare_folder

        summary = prepare_folder(source, out, sample_rate, _percent(advance))
    _print_summary(out, summary)


def mix(
    context: typer.Context,
    out: Annotated[
        Path, typer.Argument(metavar="OUT", help="Output folder, for SPLIT/clean and SPLIT/noisy.")
    ],
    speech: Annotated[str, typer.Option(metavar="FOLDER[:FOLDER...]", help="Folders of clean speech.")] = "",
    noise: Annotated[
        str,
        typer.Option(
            metavar="FOLDER[:FOLDER...]",
            help="Folders of noise; if given, neither synthetic noise nor babble is mixed in.",
            show_default="synthetic noise and babble",
        ),
    ] = "",
    rir: Annotated[
        str, typer.Option(metavar="FOLDER[:FOLDER...]", help="Folders of room impulse responses.")
    ] = "",
    files: Annotated[int, typer.Option(help="Number of pairs.", min=1)] = 100,
    seconds: Annotated[float, typer.Option(help="Length of each pair.", min=0.1, max=86_400)] = 4.0,
    snr: Annotated[
        tuple[float, float], typer.Option(metavar="LOWEST HIGHEST", help="Range of the SNR in dB.")
    ] = (-5.0, 20.0),
    split: Annotated[str, typer.Option(help="Name of the split.")] = "test",
    sample_rate: Annotated[int, typer.Option(metavar="HZ", help="Sample rate.", min=4000)] = 16_000,
    seed: SeedOption = 0,
    replay: Annotated[
        Path | None,
        typer.Option(metavar="MANIFEST", help="manifest.csv whose mixes are reproduced."),
    ] = None,
) -> None:
    """Mix noisy speech from folders of clean speech and noise, as training does on the fly.

    OUT/SPLIT/manifest.csv records every draw: recordings, SNR, levels, tilts, rooms.
    """
    from rosecd_jax.data.mixed_files import replay_mixes, write_mixes
    from rosecd_jax.data.mixing import MixConfig, open_mixer

    folder = out / split
    with plain_errors(), progress_bar(100, "mixing") as advance:
        report = lambda part: _percent(advance)("mixing", part)  # noqa: E731
        if not re.fullmatch(r"[\w-]+", split):
            raise ValueError(f"--split {split!r}: use letters, digits, _ and -")
        if replay:
            given = [name for name in context.params if _is_given(context, name)]
            if others := sorted(set(given) - {"out", "split", "replay"}):
                option = others[0].replace("_", "-")
                raise ValueError(f"--replay takes everything from its manifest; leave out --{option}")
            summary = replay_mixes(folder, replay, report, typer.echo)
        elif not speech:
            raise ValueError("no speech to mix; give --speech FOLDER, or --replay MANIFEST")
        else:
            config = MixConfig(snr=snr)
            if noise:  # a test set of this noise only
                config = dataclasses.replace(config, babble=0.0, synthetic=0.0)
            mixer = open_mixer(speech, noise, rir, config, sample_rate)
            for library in mixer.libraries:
                typer.echo(library.summary())
            summary = write_mixes(folder, mixer, seed, files, seconds, report)
    _print_summary(out, {split: summary})


def _is_given(context: typer.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def _percent(advance: Callable[..., None]) -> Callable[[str, float], None]:
    """Turn a progress bar into a callback of (what, fraction done)."""
    return lambda what, part: advance(round(100 * part), 100, what)


def _print_summary(out: Path, summary: Mapping[str, "SplitSummary"]) -> None:
    for split, made in summary.items():
        typer.echo(f"{out}, {split}: {made.files} pairs, {made.seconds / 60:.1f} minutes")
