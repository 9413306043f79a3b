"""Folders of single recordings (speech, noise or room responses) of any format, rate, length and channels.

Opening a library checks every file; unusable ones are reported and left out.
"""

import dataclasses
import hashlib
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rosecd_jax.audio import io
from rosecd_jax.data.pairs import DataError

__all__ = ["Library", "Recording", "check_apart", "open_library", "read_part"]

LEAST_SECONDS = 0.1  # shorter recordings of speech or noise are left out
SILENCE = 1e-4  # range of the samples of a silent or constant recording (-80 dB of full scale)
PROBE = 4000  # samples in the middle of a recording; if they are not silent, the rest is not read
MAX_LISTED = 10  # files that are left out
THREADS = 8  # to read files: libsndfile releases the GIL


@dataclasses.dataclass(frozen=True)
class Recording:
    """A file and its header."""

    path: str
    sample_rate: int  # Hz
    channels: int
    samples: int  # per channel

    @property
    def seconds(self) -> float:
        return self.samples / self.sample_rate


@dataclasses.dataclass(frozen=True)
class Library:
    """Usable recordings, sorted by path.

    Attributes:
      folders: their folders, as passed to `open_library`.
      recordings: at least one.
      left_out: a line for each unusable file: its path, the problem, the remedy.
    """

    folders: str
    recordings: tuple[Recording, ...]
    left_out: tuple[str, ...] = ()

    @property
    def names(self) -> list[str]:
        return [recording.path for recording in self.recordings]

    @property
    def seconds(self) -> float:
        return sum(recording.seconds for recording in self.recordings)

    def part(self, held_back: bool, share: float) -> "Library":
        """Return the recordings held back from training, about `share` of all, or the other ones.

        The division depends only on the paths; each part has at least one recording.

        Raises:
          DataError: if there is only one recording.
        """
        if len(self.recordings) < 2:
            raise DataError(f"{self.folders}: one recording only, nothing can be held back; give more")
        order = sorted(self.recordings, key=lambda recording: _hash(recording.path))
        count = min(max(1, round(share * len(order))), len(order) - 1)
        kept = order[:count] if held_back else order[count:]
        return dataclasses.replace(self, recordings=tuple(sorted(kept, key=lambda recording: recording.path)))

    def summary(self) -> str:
        """Describe the number and length of recordings, and the files that were left out."""
        line = f"{self.folders}: {len(self.recordings)} recordings, {self.seconds / 60:.1f} minutes"
        if not self.left_out:
            return line
        more = len(self.left_out) - MAX_LISTED
        listed = [f"  {problem}" for problem in self.left_out[:MAX_LISTED]]
        listed += [f"  and {more} more"] if more > 0 else []
        return "\n".join([f"{line}; {len(self.left_out)} left out:", *listed])


def open_library(
    folders: str,
    least_seconds: float = LEAST_SECONDS,
    progress: Callable[[float], None] | None = None,
) -> Library:
    """Find and check the recordings in some folders and their subfolders.

    Args:
      folders: one, or several joined by the system's path separator (":", on Windows ";").
      least_seconds: shorter recordings are left out.
      progress: called after each file with the fraction that is done, 0 to 1.

    Raises:
      DataError: if a folder is missing, or holds no usable recording.
    """
    found: list[Recording] = []
    problems: list[str] = []
    sets = [_files(folder) for folder in filter(None, folders.split(os.pathsep))]
    total, done = sum(map(len, sets)), 0
    with ThreadPoolExecutor(THREADS) as threads:
        for folder, files in zip(folders.split(os.pathsep), sets, strict=False):
            before = len(found)
            for result in threads.map(lambda file: _check(file, least_seconds), files):
                (found if isinstance(result, Recording) else problems).append(result)  # type: ignore[arg-type]
                done += 1
                if progress:
                    progress(done / total)
            if len(found) == before:
                raise DataError(
                    f"{folder}: none of its recordings can be used; the first: {problems[-len(files)]}"
                )
    recordings = {os.path.realpath(recording.path): recording for recording in found}  # each file once
    return Library(folders, tuple(sorted(recordings.values(), key=lambda one: one.path)), tuple(problems))


def check_apart(*libraries: Library) -> None:
    """Raise DataError if a file is in two libraries, for example both speech and noise."""
    seen: dict[str, Library] = {}
    for library in libraries:
        for name in library.names:
            other = seen.setdefault(os.path.realpath(name), library)
            if other is not library:
                folders = f"in {other.folders} and in {library.folders}"
                raise DataError(f"{name}: is both {folders}; remove it from one, or give different folders")


def read_part(path: str, channel: int, start: int, samples: int, sample_rate: int) -> NDArray[np.float32]:
    """Read a part of one channel of a file and resample it, to [samples at `sample_rate` Hz].

    Args:
      start, samples: at the file's own rate.

    Raises:
      AudioError: naming the file, if the part can't be read or there is no such channel.
    """
    audio = io.read(path, start, samples)
    if channel >= len(audio.wave):
        raise io.AudioError(f"{path}: has {len(audio.wave)} channels, no channel {channel}; restore the file")
    return io.resample(audio.wave[channel], audio.sample_rate, sample_rate)


def _files(folder: str) -> Sequence[Path]:
    try:
        return io.find(folder)
    except io.AudioError as error:
        raise DataError(str(error)) from error


def _check(file: Path, least_seconds: float) -> Recording | str:
    """Return the recording, or a line that says why it can't be used."""
    try:
        header = io.info(file)
        recording = Recording(str(file), header.sample_rate, header.channels, header.samples)
        if recording.seconds < least_seconds:
            return f"{file}: is too short, {recording.seconds:.3f} s of at least {least_seconds:g}; remove it"
        middle = max(0, (header.samples - PROBE) // 2)
        if _loud(io.read(file, middle, PROBE).wave) or any(map(_loud, io.read_blocks(file))):
            return recording
        return f"{file}: is silent or constant; remove it"
    except io.AudioError as error:
        return str(error)


def _loud(wave: NDArray[np.float32]) -> bool:
    return bool(wave.size and np.ptp(wave, axis=-1).max() > SILENCE)


def _hash(name: str) -> bytes:
    """Hash the last three parts of a path, so that moving a folder does not change its division."""
    parts = Path(name).parts[-3:]
    return hashlib.sha256("/".join(parts).encode("utf-8", "surrogateescape")).digest()
