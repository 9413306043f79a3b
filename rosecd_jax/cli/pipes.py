"""Standard input and output of a filter in a pipe: it loses no byte, and ends quietly."""

import contextlib
import os
import signal
import sys
from collections.abc import Iterator
from typing import BinaryIO

import typer

from rosecd_jax.processes import on_signals

INTERRUPTED, BROKEN_PIPE = 130, 141
"""Exit codes: 128 plus the number of the signal, as in a shell."""


def open_pipes() -> tuple[BinaryIO, BinaryIO]:
    """Return standard input, and standard output for `write_all`, both blocking.

    Raises:
      ValueError: if one of them is a terminal or closed.
    """
    refuse_terminals()
    for file in (sys.stdin, sys.stdout):
        with contextlib.suppress(OSError):  # no descriptor, or one that always blocks
            os.set_blocking(file.fileno(), True)  # another process on the pipe may have made it non-blocking
    # Bypass the buffer, if there is one (not with PYTHONUNBUFFERED): what can't be written would stay in it,
    # and Python would try again at exit.
    return sys.stdin.buffer, getattr(sys.stdout.buffer, "raw", sys.stdout.buffer)


def refuse_terminals() -> None:
    """Raise ValueError if standard input or output is a terminal or closed."""
    for file, name, remedy in (
        (sys.stdin, "input", "pipe audio into it"),
        (sys.stdout, "output", "redirect it"),
    ):
        if file is None:
            raise ValueError(f"standard {name} is closed; {remedy}")
        if file.isatty():
            raise ValueError(
                f"standard {name} is a terminal; {remedy}, as in "
                "ffmpeg -i noisy.mp4 -f wav - | rosecd stream -c MODEL > clean.wav"
            )


def write_all(sink: BinaryIO, data: bytes) -> None:
    """Write all bytes to an unbuffered file.

    Raises:
      OSError: naming standard output, if it can't be written.
    """
    left = memoryview(data)
    try:
        while left:
            written = sink.write(left)
            if written is None:  # another process on the pipe has made it non-blocking in the meantime
                os.set_blocking(sink.fileno(), True)
            left = left[written or 0 :]
    except OSError as error:
        error.filename = "standard output"
        raise


@contextlib.contextmanager
def signals_end_input() -> Iterator[list[int]]:
    """End standard input at the first SIGINT or SIGTERM, appended to the yielded list; a second kills."""
    received: list[int] = []

    def end_input(number: signal.Signals) -> None:
        received.append(number)
        for caught in numbers:
            if signal.getsignal(caught) != signal.SIG_IGN:
                signal.signal(caught, signal.SIG_DFL)
        # A blocked read resumes after this and sees the end of the file; a read that has data returns it.
        os.dup2(os.open(os.devnull, os.O_RDONLY), sys.stdin.fileno())

    numbers = (signal.SIGINT, signal.SIGTERM)
    with on_signals(end_input, *numbers):
        yield received


@contextlib.contextmanager
def quiet_ends() -> Iterator[None]:
    """Exit without an error message at an interrupt or when the reader closes the pipe."""
    try:
        yield
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None
    except BrokenPipeError:
        raise typer.Exit(BROKEN_PIPE) from None
