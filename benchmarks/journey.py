"""Count the source files that one WAV passes through in `rosecd enhance`, and the changes between them.

    python -m benchmarks.journey [--pairs]

Enhances one second of 16 kHz noise with the packaged model, in this process, and prints

    files     files of rosecd_jax in which a function was called
    changes   calls of a function in another file of rosecd_jax than that of the call before

first for all calls, then without those that JAX makes while it traces the model (the ones with a frame of
JAX between them and the start of their thread). Calls of all threads form one sequence, in order of time.
Functions, methods, lambdas and comprehensions count, and a generator when it starts. Not counted: bodies of
modules and classes and what they call, a generator that continues, and the methods that dataclasses generate,
which have no file. `--pairs` lists the changes by pairs of files.
"""

import collections
import inspect
import itertools
import os
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

PACKAGE = f"{Path(__file__).parents[1] / 'rosecd_jax'}{os.sep}"
JAX = f"{os.sep}jax{os.sep}_src{os.sep}"


def codes(frame: FrameType | None) -> Iterator[CodeType]:
    """Yield the code objects of a frame and of its callers."""
    while frame is not None:
        yield frame.f_code
        frame = frame.f_back


def continues(frame: FrameType) -> bool:
    """Return whether a frame that begins to run is that of a generator that has run before."""
    code = frame.f_code.co_code  # the operand of RESUME says after what, 0: at the beginning
    return bool(frame.f_code.co_flags & inspect.CO_GENERATOR and code[frame.f_lasti + 1] & 3)


def counted(frame: FrameType) -> bool:
    """Return whether a call belongs to the journey."""
    if not frame.f_code.co_filename.startswith(PACKAGE) or continues(frame):
        return False
    return all(
        code.co_flags & inspect.CO_OPTIMIZED  # what bodies of modules and classes lack
        for code in codes(frame)
        if code.co_filename.startswith(PACKAGE)
    )


def journey(words: list[str]) -> list[tuple[str, bool]]:
    """Run the command; return its calls in order, each as (file, whether JAX made it)."""
    from rosecd_jax.cli import app

    calls: list[tuple[str, bool]] = []

    def note(frame: FrameType, event: str, argument: Any) -> None:
        del argument
        if event == "call" and counted(frame):
            file = frame.f_code.co_filename.removeprefix(PACKAGE)
            calls.append((file, any(JAX in code.co_filename for code in codes(frame))))

    threading.setprofile(note)
    sys.setprofile(note)
    try:
        app(words, standalone_mode=False)
    finally:
        sys.setprofile(None)
        threading.setprofile(None)  # pyright: ignore[reportArgumentType]
    return calls


def main(pairs: bool) -> None:
    """Count and print."""
    from rosecd_jax.audio import io

    with tempfile.TemporaryDirectory() as folder:
        source, target = f"{folder}/in.wav", f"{folder}/out.wav"
        io.write(source, np.random.default_rng(0).uniform(-0.1, 0.1, 16_000), 16_000)
        calls = journey(["enhance", source, target])
    table = Table("calls", "files", "changes")
    for name, files in (
        ("all", [file for file, _ in calls]),
        ("without tracing", [file for file, traced in calls if not traced]),
    ):
        changes = collections.Counter(pair for pair in itertools.pairwise(files) if pair[0] != pair[1])
        table.add_row(f"{len(files)} {name}", str(len(set(files))), str(changes.total()))
        if pairs:
            print(name, *(f"{count:5} {a} -> {b}" for (a, b), count in changes.most_common()), sep="\n")
            print("of these files:", *sorted(set(files)))
    Console().print(table)


if __name__ == "__main__":
    main("--pairs" in sys.argv[1:])
