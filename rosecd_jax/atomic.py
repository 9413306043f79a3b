"""Files and folders that are either complete or as they were, and where they can be made."""

import contextlib
import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write UTF-8 under a temporary name in the same folder, then replace; folders are made.

    Names of files that are not UTF-8 become the bytes that they are on disk. Line ends stay as they are.

    Raises:
      OSError: if it can't be written; a file already there is as it was, and nothing else is left.
    """
    with replacing(path) as temporary:
        temporary.write_text(text, "utf-8", errors="surrogateescape", newline="")


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path in the folder of `path`, which is made; the file written there replaces `path`.

    If the block raises, `path` is as it was. The temporary name is `temporary_start(path)`, 16 hexadecimal
    digits and "part", joined by dots.

    Raises:
      OSError: if the folder can't be made, or the file not be replaced; nothing else is left.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{temporary_start(path)}.{uuid.uuid4().hex[:16]}.part")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        with contextlib.suppress(OSError):  # the first error is the one to know of
            temporary.unlink(missing_ok=True)


def temporary_start(path: Path) -> str:
    """How the temporary name of a file begins; names have at most 255 bytes, not all of them UTF-8."""
    name = path.name
    while len(os.fsencode(name)) > 200:
        name = name[:-1]
    return f".{name}"


def replace_folder(folder: Path, new: Path) -> None:
    """Give `new`, a folder beside it, the name of `folder`, whose old content, if there is any, is deleted.

    Raises:
      OSError: if it can't be done; then `folder` is as it was.
    """
    aside = folder.with_name(f".{folder.name}-{uuid.uuid4().hex[:8]}-replaced")
    try:
        if folder.exists():
            os.replace(folder, aside)
        os.replace(new, folder)
    finally:
        if aside.exists() and not folder.exists():
            os.replace(aside, folder)
        shutil.rmtree(aside, ignore_errors=True)


def existing_part(path: str | os.PathLike[str]) -> Path:
    """The path itself or the nearest folder above it that exists, absolute: where something would be made."""
    path = Path(path).absolute()
    return next(part for part in (path, *path.parents) if part.exists())
