"""Search for audio files in a folder and its subfolders."""

import os
from pathlib import Path, PurePath
from typing import NamedTuple

from rosecd_jax.audio.formats import FORMATS, OTHERS, AudioError


class Found(NamedTuple):
    """Result of `look`.

    Attributes:
      files: audio files, sorted.
      others: files whose suffix is that of an unsupported audio or video format, such as .m4a, sorted.
      errors: messages about folders that can't be read.
    """

    files: list[Path]
    others: list[Path]
    errors: list[str]


def is_audio(path: PurePath) -> bool:
    """Return whether a relative path has an audio suffix, and no hidden or temporary part (. or ~)."""
    return path.suffix.lower() in FORMATS and not any(map(_is_hidden, path.parts))


def _is_hidden(name: str) -> bool:
    return name.startswith((".", "~"))


def missing(path: Path, words: str) -> str:
    """Return why a path is neither a file nor a folder, for a message; `words` if nothing exists there."""
    if path.exists():
        return "is not a regular file"
    return f"is a broken link to {os.readlink(path)}" if path.is_symlink() else words


def find(path: str | os.PathLike[str]) -> list[Path]:
    """Find audio files as `look` does, but raise AudioError if a folder can't be read."""
    found = look(path)
    if found.errors:
        raise AudioError(found.errors[0])
    return found.files


def look(path: str | os.PathLike[str]) -> Found:
    """Find the audio files of a folder and its subfolders, or the file itself if `path` is one.

    Skips files and folders with hidden or temporary names (a leading dot or tilde). Links are followed, also
    to folders, but cycles are not entered; broken links are included, and fail when read. Raises AudioError
    if there is no audio file.
    """
    path = Path(path)
    if path.is_file():
        return Found([path], [], [])
    if not path.is_dir():
        raise AudioError(f"{path}: {missing(path, 'no such file or folder')}; give an audio file or a folder")
    found = Found([], [], [])

    def note(error: OSError) -> None:
        found.errors.append(f"{error.filename}: cannot be read ({error.strerror}); change its permissions")

    above = {path: (os.path.realpath(path),)}  # real paths of a folder and its parents
    for folder, folders, names in os.walk(path, followlinks=True, onerror=note):
        here = Path(folder)
        places = above.pop(here)
        entered = {name: os.path.realpath(here / name) for name in folders if not _is_hidden(name)}
        folders[:] = [name for name, place in entered.items() if place not in places]
        above |= {here / name: (*places, entered[name]) for name in folders}
        for file in (here / name for name in names if not _is_hidden(name)):
            if file.suffix.lower() in FORMATS:
                found.files.append(file)
            elif file.suffix.lower() in OTHERS:
                found.others.append(file)
    if not found.files:
        kinds = " ".join(sorted({file.suffix.lower() for file in found.others}))
        nothing = f"{path}: no audio files in this folder{kinds and f' but {kinds}'}"
        raise AudioError(
            found.errors[0] if found.errors else f"{nothing}; known suffixes: {' '.join(FORMATS)}"
        )
    return Found(sorted(found.files), sorted(found.others), found.errors)
