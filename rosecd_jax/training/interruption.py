"""A run's directory belongs to one process, which stops on a signal, with nothing lost."""

import os
import signal
import socket
from pathlib import Path

import jax

from rosecd_jax.processes import on_signals


class WorkdirLock:
    """Keeps other processes out of a run's directory; ends with the process, even a killed one.

    Raises:
      ValueError: naming the process that holds it, or if nothing can be written there.
    """

    def __init__(self, workdir: Path) -> None:
        self.path = workdir / "lock"
        try:
            workdir.mkdir(parents=True, exist_ok=True)
            self.file = open(self.path, "a+")  # noqa: SIM115 (open as long as the run)
        except OSError as error:
            raise ValueError(f"{workdir}: cannot be written ({error}); choose another --workdir") from error
        try:
            import fcntl
        except ImportError:  # not on Windows
            return
        try:
            fcntl.flock(self.file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self.file.seek(0)
            holder = self.file.read().strip() or "another process"
            self.file.close()
            raise ValueError(
                f"{workdir} is in use by {holder}; wait for it, stop it, or choose another --workdir"
            ) from error
        self.file.truncate(0)
        self.file.write(f"process {os.getpid()} on {socket.gethostname()}\n")
        self.file.flush()

    def __enter__(self) -> "WorkdirLock":
        return self

    def __exit__(self, *error: object) -> None:
        self.file.close()


class StopRequest:
    """Notes SIGTERM and Ctrl-C, so that a run can end after the step that it is in. Use as a context.

    A second Ctrl-C interrupts at once. With many processes, either signal to any one of them stops all after
    the same step: JAX's preemption service agrees on it.
    """

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None
        # With many processes, JAX's service has its own handler of SIGTERM, in every process.
        numbers = [signal.SIGINT] if jax.process_count() > 1 else [signal.SIGINT, signal.SIGTERM]
        self.handling = on_signals(self._note, *numbers)

    def __enter__(self) -> "StopRequest":
        self.handling.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self.handling.__exit__(None, None, None)

    def _note(self, number: signal.Signals) -> None:
        if self.signal is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.signal = number
        if jax.process_count() > 1:  # a Ctrl-C, of which the service doesn't know
            os.kill(os.getpid(), signal.SIGTERM)

    def after(self, step: int) -> str:
        """Why the run has to end after this step; empty if it continues. Ask after every step."""
        if jax.process_count() > 1:
            from jax.experimental import multihost_utils

            return "SIGTERM" if multihost_utils.reached_preemption_sync_point(step) else ""
        return "" if self.signal is None else self.signal.name
