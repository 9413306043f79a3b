"""Worker processes, signals, and how many processes share the work."""

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any, Generic, NamedTuple, TypeVar

T = TypeVar("T")


class Job(NamedTuple, Generic[T]):
    """What a worker was asked for, and its answer to come."""

    future: Future[T]
    function: Callable[..., T]
    arguments: tuple[Any, ...]


class Workers:
    """A background pool that outlives its processes: who dies costs its own job alone. Use as a context."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.pool = background_pool(count)

    def __enter__(self) -> "Workers":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """End the processes; what they were not asked for yet is dropped."""
        self.pool.shutdown(cancel_futures=True)

    def submit(self, function: Callable[..., T], *arguments: Any) -> Job[T]:
        """Ask for `function(*arguments)`; new processes are started if the old ones have died."""
        try:
            return Job(self.pool.submit(function, *arguments), function, arguments)
        except BrokenProcessPool:
            self.pool = background_pool(self.count)
            return Job(self.pool.submit(function, *arguments), function, arguments)

    def result(self, job: Job[T]) -> T:
        """What a job returns, or raises. If its process died, or another one did, it is done again alone.

        Raises:
          BrokenProcessPool: if that process dies, too.
        """
        try:
            return job.future.result()
        except BrokenProcessPool:
            with background_pool(1) as alone:
                return alone.submit(job.function, *job.arguments).result()


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


@contextlib.contextmanager
def on_signals(handle: Callable[[signal.Signals], None], *numbers: signal.Signals) -> Iterator[None]:
    """Call `handle` for these signals within the block; those that are ignored (nohup) stay ignored.

    In other threads than the main one, where Python lets nobody set handlers, it does nothing.
    """
    before: dict[signal.Signals, Any] = {}
    if threading.current_thread() is threading.main_thread():
        before = {number: signal.getsignal(number) for number in numbers}
        before = {number: handler for number, handler in before.items() if handler != signal.SIG_IGN}
    for number in before:
        signal.signal(number, lambda number, frame: handle(signal.Signals(number)))
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def share_of_processes() -> tuple[int, int]:
    """(number of this process, how many there are) as the environment has it, none of them joined.

    For work that is only divided: processes that are joined wait for each other and die with each other.
    JAX_PROCESS_ID and JAX_NUM_PROCESSES say so, or Slurm's srun, Open MPI's mpirun, or a TPU slice.

    Raises:
      ValueError: if these are no numbers, or not set together.
    """
    environment = os.environ
    hosts = environment.get("TPU_WORKER_HOSTNAMES", "").count(",") + 1
    if "JAX_PROCESS_ID" in environment or "JAX_NUM_PROCESSES" in environment:
        names = "JAX_PROCESS_ID", "JAX_NUM_PROCESSES"
    elif "SLURM_STEP_NUM_TASKS" in environment:
        names = "SLURM_PROCID", "SLURM_STEP_NUM_TASKS"
    elif "OMPI_COMM_WORLD_SIZE" in environment:
        names = "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"
    else:
        return (int(environment.get("TPU_WORKER_ID", 0)), hosts) if hosts > 1 else (0, 1)
    number, count = (environment.get(name, "") for name in names)
    if not (number.isdigit() and count.isdigit() and int(number) < int(count)):
        raise ValueError(
            f"{names[0]}={number!r} and {names[1]}={count!r}: expected a process' number, from 0 on, and how "
            "many there are"
        )
    return int(number), int(count)
