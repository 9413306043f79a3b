"""Recordings of published corpora in the user's copies, found by the names of folders and files."""

import dataclasses
import fnmatch
import hashlib
import os
import re
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal, NamedTuple

from rosecd_jax.audio import io
from rosecd_jax.data.degradations import Partner
from rosecd_jax.data.pairs import DataError

__all__ = ["Corpus", "Utterance", "find_partners", "find_utterances"]

THREADS = 8  # to read headers: libsndfile releases the GIL
MAX_LISTED = 6
SUFFIXES = {*io.FORMATS, ".wv1", ".wv2"}
SHORTEN = "compressed by shorten, which can't be read; convert each file: `sph2pipe -f wav NAME.wv1 NAME.wav`"


@dataclasses.dataclass(frozen=True)
class Corpus:
    """Layout of the recordings of a corpus.

    Attributes:
      name: name, as the publishers write it.
      splits: patterns of paths, in lower case, for `fnmatch` (* also matches /). A path begins with / and the
        name of the folder that the user gives, so that a subfolder can be given, too.
      layout: the same in words, for error messages.
      without: patterns of paths that are not used.
      needs: whether "all" of a split's patterns have to be found, or "any".
      each: how many recordings each pattern finds; 0: at least one.
      most: how many recordings of a pattern are used; the others are left out by the hashes of their paths.
      kind: expression whose group is the kind of a noise, or the corpus of a room.
      trim: seconds left out at each end of a recording, by kind.
      least_rate: Hz; lower sample rates are refused.
    """

    name: str
    splits: Mapping[str, Sequence[str]]
    layout: str
    without: Sequence[str] = ()
    needs: Literal["all", "any"] = "all"
    each: int = 0
    most: Mapping[str, int] = dataclasses.field(default_factory=dict)
    kind: str = ""
    trim: Mapping[str, float] = dataclasses.field(default_factory=dict)
    least_rate: int = 0

    def find(self, root: Path, split: str) -> list[str]:
        """List a split's recordings as /-separated paths below `root`; one in two formats counts once.

        Raises:
          DataError: if the folder or recordings are missing; the message says what was looked for.
        """
        if split not in self.splits:
            raise DataError(f"{self.name} has no split {split!r}; choose from {', '.join(self.splits)}")
        if not root.is_dir():
            raise DataError(f"{root}: no such folder; give the folder of {self.name}, with {self.layout}")
        try:
            looked = io.look(root)
        except io.AudioError:  # no audio at all
            raise DataError(self._missing(root, self.splits[split])) from None
        if looked.errors:
            raise DataError(looked.errors[0])
        names = [file.relative_to(root).as_posix() for file in looked.files]
        top = root.resolve().name.lower()
        found: dict[str, str] = {}
        missing = []
        for pattern in self.splits[split]:
            matching = self._matching(pattern, top, names)
            if not matching or (self.each and len(matching) != self.each):
                missing.append(f"{pattern} ({len(matching)} of {self.each})" if self.each else pattern)
            found |= matching
        if missing and (self.needs == "all" or not found):
            raise DataError(self._missing(root, missing))
        return [found[key] for key in sorted(found)]

    def _matching(self, pattern: str, top: str, names: Sequence[str]) -> dict[str, str]:
        """Return the matching paths, keyed by the same in lower case without audio suffixes."""
        found: dict[str, str] = {}
        for name in names:
            path = f"/{top}/{name.lower()}"
            refused = any(fnmatch.fnmatchcase(path, other) for other in self.without)
            if fnmatch.fnmatchcase(path, pattern) and not refused:
                found.setdefault(_bare(name.lower()), name)
        if len(found) > (most := self.most.get(pattern, len(found))):
            kept = sorted(found, key=lambda key: hashlib.sha256(os.fsencode(key)).digest())[:most]
            found = {key: found[key] for key in kept}
        return found

    def _missing(self, root: Path, patterns: Sequence[str]) -> str:
        listed = ", ".join(patterns[:MAX_LISTED])
        more = len(patterns) - MAX_LISTED
        listed += f" and {more} more" if more > 0 else ""
        if any(next(root.rglob(f"*.{suffix}"), None) for suffix in ("wv1", "WV1")):
            return f"{root}: its .wv1 files are {SHORTEN}"
        return f"{root}: not {self.name} as it is published: looked for {self.layout}; missing: {listed}"


