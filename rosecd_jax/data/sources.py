"""Sources of data sets: VoiceBank-DEMAND as published, or any tree of paired folders."""

import re
import zipfile
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from rosecd_jax.audio import io
from rosecd_jax.data.pairs import LAYOUTS, DataError, Folder, Pairs, Recordings, check_pairs, find_pairs

__all__ = ["VALID_SPEAKERS", "Split", "ZippedFolder", "folder_splits", "voicebank_splits"]

TRAINING_SET = ("clean_trainset_28spk_wav", "noisy_trainset_28spk_wav")
TEST_SET = ("clean_testset_wav", "noisy_testset_wav")
VALID_SPEAKERS = ("p226", "p287")


class Split(NamedTuple):
    """A split of some pairs, with checked headers."""

    pairs: Pairs
    headers: dict[str, io.AudioInfo]  # headers of the clean files, by name, in the order of the split


class ZippedFolder:
    """The recordings in a zip archive; a top folder with the archive's name is not part of their names.

    Hidden members, and those that macOS adds, are ignored.

    Raises:
      DataError: if the archive can't be opened.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self.archive = zipfile.ZipFile(path)
        except (zipfile.BadZipFile, OSError) as error:
            raise DataError(f"{path}: cannot be opened ({error}); download it again") from error
        self.members = {
            member.filename.removeprefix(f"{path.stem}/"): member
            for member in self.archive.infolist()
            if io.is_audio(PurePosixPath(member.filename)) and not member.filename.startswith("__MACOSX/")
        }

    def __str__(self) -> str:
        return str(self.path)

    def names(self) -> Sequence[str]:
        if not self.members:
            raise io.AudioError(f"{self.path}: no audio files in this archive; download it again")
        return list(self.members)

    def info(self, name: str) -> io.AudioInfo:
        """Read the whole member, as zip requires, which checks its checksum and samples."""
        audio = self.read(name)
        channels, samples = audio.wave.shape
        return io.AudioInfo(audio.sample_rate, channels, samples, audio.subtype, audio.format)

    def read(self, name: str) -> io.Audio:
        try:
            data = self.archive.read(self.members[name])
        # zlib.error, EOFError, RuntimeError: damaged streams, encryption, unknown compression
        except (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError) as error:
            raise io.AudioError(f"{self}/{name}: cannot be unpacked ({error}); download it again") from error
        return io.decode(data, f"{self}/{name}")


def voicebank_splits(source: Path, progress: Callable[[float], None] | None = None) -> dict[str, Split]:
    """Find VoiceBank-DEMAND's splits: train, valid (speakers p226 and p287 of the training set), test.

    Args:
      source: folder of the four published archives, clean_trainset_28spk_wav.zip,
        noisy_trainset_28spk_wav.zip, clean_testset_wav.zip and noisy_testset_wav.zip, zipped or unpacked.
      progress: called while files are checked, with the fraction that is done, 0 to 1.

    Raises:
      DataError: if one of the four is missing, files don't fit together, or a split would be empty.
    """
    names = (*TRAINING_SET, *TEST_SET)
    sides = {name: side for name in names if (side := _published(source, name))}
    if absent := [f"{name}.zip" for name in names if name not in sides]:
        raise DataError(
            f"{source}: holds no {', '.join(absent)}, zipped or unpacked; put the published archives into it"
        )
    sets = [Pairs(*(sides[name] for name in pair)) for pair in (TRAINING_SET, TEST_SET)]
    training, test = check_pairs(sets, progress=progress)
    valid = {name: header for name, header in training.items() if _speaker(name) in VALID_SPEAKERS}
    train = {name: header for name, header in training.items() if name not in valid}
    for split, headers in (("train", train), ("valid", valid)):
        if not headers:
            speakers = " and ".join(VALID_SPEAKERS)
            raise DataError(f"{sets[0].clean}: no {split} split; speakers {speakers} are valid, others train")
    return {"train": Split(sets[0], train), "valid": Split(sets[0], valid), "test": Split(sets[1], test)}


def folder_splits(source: Path, progress: Callable[[float], None] | None = None) -> dict[str, Split]:
    """Find the splits of a folder tree: its folders with clean/ or noisy/ (anechoic/ or reverb/).

    Args:
      progress: called while files are checked, with the fraction that is done, 0 to 1.

    Raises:
      DataError: if there is none, a folder's name is invalid for a split, or files don't fit together.
    """
    sides = [side for layout in LAYOUTS for side in layout]
    folders = sorted(source.iterdir()) if source.is_dir() else []
    splits = [folder for folder in folders if any((folder / side).is_dir() for side in sides)]
    if not splits:
        raise DataError(f"{source}: holds no folders of pairs, such as train/clean and train/noisy")
    for folder in splits:
        if folder.name.lower() == "all" or not re.fullmatch(r"[\w-]+", folder.name):
            raise DataError(f"{folder}: not a name for a split; use letters, digits, _ and -, and not 'all'")
    sets = [find_pairs(folder) for folder in splits]
    headers = check_pairs(sets, progress=progress)
    return {
        folder.name: Split(*split)
        for folder, split in zip(splits, zip(sets, headers, strict=True), strict=True)
    }


def _published(source: Path, name: str) -> Recordings | None:
    """Open the archive of that name, or else the folder, which may be unpacked only in part."""
    archive, folder = source / f"{name}.zip", source / name
    if archive.is_file():
        return ZippedFolder(archive)
    return Folder(folder) if folder.is_dir() else None


def _speaker(name: str) -> str:
    """Return the speaker in a file name: p226 of p226_001.wav."""
    return PurePosixPath(name).name.partition("_")[0]
