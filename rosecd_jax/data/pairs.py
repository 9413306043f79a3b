"""Random access to paired recordings, a target and its degraded partner, with checks of their headers.

A folder of pairs holds `clean/` and `noisy/`, or `anechoic/` and `reverb/`, the target first. The files of a
pair have the same path below both. Headers are checked first, and problems reported file by file.
"""

import dataclasses
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from rosecd_jax.audio import io

__all__ = [
    "LAYOUTS",
    "DataError",
    "Folder",
    "PairedFiles",
    "Pairs",
    "Recordings",
    "SplitSummary",
    "check_pairs",
    "find_pairs",
    "mono",
]

LAYOUTS = (("clean", "noisy"), ("anechoic", "reverb"))
MAX_LISTED = 10  # problems
THREADS = 8  # to read headers: libsndfile releases the GIL

PARTNER = "give each file a partner of the same name, or remove it"
MONO = "keep one channel"
RESAMPLE = "resample with `rosecd prepare folder SOURCE OUT`, which makes a data set of one rate"
RATE = "bring both files of a pair to the same rate"
LENGTH = "cut both files of a pair to the same length"


class DataError(ValueError):
    """Error for data that can't be used; the message names the files and the remedy."""


@dataclasses.dataclass(frozen=True)
class SplitSummary:
    """Number and length of the pairs in a split."""

    files: int  # pairs
    seconds: float


class Recordings(Protocol):
    """Recordings by name, in a folder or archive, whose path `str()` returns for messages."""

    def names(self) -> Sequence[str]:
        """List all names, with slashes for subfolders. Raises AudioError if there are none."""
        ...

    def info(self, name: str) -> io.AudioInfo:
        """Read the header of a recording. Raises AudioError naming it."""
        ...

    def read(self, name: str) -> io.Audio:
        """Read a whole recording. Raises AudioError naming it."""
        ...


@dataclasses.dataclass(frozen=True)
class Folder:
    """The recordings of a folder and its subfolders, by their relative paths."""

    path: Path

    def __str__(self) -> str:
        return str(self.path)

    def names(self) -> Sequence[str]:
        return [file.relative_to(self.path).as_posix() for file in io.find(self.path)]

    def info(self, name: str) -> io.AudioInfo:
        return io.info(self.path / name)

    def read(self, name: str) -> io.Audio:
        return io.read(self.path / name)


class Pairs(NamedTuple):
    """Two sets of recordings, paired by name."""

    clean: Recordings  # the targets
    noisy: Recordings  # the same recordings, degraded


class PairedFiles:
    """Random access to a folder's pairs, a grain source: index -> {"clean", "noisy"}, float32 [samples].

    Raises:
      DataError: if the folders are missing or empty, or files have no partner, are not readable, not mono,
        not at `sample_rate` (Hz), or not as long as their partner. While reading, if a file's samples are
        damaged.
    """

    def __init__(self, folder: str | Path, sample_rate: int) -> None:
        self.pairs = find_pairs(Path(folder))
        self.sample_rate = sample_rate
        (headers,) = check_pairs([self.pairs], sample_rate)
        self.names = list(headers)

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: Any) -> dict[str, np.ndarray]:
        name = self.names[index]
        clean, noisy = (mono(side, name) for side in self.pairs)
        if clean.shape != noisy.shape:
            raise DataError(f"{self.pairs.clean}/{name}: {clean.size} samples, its partner {noisy.size}")
        return {"clean": clean, "noisy": noisy}


def mono(side: Recordings, name: str) -> np.ndarray:
    """Read the first channel of a recording, float32 [samples]. Raises DataError if it can't be read."""
    try:
        return side.read(name).wave[0]
    except io.AudioError as error:
        raise DataError(str(error)) from error


def find_pairs(folder: Path) -> Pairs:
    """Find the two sides of a folder of pairs, by the first of `LAYOUTS` of which one side exists.

    Raises DataError if the other side is missing.
    """
    layouts = [layout for layout in LAYOUTS if any((folder / side).is_dir() for side in layout)]
    sides = [folder / side for side in (layouts or LAYOUTS)[0]]
    for side in sides:
        if not side.is_dir():
            known = " or ".join("/ and ".join(layout) + "/" for layout in LAYOUTS)
            raise DataError(f"{side}: no such folder; pairs are two folders, {known}")
    return Pairs(*map(Folder, sides))


