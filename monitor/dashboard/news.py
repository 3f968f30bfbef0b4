"""News: one look at the marker for all pages that are open, and a stream of events for each of them."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress

#: How often somebody looks, in seconds, while a page is open anywhere.
LOOK_SECONDS = 0.5
#: How long a page has at least from one change to the next, in seconds: each is a page that is read again.
GAP_SECONDS = 1.2
#: Over how long the open pages are told of one change, in seconds: they would all be fetched at one instant.
SPREAD_SECONDS = 0.6
#: Where in that time a stream is told, the next one this much later: evenly, however many there are.
_GOLDEN = 0.618034
#: How often a stream says that it is alive, in seconds, so that whoever has lost it knows.
ALIVE_SECONDS = 10.0


class News:
    """Tells streams of a new marker; all of it in one event loop.

    Args:
        look: returns the marker of now.
        most: streams at once.
    """

    def __init__(self, look: Callable[[], Awaitable[str]], *, most: int) -> None:
        self._look = look
        self._most = most
        self._streams = 0
        self._opened = 0
        self._marker = ""
        self._changed = asyncio.Condition()
        self._looking: asyncio.Task[None] | None = None
        self._ended = False

    @property
    def full(self) -> bool:
        """Whether there is no room for another stream."""
        return self._streams >= self._most

    async def stream(self, since: str, stays: Callable[[], Awaitable[bool]]) -> AsyncIterator[str]:
        """Yield the lines of a stream of events: ``changed`` with the new marker, as often as there is one.

        Args:
            since: the marker of what the page shows.
            stays: whether whoever listens still may; asked now and then.
        """
        self._streams += 1
        later = self._opened * _GOLDEN % 1 * SPREAD_SECONDS
        self._opened += 1
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._keep_looking())
        try:
            # The browser comes back after so many milliseconds.
            yield "retry: 1000\n\n"
            told = -math.inf
            while not self._ended and await stays():
                if await self._differs(since):
                    await self._pass(max(told + GAP_SECONDS - time.monotonic(), later))
                    since, told = self._marker, time.monotonic()
                    yield f"event: changed\ndata: {since}\n\n"
                else:
                    yield "event: alive\ndata: \n\n"
        finally:
            self._streams -= 1
            if not self._streams and self._looking is not None:
                self._looking.cancel()
                self._looking = None

    async def end(self) -> None:
        """End every stream."""
        self._ended = True
        async with self._changed:
            self._changed.notify_all()

    async def _differs(self, since: str) -> bool:
        """Wait for another marker for a while, and return whether it came."""
        try:
            async with asyncio.timeout(ALIVE_SECONDS), self._changed:
                await self._changed.wait_for(lambda: self._ended or self._marker not in ("", since))
        except TimeoutError:
            return False
        return not self._ended

    async def _pass(self, seconds: float) -> None:
        """Wait for so long, or until every stream is to end."""
        if seconds > 0:
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds), self._changed:
                    await self._changed.wait_for(lambda: self._ended)

    async def _keep_looking(self) -> None:
        while True:
            marker = await self._look()
            if marker != self._marker:
                self._marker = marker
                async with self._changed:
                    self._changed.notify_all()
            await asyncio.sleep(LOOK_SECONDS)
