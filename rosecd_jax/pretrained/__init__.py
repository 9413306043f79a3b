"""The models that come with the package, by name."""

import os
from pathlib import Path

__all__ = ["DEFAULT", "pretrained_models", "resolve"]

FOLDER = Path(__file__).parent
DEFAULT = "small"
"""What enhances where no other model is named."""


def pretrained_models() -> dict[str, Path]:
    """Names and directories: `small` is the student of pretrained/small, `small-teacher` its teacher."""
    found = {}
    for folder in sorted(path for path in FOLDER.glob("*") if path.is_dir()):
        for role, name in (("student", folder.name), ("teacher", f"{folder.name}-teacher")):
            if (folder / role / "config").is_dir():
                found[name] = folder / role
    return found


def resolve(path: str | os.PathLike[str]) -> Path:
    """The directory of a model that comes with the package, if there is nothing of that name else `path`."""
    path = Path(path)
    return path if path.exists() else pretrained_models().get(str(path), path)