class Utterance(NamedTuple):
    """A recording of speech, or a part of one; `start` and `samples` are at its own rate."""

    name: str  # of the file that is made, without suffix
    speaker: str
    path: str  # below its corpus
    start: int
    samples: int
    sample_rate: int


def find_utterances(
    corpus: Corpus, root: Path, split: str, pieces: tuple[float, float] | None = None
) -> list[Utterance]:
    """Find the speech of a split, sorted by name; a folder has the name of its speaker.

    Args:
      pieces: (shortest, length) in seconds; recordings shorter than `shortest` are left out. Those of at
        least `shortest` + `length` are cut into parts of `length`; the last part may be longer or shorter.
        None: whole recordings.

    Raises:
      DataError: if recordings are missing, can't be read, or have too low a rate.
    """
    paths = corpus.find(root, split)
    with ThreadPoolExecutor(THREADS) as threads:
        headers = list(threads.map(lambda path: _header(corpus, root / path), paths))
    found: dict[str, Utterance] = {}
    for path, header in zip(paths, headers, strict=True):
        speaker = Path(path).parent.name.lower() or root.resolve().name.lower()
        stem = _bare(Path(path).name.lower())
        name = stem if stem.startswith(speaker) else f"{speaker}_{stem}"
        parts = _parts(header, *pieces) if pieces else [(0, header.samples)]
        for number, (start, samples) in enumerate(parts):
            part = f"{name}_{number + 1:02d}" if len(parts) > 1 else name
            found.setdefault(part, Utterance(part, speaker, path, start, samples, header.sample_rate))
    if not found:
        raise DataError(f"{root}: no recording of {corpus.name} is longer than {pieces and pieces[0]:g} s")
    return [found[name] for name in sorted(found)]


def find_partners(corpus: Corpus, root: Path, split: str) -> list[Partner]:
    """Find the noises or room responses of a split, or of the corpus if it has no such split, by path.

    Raises:
      DataError: as `Corpus.find` does.
    """
    partners = []
    for path in corpus.find(root, split if split in corpus.splits else ""):
        match = re.search(corpus.kind, f"/{root.resolve().name}/{path}".lower()) if corpus.kind else None
        kind = match[1] if match else ""
        partners.append(Partner(path, kind, corpus.trim.get(kind, 0.0)))
    return partners


def _bare(name: str) -> str:
    """Remove all audio suffixes, both in x.wv1.wav."""
    while (suffix := os.path.splitext(name)[1]) in SUFFIXES:
        name = name.removesuffix(suffix)
    return name


def _header(corpus: Corpus, path: Path) -> io.AudioInfo:
    try:
        header = io.info(path)
    except io.AudioError as error:
        with open(path, "rb") as file:
            compressed = b"embedded-shorten" in file.read(1024)
        raise DataError(f"{path}: {SHORTEN}" if compressed else str(error)) from error
    if header.sample_rate < corpus.least_rate:
        raise DataError(
            f"{path}: at {header.sample_rate} Hz, {corpus.name} is published at {corpus.least_rate} Hz; "
            "give the original"
        )
    return header


def _parts(header: io.AudioInfo, shortest: float, length: float) -> list[tuple[int, int]]:
    """Return (start, samples) of the parts of a recording."""
    least, size = round(shortest * header.sample_rate), round(length * header.sample_rate)
    if header.samples < least:
        return []
    count = max(1, (header.samples - least) // size + 1)
    return [
        (number * size, size if number < count - 1 else header.samples - number * size)
        for number in range(count)
    ]
