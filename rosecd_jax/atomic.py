"""Files and folders that are either complete or as they were, and where they can be made."""

import os
import shutil
import uuid
from pathlib import Path


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write UTF-8 under a temporary name in the same folder, then replace; folders are made.

    Names of files that are not UTF-8 become the bytes that they are on disk. Line ends stay as they are.

    Raises:
      OSError: if it can't be written; a file already there is as it was, and nothing else is left.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:16]}.part")
    try:
        temporary.write_text(text, "utf-8", errors="surrogateescape", newline="")
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


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
