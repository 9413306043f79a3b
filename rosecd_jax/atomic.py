"""Atomic writes of files and folders: afterwards, the target is either complete or unchanged."""

import contextlib
import os
import shutil
import time
import uuid
from collections.abc import Iterator
from pathlib import Path


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write UTF-8 text atomically: to a temporary file in the same folder, which is then renamed.

    Missing folders are created. File names in the text that are not UTF-8 are written as their bytes on disk.
    Line endings are unchanged.

    Raises:
      OSError: if the file can't be written; an existing one is unchanged, and no temporary file is left.
    """
    with replacing(path) as temporary:
        temporary.write_text(text, "utf-8", errors="surrogateescape", newline="")


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path in the folder of `path`, created if missing; the file written there replaces it.

    If the block raises, `path` is unchanged. The temporary name is `temporary_start(path)`, 16 hexadecimal
    digits and "part", joined by dots.

    Raises:
      OSError: if the folder can't be created or the file replaced; no temporary file is left.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{temporary_start(path)}.{uuid.uuid4().hex[:16]}.part")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        with contextlib.suppress(OSError):  # don't hide the first error
            temporary.unlink(missing_ok=True)


def temporary_start(path: Path) -> str:
    """Return the start of a file's temporary name, short enough for the whole name to fit in 255 bytes."""
    name = path.name
    while len(os.fsencode(name)) > 200:
        name = name[:-1]
    return f".{name}"


@contextlib.contextmanager
def replacing_folder(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path beside `path`; the folder created there replaces `path` and all its contents.

    Missing parent folders are created. If `path` is a link, its target is replaced. If the block raises,
    `path` is unchanged, and everything whose name begins with the temporary one is removed. A process that
    is killed leaves the old folder, the new one or, between the two renames, neither.

    Raises:
      OSError: if it can't be replaced; `path` is unchanged then.
    """
    folder = Path(os.path.realpath(path))
    folder.parent.mkdir(parents=True, exist_ok=True)
    new = folder.with_name(f"{temporary_start(folder)}-{uuid.uuid4().hex[:8]}")
    old = folder.with_name(f"{temporary_start(folder)}-{uuid.uuid4().hex[:8]}-replaced")
    try:
        yield new
        if folder.exists():
            os.replace(folder, old)
        os.replace(new, folder)
    finally:
        if old.exists() and not folder.exists():
            os.replace(old, folder)
        _remove(new)
        _remove(old)


def _remove(folder: Path) -> None:
    """Delete all folders whose names begin with this one's; a failed writer's threads may still add files."""
    for _ in range(100):
        leftovers = [found for found in folder.parent.iterdir() if found.name.startswith(folder.name)]
        if not leftovers:
            return
        for leftover in leftovers:
            shutil.rmtree(leftover, ignore_errors=True)
        time.sleep(0.05)


def existing_part(path: str | os.PathLike[str]) -> Path:
    """Return the absolute path itself, or its nearest parent that exists."""
    path = Path(path).absolute()
    return next(part for part in (path, *path.parents) if part.exists())