def check_pairs(
    sets: Sequence[Pairs],
    sample_rate: int | None = None,
    progress: Callable[[float], None] | None = None,
) -> list[dict[str, io.AudioInfo]]:
    """Check every header of some sets of pairs.

    Args:
      sample_rate: required rate of all files, in Hz; None: any, but equal on both sides of a pair.
      progress: called after each pair with the fraction that is done, 0 to 1.

    Returns:
      For each set, the header of each pair's target, by name, sorted.

    Raises:
      DataError: listing all problems, file by file: no partner, not readable, not mono, another rate or
        length than the partner; also if a side holds no recording.
    """
    problems: list[_Problem] = []
    shared: list[tuple[int, str]] = []  # index of the set, name
    for index, pairs in enumerate(sets):
        clean, noisy = (_names(side) for side in pairs)
        for side, partner, alone in ((*pairs, clean - noisy), (*reversed(pairs), noisy - clean)):
            problems += [
                _Problem(f"{side}/{name}: no partner in {partner}", PARTNER) for name in sorted(alone)
            ]
        shared += [(index, name) for name in sorted(clean & noisy)]

    headers: list[dict[str, io.AudioInfo]] = [{} for _ in sets]
    with ThreadPoolExecutor(THREADS) as threads:
        results = threads.map(lambda one: _compare(sets[one[0]], one[1], sample_rate), shared)
        for done, ((index, name), (header, found)) in enumerate(zip(shared, results, strict=True), start=1):
            problems += found
            if header:
                headers[index][name] = header
            if progress:
                progress(done / len(shared))
    if problems:
        raise DataError(_report(problems))
    return headers


class _Problem(NamedTuple):
    what: str  # begins with the file's name
    remedy: str = ""  # empty if `what` includes it


def _names(side: Recordings) -> set[str]:
    try:
        return set(side.names())
    except io.AudioError as error:
        raise DataError(str(error)) from error


def _compare(pairs: Pairs, name: str, sample_rate: int | None) -> tuple[io.AudioInfo | None, list[_Problem]]:
    """Return the target's header, if both can be read, and the pair's problems."""
    headers, problems = [], []
    for side in pairs:
        try:
            header = side.info(name)
        except io.AudioError as error:
            problems.append(_Problem(str(error)))
            continue
        headers.append(header)
        if header.channels != 1:
            problems.append(_Problem(f"{side}/{name}: {header.channels} channels, not mono", MONO))
        if sample_rate not in (None, header.sample_rate):
            what = f"{side}/{name}: {header.sample_rate} Hz, not {sample_rate} Hz"
            problems.append(_Problem(what, RESAMPLE))
    if len(headers) < len(pairs):
        return None, problems
    clean, noisy = headers
    if clean.sample_rate != noisy.sample_rate:
        if sample_rate is None:  # otherwise at least one of them has been listed already
            what = f"{pairs.clean}/{name}: {clean.sample_rate} Hz, its partner {noisy.sample_rate} Hz"
            problems.append(_Problem(what, RATE))
    elif clean.samples != noisy.samples:
        what = f"{pairs.clean}/{name}: {clean.samples} samples, its partner {noisy.samples}"
        problems.append(_Problem(what, LENGTH))
    return clean, problems


def _report(problems: Sequence[_Problem]) -> str:
    """List the first problems, the number of others, and the remedies of all."""
    lines = [f"{len(problems)} problem{'s' * (len(problems) > 1)} with the recordings:"]
    lines += [f"  {problem.what}" for problem in problems[:MAX_LISTED]]
    if len(problems) > MAX_LISTED:
        lines.append(f"  and {len(problems) - MAX_LISTED} more")
    remedies = dict.fromkeys(problem.remedy for problem in problems if problem.remedy)
    return "\n".join([*lines, *(f"Remedy: {remedy}." for remedy in remedies)])
