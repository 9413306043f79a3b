"""Prefetching iterators, which let reading, computing and writing overlap."""

import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, wait
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")
PAUSE = 0.2  # seconds


def ahead(submit: Callable[[Item], Future[Result]], items: Iterable[Item], depth: int) -> Iterator[Result]:
    """Yield the results of `submit` for all items, in order, with `depth` of them pending ahead.

    Chained, such iterators form a pipeline whose stages run concurrently in bounded memory. Closing the
    iterator cancels pending work that has not started. Signals are handled while it waits. No result may be
    None.
    """
    return (result for result in ahead_or_none(submit, items, depth) if result is not None)


def ahead_or_none(
    submit: Callable[[Item], Future[Result]], items: Iterable[Item | None], depth: int
) -> Iterator[Result | None]:
    """Yield as `ahead` does, and also None whenever `PAUSE` seconds pass without the next result.

    An item that is None means that the previous stage is waiting: results that are ready are then yielded
    without waiting for the next item.

    Python handles signals between bytecodes of the main thread. A signal that another thread receives, or
    that arrives just before the main thread blocks, does not wake it: hence the pauses.
    """
    waiting: deque[Future[Result]] = deque()

    def next_one() -> Iterator[Result | None]:
        while not waiting[0].done():
            if not wait([waiting[0]], timeout=PAUSE).done:
                yield None
        yield waiting.popleft().result()

    try:
        for item in items:
            if item is not None:
                waiting.append(submit(item))
            while waiting and (len(waiting) > depth or (item is None and waiting[0].done())):
                yield from next_one()
        while waiting:
            yield from next_one()
    finally:
        for future in waiting:
            future.cancel()


def groups(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """Yield lists of `size` consecutive items, the last one possibly shorter."""
    items = iter(items)
    while group := list(itertools.islice(items, size)):
        yield group
