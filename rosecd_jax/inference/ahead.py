"""Work done ahead of its use: what lets reading, computing and writing go on at the same time."""

import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, wait
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")
PAUSE = 0.2  # seconds


def ahead(submit: Callable[[Item], Future[Result]], items: Iterable[Item], depth: int) -> Iterator[Result]:
    """The results of `submit` for all items, in order, `depth` of them under way while one is used.

    Chained, such iterators are a pipeline whose stages run at once and hold no more than they need. Whoever
    stops early cancels what has not begun. Signals are heard while it waits.
    """
    waiting: deque[Future[Result]] = deque()
    try:
        for item in items:
            waiting.append(submit(item))
            if len(waiting) > depth:
                yield result_of(waiting.popleft())
        while waiting:
            yield result_of(waiting.popleft())
    finally:
        for future in waiting:
            future.cancel()


def result_of(future: Future[Result]) -> Result:
    """As `future.result()`, but a signal is heard at most `PAUSE` late.

    Python handles signals between bytecodes of the main thread. One that another thread of the process
    receives, or that comes just as the main thread goes to wait, doesn't end the waiting.
    """
    while not future.done():
        wait([future], timeout=PAUSE)
    return future.result()


def groups(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """Lists of `size` neighbours, the last one shorter."""
    items = iter(items)
    while group := list(itertools.islice(items, size)):
        yield group
