"""Work done ahead of its use: what lets reading, computing and writing happen at the same time."""

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
    stops early cancels what has not begun. Signals are heard while it waits. No result may be None.
    """
    return (result for result in ahead_or_none(submit, items, depth) if result is not None)


def ahead_or_none(
    submit: Callable[[Item], Future[Result]], items: Iterable[Item | None], depth: int
) -> Iterator[Result | None]:
    """As `ahead`, and None whenever `PAUSE` seconds pass without the next result.

    An item that is None says the same of a stage before: then those results come that are there, whose turn
    would be at the next item.

    Python handles signals between bytecodes of the main thread. One that another thread of the process
    receives, or that comes just as the main thread goes to wait, doesn't end the waiting: hence the pauses.
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
    """Lists of `size` neighbours, the last one shorter."""
    items = iter(items)
    while group := list(itertools.islice(items, size)):
        yield group
