"""A profile of some steps of a run, with jax.profiler."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import jax

from rosecd_jax.training.logging import Progress
from rosecd_jax.training.status import Status

CACHED_BY_NAMES = "jax_compilation_cache_include_metadata_in_key"


def keep_names(stack: ExitStack) -> None:
    """Include the names of operations in the keys of cached programs, until `stack` ends."""
    stack.callback(jax.config.update, CACHED_BY_NAMES, getattr(jax.config, CACHED_BY_NAMES))
    jax.config.update(CACHED_BY_NAMES, True)


class Profile:
    """Trace of a range of steps, written to `folder`. Use as a context manager, which ends an open trace.

    A run that is resumed within the range traces the rest of it. A failure of the profiler is logged, and
    doesn't end the run.

    Args:
      steps: steps to trace, counted from 1; may be empty.
      number: current step of the run.
      progress: logger whose measurement of the rate is paused while the profiler starts and writes.
      echo: receives the lines.
    """

    def __init__(self, steps: range, folder: Path, number: int, progress: Progress, echo: Status) -> None:
        self.steps, self.folder, self.progress, self.echo = steps, folder, progress, echo
        self.number, self.outputs = number, None
        self.first = 0
        if steps and number >= steps[-1]:
            echo(f"no profile: steps {steps[0]} to {steps[-1]} are past, the run is at step {number}")

    def __enter__(self) -> "Profile":
        return self

    def __exit__(self, *error: object) -> None:
        self.end()

    @contextmanager
    def step(self, number: int) -> Iterator[None]:
        """Return a context for computing a step, which is traced and marked if it is in the range."""
        if number not in self.steps:
            yield
            return
        if not self.first:
            self._begin(number)
        with jax.profiler.StepTraceAnnotation("train", step_num=number):
            yield

    def after(self, number: int, outputs: Any) -> None:
        """End the trace after the last step of the range; `outputs` are awaited before the end."""
        self.number, self.outputs = number, outputs
        if self.first and number == self.steps[-1]:
            self.end()

    def _begin(self, number: int) -> None:
        self.progress.pause()  # also waits for earlier steps
        options = jax.profiler.ProfileOptions()
        options.python_tracer_level = 0  # it slows down the steps, and fills the trace with calls
        try:
            jax.profiler.start_trace(self.folder, profiler_options=options)
            self.first = number
        except RuntimeError as error:  # another trace is open
            self._fail(error)
        self.progress.unpause()

    def end(self) -> None:
        """Wait for the last step, and write the trace, if one is open."""
        if not self.first:
            return
        self.progress.pause()
        jax.block_until_ready(self.outputs)
        try:
            with self.echo.doing("writing the profile", announce=False):
                jax.profiler.stop_trace()
            words = f"profile of steps {self.first} to {max(self.first, self.number)}: {self.folder}"
            self.echo(f"{words}; to open it: pip install xprof; xprof --logdir={self.folder}")
        except (RuntimeError, OSError) as error:
            self._fail(error)
        self.first, self.steps = 0, range(0)
        self.progress.unpause()

    def _fail(self, error: Exception) -> None:
        self.echo(f"no profile: {error}")
        self.steps = range(0)
