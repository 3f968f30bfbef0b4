"""Work on the items of an iterator by several threads, without getting far ahead of them."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any


def in_threads(work: Callable[..., None], items: Iterable[tuple[Any, ...]], threads: int) -> None:
    """Call ``work`` with each item's values; the first error ends it.

    Args:
        work: lets go of the interpreter for most of its time.
        items: taken by this thread alone, and no more of them at once than two for each thread.
        threads: how many; 0 is as many as there are cores.
    """
    workers = threads or os.cpu_count() or 1
    waiting: deque[Future[None]] = deque()
    with ThreadPoolExecutor(workers) as pool:
        try:
            for item in items:
                waiting.append(pool.submit(work, *item))
                if len(waiting) > 2 * workers:
                    waiting.popleft().result()
            while waiting:
                waiting.popleft().result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
