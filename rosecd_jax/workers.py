"""Processes that work beside this one: they leave its signals to it, and end when it does."""

import multiprocessing
import os
import signal
import threading
from concurrent.futures import ProcessPoolExecutor


def background_pool(workers: int) -> ProcessPoolExecutor:
    """Processes that work beside more urgent ones: they give way, and end when this process does.

    SIGTERM ends them, for that is how the pool itself gets rid of them when one of them was killed.
    """
    # Spawned, not forked: JAX has threads.
    return ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), initializer=_begin)


def _begin() -> None:
    serve_parent(signal.SIGINT)
    if hasattr(os, "nice"):
        os.nice(19)


def serve_parent(*ignored: signal.Signals) -> None:
    """In a worker: leave these signals to the process that started it, and end when that does, even killed.

    A terminal sends its Ctrl-C to all processes of a command, and some schedulers SIGTERM; the parent knows
    what is to be done then.
    """
    for number in ignored:
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    if parent := multiprocessing.parent_process():
        parent.join()
        os._exit(1)  # what was shared is cleaned up by multiprocessing's tracker, which ends after this
