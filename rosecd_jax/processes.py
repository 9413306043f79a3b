"""Worker processes, signal handlers, the division of work, and settings of the process for speed."""

import contextlib
import ctypes
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any, Generic, NamedTuple, TypeVar

T = TypeVar("T")


class Job(NamedTuple, Generic[T]):
    """A function call submitted to a worker, and the future of its result."""

    future: Future[T]
    function: Callable[..., T]
    arguments: tuple[Any, ...]


class Workers:
    """Pool of background processes; one that dies fails only its own job. Use as a context manager."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.pool = background_pool(count)

    def __enter__(self) -> "Workers":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """End the processes and drop pending jobs."""
        self.pool.shutdown(cancel_futures=True)

    def submit(self, function: Callable[..., T], *arguments: Any) -> Job[T]:
        """Submit `function(*arguments)`; new processes are started if the old ones have died."""
        try:
            return Job(self.pool.submit(function, *arguments), function, arguments)
        except BrokenProcessPool:
            self.pool = background_pool(self.count)
            return Job(self.pool.submit(function, *arguments), function, arguments)

    def result(self, job: Job[T]) -> T:
        """Wait for a job's result or error; if a process of the pool died, the job is repeated in a new one.

        Raises:
          BrokenProcessPool: if that process dies, too.
        """
        try:
            return job.future.result()
        except BrokenProcessPool:
            with background_pool(1) as alone:
                return alone.submit(job.function, *job.arguments).result()


def background_pool(workers: int) -> ProcessPoolExecutor:
    """Create a pool of low-priority processes that end when this process does.

    SIGTERM is not ignored: the pool itself sends it when one of its processes was killed.
    """
    # Spawned, not forked: JAX has threads.
    return ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), initializer=_begin)


def _begin() -> None:
    serve_parent(signal.SIGINT)
    if hasattr(os, "nice"):
        os.nice(10)  # gets a tenth of a busy core; 19 would get a seventieth, with scores minutes late


def serve_parent(*ignored: signal.Signals) -> None:
    """Ignore these signals in a worker, and end it when the parent process ends, even if that is killed.

    Terminals send Ctrl-C, and some schedulers SIGTERM, to all processes of a command; only the parent should
    react.
    """
    for number in ignored:
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    if parent := multiprocessing.parent_process():
        parent.join()
        os._exit(1)  # multiprocessing's resource tracker outlives this and cleans up shared memory


@contextlib.contextmanager
def on_signals(handle: Callable[[signal.Signals], None], *numbers: signal.Signals) -> Iterator[None]:
    """Call `handle` for these signals within the block; signals that are ignored (nohup) stay ignored.

    Does nothing outside the main thread, where Python does not allow signal handlers.
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
    """Read (rank of this process, number of processes) from the environment, without connecting them.

    For work that is only divided: processes joined by `jax.distributed` wait for and fail with each other.
    The variables are JAX_PROCESS_ID and JAX_NUM_PROCESSES, or those of Slurm, Open MPI or a TPU slice.

    Raises:
      ValueError: if they are not numbers, or not set together.
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
            f"{names[0]}={number!r} and {names[1]}={count!r}: expected the rank of this process, from 0, and "
            "the number of processes"
        )
    return int(number), int(count)


def keep_freed_memory(largest: int | None = None) -> None:
    """Keep freed memory in the process instead of returning it to the system (glibc only).

    XLA's CPU programs allocate their buffers at every run. When glibc returns them to the system, the page
    faults of the next run cost a tenth to a sixth of its time. All threads share two heaps, so that they
    reuse each other's memory; with one heap, the threads of XLA's compiler wait for each other, and
    compilation takes 50 % longer. Only the main thread's heap keeps blocks of more than 64 MiB; programs for
    a single CPU device therefore run on the thread that calls them instead of one of JAX's. Call this before
    JAX uses a device.

    Args:
      largest: bytes, at most 32 MiB; larger blocks are returned. Without a limit, blocks of many sizes
        fragment the heap, which then grows for hours. None: keep all.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt:
        import jax  # slow import

        trim_threshold, top_pad, mmap_threshold, mmap_max, arena_max = -1, -2, -3, -4, -8
        large = ((mmap_threshold, largest),) if largest else ((mmap_max, 0),)
        for option, value in ((trim_threshold, -1), (top_pad, 2**26), (arena_max, 2), *large):
            mallopt(option, value)
        jax.config.update("jax_cpu_enable_async_dispatch", False)


def keep_compiled_programs() -> None:
    """Let JAX cache compiled programs in the user's cache folder, unless its settings choose otherwise.

    `JAX_COMPILATION_CACHE_DIR` sets another folder, `JAX_ENABLE_COMPILATION_CACHE=false` disables the cache.
    """
    import jax  # slow import

    config: Any = jax.config
    if config.jax_compilation_cache_dir is not None or not config.jax_enable_compilation_cache:
        return
    import platformdirs
    from jax.experimental.compilation_cache import compilation_cache

    folder = platformdirs.user_cache_path("rosecd_jax") / "programs"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:  # a read-only home only loses the cache
        return
    if os.access(folder, os.W_OK):
        jax.config.update("jax_compilation_cache_dir", str(folder))
        compilation_cache.reset_cache()  # otherwise the process's first compilation has fixed "no cache"
