"""One look at the events of signals for all who watch them.

A watcher is a cursor and nothing else: however slow it is, it holds no more than the page that it is being sent. Those
that keep up are served from the newest events, which are kept here once; those that come back from far behind read
their pages from the database, a few of them at a time.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

from featurestore.errors import InvalidRequestError

#: Events of one page: what a watcher holds at most.
PAGE = 64
#: The newest events, kept for those that keep up.
KEPT = 512
#: How many watchers read from the database at once.
_READERS = 2

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Event:
    """One event in the life of a signal, as it is sent.

    Attributes:
        cursor: its place among all events; they become visible in its order.
        service: of the signal: ``flight_delay@1``.
        data: a serialized ``featurestore.v1.WatchSignalsResponse``.
    """

    cursor: int
    service: str
    data: bytes


class Feed:
    """The events, as they come; for the coroutines of one event loop.

    Args:
        read: returns the events after a cursor, in order, at most so many; it is called in threads.
        newest: returns the cursor of the newest event, 0 if there is none.
    """

    def __init__(self, read: Callable[[int, int], Sequence[Event]], newest: Callable[[], int]) -> None:
        self._read = read
        self._kept: deque[Event] = deque(maxlen=KEPT)
        #: Every event after it, up to the newest that was seen, is kept.
        self._since = self._newest = newest()
        self._threads = ThreadPoolExecutor(_READERS, thread_name_prefix="signals")
        self._looking = asyncio.Lock()
        self._came = asyncio.Event()

    def close(self) -> None:
        """Wait for the reads that are under way."""
        self._threads.shutdown()

    async def look(self) -> None:
        """Take in what has come, and wake those who wait for it."""
        async with self._looking:
            while found := await self._run(self._read, self._newest, PAGE):
                for event in found:
                    if len(self._kept) == KEPT:
                        self._since = self._kept[0].cursor
                    self._kept.append(event)
                self._newest = found[-1].cursor
                self.wake()

    def wake(self) -> None:
        """Wake those who wait, so that they look around."""
        came, self._came = self._came, asyncio.Event()
        came.set()

    async def check(self, cursor: int) -> None:
        """Check that a cursor is one of these events'.

        Raises:
            InvalidRequestError: it lies after the newest: it is of another database, and its owner would wait for ever.
        """
        if cursor > self._newest:
            await self.look()
        if cursor > self._newest:
            raise InvalidRequestError(
                f"There is no event {cursor:,} here: the newest is {self._newest:,}.",
                hint="The cursor is of another database of the monitor. Begin anew, with 0.",
                field="after",
            )

    async def after(self, cursor: int) -> Sequence[Event]:
        """Return a page of the events after a cursor, in order; empty if there is none yet."""
        if cursor >= self._newest:
            return ()
        if cursor < self._since:
            return await self._run(self._read, cursor, PAGE)
        page = []
        for event in reversed(self._kept):
            if event.cursor <= cursor:
                break
            page.append(event)
        return page[::-1][:PAGE]

    async def come(self, cursor: int, seconds: float) -> None:
        """Wait until there is an event after a cursor, or so long."""
        if cursor >= self._newest:
            try:
                await asyncio.wait_for(self._came.wait(), seconds)
            except TimeoutError:
                return

    async def _run(self, work: Callable[[int, int], Sequence[Event]], after: int, limit: int) -> Sequence[Event]:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work, after, limit)
