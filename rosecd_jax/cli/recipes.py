"""The commands `rosecd prepare timit-noisex ...`, which make test sets from published corpora."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from rosecd_jax.cli.common import SeedOption, plain_errors, progress_bar

Split = Literal["train", "valid", "test"]

OutArgument = Annotated[
    Path,
    typer.Argument(metavar="OUT", help="Output folder, for SPLIT/clean, SPLIT/noisy and SPLIT/manifest.csv."),
]
TimitArgument = Annotated[Path, typer.Argument(metavar="TIMIT", help="Folder of TIMIT, with TEST/.")]
NoisexArgument = Annotated[Path, typer.Argument(metavar="NOISEX", help="Folder of NOISEX-92's noises.")]
Wsj0Argument = Annotated[
    Path,
    typer.Argument(
        metavar="WSJ0", help="Folder of WSJ0 converted to WAV, with si_tr_s/, si_dt_05/ or si_et_05/."
    ),
]
ChimeArgument = Annotated[
    Path, typer.Argument(metavar="CHIME3", help="Folder of CHiME-3, with backgrounds/*.CH1.wav.")
]
QutArgument = Annotated[
    Path, typer.Argument(metavar="QUT", help="Folder of QUT-NOISE, with CAFE-CAFE-1.wav and others.")
]
EarsArgument = Annotated[
    Path,
    typer.Argument(
        metavar="EARS", help="Folder of EARS, with p001/ to p107/; the test split needs p102/ to p107/."
    ),
]
WhamArgument = Annotated[
    Path, typer.Argument(metavar="WHAM", help="Folder of WHAM! at 48 kHz, with high_res_wham/audio/.")
]
RoomsArgument = Annotated[
    Path,
    typer.Argument(metavar="ROOMS", help="Folder with ACE-Challenge/, AIR/, ARNI/ or others."),
]
SplitOption = Annotated[Split, typer.Option(help="Split of the speech corpus.")]
ReplayOption = Annotated[
    Path | None,
    typer.Option(metavar="MANIFEST", help="manifest.csv whose files are reproduced from the same corpora."),
]


def timit_noisex(
    timit: TimitArgument,
    noisex: NoisexArgument,
    out: OutArgument,
    seed: SeedOption = 0,
    replay: ReplayOption = None,
) -> None:
    """Mix TIMIT's 192 core test sentences with NOISEX-92, at 0, 5, 10 or 15 dB."""
    _prepare("timit-noisex", timit, noisex, out, "test", seed, replay)


def wsj0_chime3(
    wsj0: Wsj0Argument,
    chime3: ChimeArgument,
    out: OutArgument,
    split: SplitOption = "test",
    seed: SeedOption = 0,
    replay: ReplayOption = None,
) -> None:
    """Mix WSJ0 with CHiME-3's noise, at 0 to 20 dB."""
    _prepare("wsj0-chime3", wsj0, chime3, out, split, seed, replay)


def wsj0_qut(
    wsj0: Wsj0Argument,
    qut: QutArgument,
    out: OutArgument,
    split: SplitOption = "test",
    seed: SeedOption = 0,
    replay: ReplayOption = None,
) -> None:
    """Mix WSJ0 with QUT-NOISE (cafe, car, home, street), at 0 to 15 dB."""
    _prepare("wsj0-qut", wsj0, qut, out, split, seed, replay)


def wsj0_reverb(
    wsj0: Wsj0Argument,
    out: OutArgument,
    split: SplitOption = "test",
    seed: SeedOption = 0,
    replay: ReplayOption = None,
) -> None:
    """Reverberate WSJ0 in simulated rooms with a T60 of 0.4 to 1.0 s (extra `sets`)."""
    _prepare("wsj0-reverb", wsj0, None, out, split, seed, replay)


def ears_wham(
    ears: EarsArgument,
    wham: WhamArgument,
    out: OutArgument,
    split: SplitOption = "test",
    seed: SeedOption = 0,
    replay: ReplayOption = None,
) -> None:
    """Mix EARS with WHAM! at 48 kHz; the loudness of speech minus that of noise is -2.5 to 17.5 dB."""
    _prepare("ears-wham", ears, wham, out, split, seed, replay)


def ears_reverb(
    ears: EarsArgument,
    rooms: RoomsArgument,
    out: OutArgument,
    split: SplitOption = "test",
    seed: SeedOption = 0,
    replay: ReplayOption = None,
) -> None:
    """Reverberate EARS in measured rooms with a T60 of at most 2 s, at 48 kHz."""
    _prepare("ears-reverb", ears, rooms, out, split, seed, replay)


def _prepare(
    name: str, speech: Path, partners: Path | None, out: Path, split: Split, seed: int, replay: Path | None
) -> None:
    from rosecd_jax.data.recipe_files import prepare_recipe, replay_recipe
    from rosecd_jax.data.recipes import RECIPES

    with plain_errors(), progress_bar(100, "drawing") as advance:
        report = lambda stage, part: advance(round(100 * part), 100, stage)  # noqa: E731
        if replay:
            made = replay_recipe(RECIPES[name], speech, partners, out, replay, report)
        else:
            made = prepare_recipe(RECIPES[name], speech, partners, out, split, seed, report)
    for part, summary in made.items():
        typer.echo(f"{out / part}: {summary.files} pairs, {summary.seconds / 60:.1f} minutes")
