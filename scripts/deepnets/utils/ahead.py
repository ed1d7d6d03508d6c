"""Work in threads or processes, of which little is done ahead of what is used."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from typing import TypeVar

Item = TypeVar("Item")
Done = TypeVar("Done")


def map_ahead(pool: Executor, work: Callable[[Item], Done], items: Iterable[Item], most: int) -> Iterator[Done]:
    """Yield `work(item)` of each item, in their order.

    Args:
        pool: that does the work.
        work: what is done with an item.
        items: read only as they are needed.
        most: items that are handed out and not yet used, so that memory stays bounded however slow the caller is.
    """
    waiting = deque[Future[Done]]()
    for item in items:
        waiting.append(pool.submit(work, item))
        if len(waiting) >= most:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()
