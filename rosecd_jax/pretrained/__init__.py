"""The models that come with the package, by name."""

import os
from pathlib import Path

__all__ = ["DEFAULT", "pretrained_models", "resolve"]

FOLDER = Path(__file__).parent
DEFAULT = "small"
"""The default model."""


def pretrained_models() -> dict[str, Path]:
    """Map the names of models to directories: NAME for the student, NAME-teacher for its teacher, if any."""
    found = {}
    for folder in sorted(path for path in FOLDER.glob("*") if path.is_dir()):
        for role, name in (("student", folder.name), ("teacher", f"{folder.name}-teacher")):
            if (folder / role / "config").is_dir():
                found[name] = folder / role
    return found


def resolve(path: str | os.PathLike[str]) -> Path:
    """Return `path` if it exists or is not a packaged model's name, else the directory of that model."""
    path = Path(path)
    return path if path.exists() else pretrained_models().get(str(path), path)
