"""Lock of a run's directory, and a controlled stop on signals."""

import os
import signal
import socket
from pathlib import Path

import jax

from rosecd_jax.processes import on_signals


class WorkdirLock:
    """Lock on a run's directory against other processes; released when the process ends, even if killed.

    Raises:
      ValueError: naming the process that holds the lock, or if the directory can't be written.
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
    """Record of SIGTERM and Ctrl-C, so that a run can end after the current step. Use as a context manager.

    A second Ctrl-C interrupts at once. With several processes, a signal to any of them stops all after the
    same step, on which JAX's preemption service agrees.
    """

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None
        # With several processes, JAX's service handles SIGTERM in each of them.
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
        if jax.process_count() > 1:  # the service doesn't handle Ctrl-C
            os.kill(os.getpid(), signal.SIGTERM)

    def after(self, step: int) -> str:
        """Return the reason to end the run after this step, or ""; to be called after every step."""
        if jax.process_count() > 1:
            from jax.experimental import multihost_utils

            return "SIGTERM" if multihost_utils.reached_preemption_sync_point(step) else ""
        return "" if self.signal is None else self.signal.name
