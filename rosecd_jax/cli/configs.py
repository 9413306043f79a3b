"""The training configs that come with the package, by name."""

from pathlib import Path

__all__ = ["config_files", "find_config"]

PACKAGE = Path(__file__).parents[1]
FOLDERS = PACKAGE / "configs", PACKAGE.parent / "configs"
"""An installed package has the configs next to its code; a clone has them in its top folder."""


def config_files() -> dict[str, Path]:
    """Map the names of configs to their files."""
    folder = next((folder for folder in FOLDERS if folder.is_dir()), None)
    return {file.stem: file for file in sorted(folder.glob("[!_]*.py"))} if folder else {}


def find_config(words: str) -> tuple[str, Path]:
    """Find the file of a `--config`: FILE.py, FILE.py:ARGUMENT, NAME or NAME:ARGUMENT.

    Returns:
      FILE.py or FILE.py:ARGUMENT, and the file alone.

    Raises:
      ValueError: if there is neither such a file nor such a name; the message lists the known names.
    """
    name, colon, argument = words.partition(":")
    known = config_files()
    file = known.get(name, Path(name))
    if not file.is_file():
        raise ValueError(f"no config file {name}; the package has {', '.join(known)}")
    return f"{file}{colon}{argument}", file
