"""Status lines of a run's activities, so that its terminal is never silent for long."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import jax

SILENCE = 5.0
"""Seconds without a line after which the current activity is printed again."""


class Status:
    """Printer of lines, and of the current activity if it takes long. Use as a context manager.

    A call prints a line, as `doing` and the background thread also do.

    Args:
      echo: prints one line; also called from a background thread.
    """

    def __init__(self, echo: Callable[[str], None]) -> None:
        self._echo, self._lock = echo, threading.Lock()
        self._start = self._last = time.monotonic()
        self._activities: list[tuple[str, float]] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="status", daemon=True)

    def __enter__(self) -> "Status":
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        self._thread.join()

    def __call__(self, line: str) -> None:
        with self._lock:
            self._echo(line)
            self._last = time.monotonic()

    @property
    def seconds(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._start

    @property
    def silence(self) -> float:
        """Seconds since the last line."""
        return time.monotonic() - self._last

    @contextmanager
    def doing(self, what: str, announce: bool = True) -> Iterator[None]:
        """Print an activity while it takes long; with `announce`, also at its start and end, with seconds."""
        start = time.monotonic()
        if announce:
            self(f"{what} ...")
        self._activities.append((what, start))
        try:
            yield
        finally:
            self._activities.pop()
        if announce:
            self(f"{what}: {time.monotonic() - start:.1f} s")

    def _watch(self) -> None:
        while not self._ended.wait(0.5):
            activities = self._activities[-1:]
            if activities and self.silence > SILENCE:
                (what, start), *_ = activities
                self(f"{what} ... {time.monotonic() - start:.0f} s so far")


class Announced:
    """A jitted function that prints its name while it is compiled, once for every shape of its arguments."""

    def __init__(self, program: Callable[..., Any], name: str, status: Status) -> None:
        self.program, self.name, self.status = program, name, status
        self._compiled: set[Any] = set()

    def __call__(self, *arguments: Any) -> Any:
        leaves = jax.tree.leaves(arguments)
        shapes = tuple((leaf.shape, leaf.dtype) for leaf in leaves)
        if shapes in self._compiled:
            return self.program(*arguments)
        with self.status.doing(f"compiling {self.name}"):
            result = self.program(*arguments)
        self._compiled.add(shapes)
        return result
