"""Mixes on disk: pairs of WAV files, and a manifest of their draws, from which they can be reproduced."""

import csv
import dataclasses
import hashlib
import io as text_io
import json
import re
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from rosecd_jax.atomic import write_text
from rosecd_jax.audio import io
from rosecd_jax.data.mixing import Draw, Mixer, NoiseDraw, Piece, SilentError, render
from rosecd_jax.data.pairs import DataError, SplitSummary

__all__ = [
    "MANIFEST",
    "draw_from_row",
    "in_threads",
    "read_manifest",
    "replay_mixes",
    "row_of_draw",
    "write_manifest",
    "write_mixes",
]

MANIFEST = "manifest.csv"
DIGEST = "digest"  # column of a manifest, see `_digest`
NAME = re.compile(r"mix_\d{5,}\.wav")
THREADS = 4
NESTED = ("speech", "noises", "response")
T = TypeVar("T")
WHOLE = ("sample_rate", "samples", "early_samples")


def write_mixes(
    folder: Path,
    mixer: Mixer,
    seed: int,
    files: int,
    seconds: float,
    progress: Callable[[float], None] | None = None,
) -> SplitSummary:
    """Write the first `files` examples of a mixer as folder/{clean,noisy}/mix_*.wav, PCM_16, with a manifest.

    Args:
      seconds: length of each.
      progress: called after each file with the fraction that is done, 0 to 1.

    Raises:
      DataError: if the folder holds anything else, or nothing can be mixed.
      AudioError: if a file can't be written.
    """
    mixes = mixer.pairs(seed, max(1, round(seconds * mixer.sample_rate)))
    return _write(
        folder, {f"mix_{number:05d}.wav": number for number in range(files)}, mixes.example, progress
    )


def replay_mixes(
    folder: Path,
    manifest: Path,
    progress: Callable[[float], None] | None = None,
    echo: Callable[[str], None] = warnings.warn,
) -> SplitSummary:
    """Reproduce the mixes of a manifest, byte for byte, from the recordings in it.

    Args:
      progress: as in `write_mixes`.
      echo: receives a line if the manifest, of an earlier version, has no digests to compare with.

    Raises:
      DataError: if the manifest can't be read, a recording is missing or has changed, or the folder holds
        anything else.
      AudioError: if a file can't be written.
    """
    rows = _read(manifest)

    def example(name: str) -> tuple[Draw, dict[str, Any]]:
        draw, digest = rows[name]
        try:
            pair = render(draw)
        except (SilentError, io.AudioError) as error:
            raise DataError(f"{manifest}: a recording has changed: {error}") from error
        if digest and digest != _digest(pair):
            raise DataError(
                f"{manifest}: {name} is no longer the same pair: one of its recordings, or the version of "
                "this package, has changed; restore them"
            )
        return draw, pair

    if not all(digest for _, digest in rows.values()):
        echo(f"{manifest}: has no digests of the pairs, so that changed recordings are not noticed")
    return _write(folder, {name: name for name in rows}, example, progress)


def read_manifest(path: Path) -> dict[str, Draw]:
    """Read the draws of a manifest by file name, in its order.

    Raises:
      DataError: if it can't be read.
    """
    return {name: draw for name, (draw, _) in _read(path).items()}


def _read(path: Path) -> dict[str, tuple[Draw, str]]:
    """Read a manifest as `read_manifest` does, with the digests, "" where there is none."""
    rows = {}
    try:
        with open(path, newline="", encoding="utf-8", errors="surrogateescape") as table:
            for row in csv.DictReader(table):
                name, digest = row.pop("file"), row.pop(DIGEST, "")
                if name in rows or not NAME.fullmatch(name):
                    raise ValueError(f"{name!r} twice, or not the name of a mix")
                rows[name] = draw_from_row(row), digest
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"{path}: not a manifest of mixes ({error}); give a {MANIFEST} of `rosecd prepare mix`"
        ) from error
    if not rows:
        raise DataError(f"{path}: holds no mixes; give a {MANIFEST} of `rosecd prepare mix`")
    return rows


def row_of_draw(draw: Draw) -> dict[str, Any]:
    """Convert a draw to cells of a table: numbers, and JSON for nested values."""
    cells = dataclasses.asdict(draw)
    return cells | {name: json.dumps(cells[name], ensure_ascii=False) for name in NESTED}


def draw_from_row(row: Mapping[str, str]) -> Draw:
    """Convert cells to a draw. Raises ValueError, KeyError or TypeError if they don't make one."""
    speech, noises, response = (json.loads(row[name]) for name in NESTED)
    numbers = {
        name: int(cell) if name in WHOLE else float(cell) for name, cell in row.items() if name not in NESTED
    }
    return Draw(
        speech=tuple(Piece(**piece) for piece in speech),
        noises=tuple(
            NoiseDraw(**noise | {"pieces": tuple(Piece(**piece) for piece in noise["pieces"])})
            for noise in noises
        ),
        response=response and Piece(**response),
        **numbers,  # type: ignore[arg-type]
    )


def _write(
    folder: Path,
    items: Mapping[str, Any],
    example: Callable[[Any], tuple[Draw, Mapping[str, Any]]],
    progress: Callable[[float], None] | None,
) -> SplitSummary:
    """Write the examples of `items`, by the names of their files."""
    _clear(folder)

    def make(name: str) -> tuple[Draw, str]:
        draw, pair = example(items[name])
        for side, wave in pair.items():
            io.write(folder / side / name, wave, draw.sample_rate)
        return draw, _digest(pair)

    made = in_threads(make, list(items), progress)
    rows = [
        {"file": name} | row_of_draw(draw) | {DIGEST: digest}
        for name, (draw, digest) in zip(items, made, strict=True)
    ]
    write_manifest(folder, rows, list(rows[0]) if rows else ["file"])
    return SplitSummary(len(made), sum(draw.samples / draw.sample_rate for draw, _ in made))


def _digest(pair: Mapping[str, NDArray[np.float32]]) -> str:
    """Hash a pair, rounded to 16 bits as in its files, which hides most rounding differences of machines."""
    samples = (np.rint(2**15 * pair[side]).astype("<i4").tobytes() for side in ("clean", "noisy"))
    return hashlib.sha256(b"".join(samples)).hexdigest()[:16]


def in_threads(
    function: Callable[[Any], T], items: Sequence[Any], progress: Callable[[float], None] | None
) -> list[T]:
    """Map a function over items in threads, in order; `progress` gets the fraction done after each item."""
    results = []
    with ThreadPoolExecutor(THREADS) as threads:
        for result in threads.map(function, items):
            results.append(result)
            if progress:
                progress(len(results) / len(items))
    return results


def write_manifest(folder: Path, rows: Iterable[Mapping[str, Any]], columns: Sequence[str]) -> None:
    """Write these columns of the rows as a folder's manifest, atomically."""
    text = text_io.StringIO(newline="")
    table = csv.DictWriter(text, columns, extrasaction="ignore")
    table.writeheader()
    table.writerows(rows)
    write_text(folder / MANIFEST, text.getvalue())


def _clear(folder: Path) -> None:
    """Remove files of an incomplete earlier run; refuse complete mixes and other files."""
    if (folder / MANIFEST).exists():
        raise DataError(f"{folder}: already holds mixes; choose another folder, or delete it")
    files = [path for path in folder.glob("**/*") if not path.is_dir()]
    for path in files:
        if path.parent.name not in ("clean", "noisy") or not NAME.fullmatch(path.name):
            raise DataError(f"{folder}: holds other files, such as {path}; choose another folder")
    for path in files:
        path.unlink()
