"""Python files of a user's: training configs, and networks of their own."""

import importlib.util
import sys
import traceback
from pathlib import Path
from types import ModuleType
from typing import Any

__all__ = ["find_beside", "load_module", "make_network", "raised_by"]


def find_beside(path: Path) -> None:
    """Let a file import modules that lie in its folder."""
    folder = str(path.resolve().parent)
    if folder not in sys.path:
        sys.path.append(folder)


def load_module(path: Path) -> ModuleType:
    """Run a file as the module of its name.

    Raises:
      ValueError: if there is no such file, or it raises something; the message says in which line.
    """
    if path.suffix != ".py" or not path.is_file():
        raise ValueError(f"{path} is no Python file")
    path = path.resolve()
    find_beside(path)
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    known = sys.modules.setdefault(path.stem, module)  # a dataclass looks for its module there
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # the file is a program: it may raise whatever there is
        if known is module:
            del sys.modules[path.stem]
        raise ValueError(f"{path}: {raised_by(path, error) or error}") from error
    return module


def make_network(words: str) -> Any:
    """The Flax module that `FILE.py:NAME` stands for: a class, or function, that is called without arguments.

    Raises:
      ValueError: if there is none.
    """
    file, _, name = words.rpartition(":")
    if not file:
        raise ValueError(f"--network {words}: expected FILE.py:NAME")
    made = getattr(load_module(Path(file)), name, None)
    if not callable(made):
        raise ValueError(f"--network {words}: {file} has no class or function {name!r}")
    try:
        return made()
    except TypeError as error:
        raise ValueError(f"--network {words}: {error}") from error


def raised_by(path: Path, error: BaseException | None) -> str:
    """In which line a file raised what, if an error began there; else nothing."""
    while error is not None:
        frames = traceback.extract_tb(error.__traceback__)
        if lines := [frame.lineno for frame in frames if Path(frame.filename).resolve() == path.resolve()]:
            return f"line {lines[-1]}: {type(error).__name__}: {error}"
        error = error.__cause__ or error.__context__
    return ""
