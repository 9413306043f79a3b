"""Standard input and output as a filter in a pipe uses them: all bytes go through, and it ends quietly."""

import contextlib
import os
import signal
import sys
from collections.abc import Iterator
from typing import BinaryIO

import typer

from rosecd_jax.processes import on_signals

INTERRUPTED, BROKEN_PIPE = 130, 141
"""Exit codes: 128 and the number of the signal, as a shell tells them."""


def open_pipes() -> tuple[BinaryIO, BinaryIO]:
    """Standard input, and standard output for `write_all`; both wait where nothing comes or goes.

    Raises:
      ValueError: if nobody redirected one of them, or it is closed.
    """
    refuse_terminals()
    for file in (sys.stdin, sys.stdout):
        with contextlib.suppress(OSError):  # no descriptor, or one that always waits
            os.set_blocking(file.fileno(), True)  # a pipe's other users may have set it otherwise
    # Beneath the buffer, if there is one (not with PYTHONUNBUFFERED): what can't be written would stay in it,
    # to be tried again as Python ends.
    return sys.stdin.buffer, getattr(sys.stdout.buffer, "raw", sys.stdout.buffer)


def refuse_terminals() -> None:
    """Raise ValueError if nobody redirected the input or the output, or one is closed."""
    for file, name, way in (
        (sys.stdin, "input", "pipe audio into it"),
        (sys.stdout, "output", "redirect it"),
    ):
        if file is None:
            raise ValueError(f"standard {name} is closed; {way}")
        if file.isatty():
            raise ValueError(
                f"standard {name} is a terminal; {way}, as in "
                "ffmpeg -i noisy.mp4 -f wav - | rosecd stream -c MODEL > clean.wav"
            )


def write_all(sink: BinaryIO, data: bytes) -> None:
    """Write to a file without a buffer, which may take a part at a time.

    Raises:
      OSError: naming standard output, if it can't be written.
    """
    left = memoryview(data)
    try:
        while left:
            written = sink.write(left)
            if written is None:  # nothing: another user of the pipe has made it non-blocking meanwhile
                os.set_blocking(sink.fileno(), True)
            left = left[written or 0 :]
    except OSError as error:
        error.filename = "standard output"
        raise


@contextlib.contextmanager
def signals_end_input() -> Iterator[list[int]]:
    """Standard input ends at the first SIGINT or SIGTERM, which is yielded in a list; a second one kills."""
    received: list[int] = []

    def end_input(number: signal.Signals) -> None:
        received.append(number)
        for caught in numbers:
            if signal.getsignal(caught) != signal.SIG_IGN:
                signal.signal(caught, signal.SIG_DFL)
        # A read that waits is taken up again after this, and meets the end of a file; one with data keeps it.
        os.dup2(os.open(os.devnull, os.O_RDONLY), sys.stdin.fileno())

    numbers = (signal.SIGINT, signal.SIGTERM)
    with on_signals(end_input, *numbers):
        yield received


@contextlib.contextmanager
def quiet_ends() -> Iterator[None]:
    """An interrupt, or nobody reading on, is how a pipe ends, no error."""
    try:
        yield
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None
    except BrokenPipeError:
        raise typer.Exit(BROKEN_PIPE) from None
