"""Loading of users' Python files: training configs and custom networks."""

import importlib.util
import sys
import traceback
from pathlib import Path
from types import ModuleType
from typing import Any

__all__ = ["find_beside", "load_module", "make_network", "raised_by"]


def find_beside(path: Path) -> None:
    """Let a file import modules from its folder."""
    folder = str(path.resolve().parent)
    if folder not in sys.path:
        sys.path.append(folder)


def load_module(path: Path) -> ModuleType:
    """Import a file as a module named after it.

    Raises:
      ValueError: if there is no such file, or it raises an error; the message gives the line.
    """
    if path.suffix != ".py" or not path.is_file():
        raise ValueError(f"{path} is not a Python file")
    path = path.resolve()
    find_beside(path)
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    known = sys.modules.setdefault(path.stem, module)  # a dataclass looks for its module there
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # the file may raise anything
        if known is module:
            del sys.modules[path.stem]
        raise ValueError(f"{path}: {raised_by(path, error) or error}") from error
    return module


def make_network(spec: str) -> Any:
    """Call the class or function given as `FILE.py:NAME`, without arguments, and return its Flax module.

    Raises:
      ValueError: if there is no such class or function, or it needs arguments.
    """
    file, _, name = spec.rpartition(":")
    if not file:
        raise ValueError(f"--network {spec}: expected FILE.py:NAME")
    factory = getattr(load_module(Path(file)), name, None)
    if not callable(factory):
        raise ValueError(f"--network {spec}: {file} has no class or function {name!r}")
    try:
        return factory()
    except TypeError as error:
        raise ValueError(f"--network {spec}: {error}") from error


def raised_by(path: Path, error: BaseException | None) -> str:
    """Describe the line of a file that raised an error, as "line N: TypeError: ..."; empty if none did."""
    while error is not None:
        frames = traceback.extract_tb(error.__traceback__)
        if lines := [frame.lineno for frame in frames if Path(frame.filename).resolve() == path.resolve()]:
            return f"line {lines[-1]}: {type(error).__name__}: {error}"
        error = error.__cause__ or error.__context__
    return ""
