"""Test sets on disk: pairs of WAV files, and a manifest of their draws, written first.

An interrupted set is resumed from its files, and another user's set is reproduced from its manifest.
"""

import csv
import dataclasses
import functools
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from rosecd_jax.audio import io
from rosecd_jax.data.library import read_part
from rosecd_jax.data.mixed_files import MANIFEST, in_threads, write_manifest
from rosecd_jax.data.pairs import DataError, SplitSummary
from rosecd_jax.data.recipes import Mix, Recipe, open_draws

__all__ = ["prepare_recipe", "read_mixes", "replay_recipe"]

SIDES = ("clean", "noisy")  # the targets and the degraded files, as `rosecd evaluate` reads them
WHOLE = ("seed", "start", "samples", "noise_start", "channel")
REAL = ("snr_db", "t60")

Progress = Callable[[str, float], None]
"""Called with the stage and the fraction of it that is done, 0 to 1."""


def prepare_recipe(
    recipe: Recipe,
    speech: Path,
    partners: Path | None,
    out: Path,
    split: str = "test",
    seed: int = 0,
    progress: Progress | None = None,
) -> dict[str, SplitSummary]:
    """Make a split of a recipe's set in out/split, or resume it: existing files are kept.

    Args:
      speech: folder of the speech corpus.
      partners: folder of the noises or room responses.

    Raises:
      DataError: if recordings are missing or can't be used, or out/split holds anything else.
      AudioError: if a file can't be read or written.
    """
    folder = out / split
    if (folder / MANIFEST).exists():
        mixes = read_mixes(folder / MANIFEST)
        if {(mix.recipe, mix.split, mix.seed) for mix in mixes} != {(recipe.name, split, seed)}:
            held = f"{mixes[0].recipe}, {mixes[0].split}, seed {mixes[0].seed}"
            raise DataError(f"{folder}: already holds other files ({held}); choose another folder")
    else:
        draws = open_draws(recipe, speech, partners, split, seed)
        drawn = progress and functools.partial(progress, "drawing")
        mixes = in_threads(draws.__getitem__, range(len(draws)), drawn)
    return _write(recipe, speech, partners, folder, mixes, progress)


def replay_recipe(
    recipe: Recipe,
    speech: Path,
    partners: Path | None,
    out: Path,
    manifest: Path,
    progress: Progress | None = None,
) -> dict[str, SplitSummary]:
    """Reproduce the files of a manifest, byte for byte, or resume that; see `prepare_recipe`.

    Raises:
      DataError: as `prepare_recipe`, or if the manifest can't be read or belongs to another recipe.
    """
    mixes = read_mixes(manifest)
    if {(mix.recipe, mix.split) for mix in mixes} != {(recipe.name, mixes[0].split)}:
        raise DataError(f"{manifest}: is for {mixes[0].recipe}, not {recipe.name}; prepare that recipe")
    folder = out / mixes[0].split
    if (folder / MANIFEST).exists() and read_mixes(folder / MANIFEST) != mixes:
        raise DataError(f"{folder}: already holds other files; choose another folder")
    return _write(recipe, speech, partners, folder, mixes, progress)


def read_mixes(path: Path) -> list[Mix]:
    """Read a manifest.

    Raises:
      DataError: if it can't be read, holds nothing or names a file twice.
    """
    try:
        with open(path, newline="", encoding="utf-8", errors="surrogateescape") as table:
            mixes = [_mix(row) for row in csv.DictReader(table)]
        if not mixes:
            raise ValueError("no files in it")
        if len({mix.file for mix in mixes}) < len(mixes):
            raise ValueError("a file is listed twice")
        if unsafe := [mix.file for mix in mixes if Path(mix.file).name != mix.file]:
            raise ValueError(f"{unsafe[0]!r} is not the name of a file")
    except (OSError, ValueError, TypeError) as error:
        raise DataError(f"{path}: not a manifest of a test set ({error}); give its {MANIFEST}") from error
    return mixes


def _mix(row: dict[str, str]) -> Mix:
    casts = dict.fromkeys(WHOLE, int) | dict.fromkeys(REAL, float)
    return Mix(**{name: casts.get(name, str)(cell) for name, cell in row.items()})  # type: ignore[arg-type]


def _write(
    recipe: Recipe,
    speech: Path,
    partners: Path | None,
    folder: Path,
    mixes: Sequence[Mix],
    progress: Progress | None,
) -> dict[str, SplitSummary]:
    _check(folder, mixes)
    if not (folder / MANIFEST).exists():
        used = [f for f in dataclasses.fields(Mix) if any(getattr(mix, f.name) != f.default for mix in mixes)]
        write_manifest(folder, [dataclasses.asdict(mix) for mix in mixes], [field.name for field in used])

    def make(mix: Mix) -> int:
        files = [folder / side / mix.file for side in SIDES]
        if not all(file.exists() for file in files):
            for file, wave in zip(files, _render(recipe, speech, partners, mix), strict=True):
                io.write(file, wave, recipe.sample_rate, recipe.subtype)
        return io.info(files[0]).samples

    samples = in_threads(make, mixes, progress and functools.partial(progress, "mixing"))
    return {mixes[0].split: SplitSummary(len(samples), sum(samples) / recipe.sample_rate)}


def _render(recipe: Recipe, speech: Path, partners: Path | None, mix: Mix) -> list[np.ndarray]:
    path, rate = speech / mix.speech, recipe.sample_rate
    wave = np.asarray(read_part(str(path), 0, mix.start, mix.samples, rate), np.float64)
    if wave.size < io.resampled_length(mix.samples, io.info(path).sample_rate, rate):
        raise DataError(f"{path}: is shorter than in the manifest; restore the file")
    pair = recipe.degradation.render(dataclasses.asdict(mix), partners or Path(), wave, rate)
    return [side.astype(np.float32) for side in pair]


def _check(folder: Path, mixes: Sequence[Mix]) -> None:
    """Remove partial files of a killed process; refuse files that don't belong to the set."""
    expected = [folder / side / mix.file for side in SIDES for mix in mixes]
    io.remove_leftovers([folder / MANIFEST, *expected])
    known = {folder / MANIFEST, *expected}
    for path in folder.glob("**/*"):
        if path not in known and not path.is_dir():
            raise DataError(f"{folder}: holds other files, such as {path}; choose another folder")
