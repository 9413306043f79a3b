"""Optional packages, and the extras of `pip install` that provide them."""

from types import TracebackType
from typing import Literal

__all__ = ["Extra", "extra", "remedy"]

Extra = Literal["train", "eval", "visqol", "mos", "lps", "sets", "demo", "wandb"]


def remedy(name: Extra) -> str:
    """Return the command that installs an extra, for example `pip install 'rosecd-jax[train]'`."""
    return f"pip install 'rosecd-jax[{name}]'"


class extra:
    """Context manager for imports of optional packages.

    Raises:
      ImportError: if one is not installed; the message names it and the extra, in one line.
    """

    def __init__(self, name: Extra, purpose: str) -> None:
        self.name: Extra = name
        self.purpose = purpose

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, ModuleNotFoundError):
            package = (error.name or "a package").partition(".")[0]
            raise ImportError(f"{self.purpose} needs {package}: {remedy(self.name)}") from error
