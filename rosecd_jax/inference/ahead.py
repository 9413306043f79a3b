"""Work done ahead of its use: what lets reading, computing and writing go on at the same time."""

import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def ahead(submit: Callable[[Item], Future[Result]], items: Iterable[Item], depth: int) -> Iterator[Result]:
    """The results of `submit` for all items, in order, `depth` of them under way while one is used.

    Chained, such iterators are a pipeline whose stages run at once and hold no more than they need. Whoever
    stops early cancels what has not begun.
    """
    waiting: deque[Future[Result]] = deque()
    try:
        for item in items:
            waiting.append(submit(item))
            if len(waiting) > depth:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for future in waiting:
            future.cancel()


def groups(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """Lists of `size` neighbours, the last one shorter."""
    items = iter(items)
    while group := list(itertools.islice(items, size)):
        yield group
