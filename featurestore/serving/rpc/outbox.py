"""Answers of a stream on their way: written in turn while the next requests are read, so that neither waits."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable

#: Bytes that may wait for a slow reader, and answers that may be owed, before no more of its requests are read.
_MOST_BYTES = 1 << 20
_MOST_OWED = 100


class Outbox:
    """Writes the answers of one call, in order; made in the task that answers it.

    Args:
        write: writes one, and returns once the connection has taken it.
    """

    def __init__(self, write: Callable[[bytes], Awaitable[None]]) -> None:
        self._write = write
        self._waiting: deque[bytes] = deque()
        self._bytes = 0
        self._owed = 0
        self._closing = False
        self._loop = asyncio.get_running_loop()
        #: What the writer waits for when it has nothing to do, and the reader when too much waits.
        self._more: asyncio.Future[None] | None = None
        self._less: asyncio.Future[None] | None = None
        self._writer = self._loop.create_task(self._run())

    def owe(self) -> bool:
        """Say that one more answer will be put, and return whether so much waits that no more should be owed."""
        self._owed += 1
        return self._owed > _MOST_OWED or self._bytes > _MOST_BYTES

    def put(self, answer: bytes) -> None:
        """Add an answer that is owed."""
        self._owed -= 1
        self._waiting.append(answer)
        self._bytes += len(answer)
        if self._more is not None:
            _wake(self._more)

    @property
    def _full(self) -> bool:
        return self._bytes > _MOST_BYTES or self._owed > _MOST_OWED

    async def room(self) -> None:
        """Wait until less waits, or nothing can be written any more."""
        while self._full and not self._writer.done():
            self._less = self._loop.create_future()
            await self._less

    async def flush(self) -> None:
        """Wait until everything that is owed is written; no more may be.

        Raises:
            Exception: what :attr:`write` raises.
        """
        self._closing = True
        if self._more is not None:
            _wake(self._more)
        await self._writer

    async def discard(self) -> None:
        """Write no more, whatever waits; does nothing after :meth:`flush`."""
        self._writer.cancel()
        await asyncio.wait((self._writer,))
        if not self._writer.cancelled():
            self._writer.exception()  # the call is over, and so has been told why

    async def _run(self) -> None:
        try:
            while True:
                while self._waiting:
                    answer = self._waiting.popleft()
                    await self._write(answer)
                    self._bytes -= len(answer)
                    if self._less is not None and not self._full:
                        _wake(self._less)
                if self._closing and not self._owed:
                    return
                self._more = self._loop.create_future()
                await self._more
                self._more = None
        finally:
            if self._less is not None:
                _wake(self._less)


def _wake(waiting: asyncio.Future[None]) -> None:
    if not waiting.done():
        waiting.set_result(None)
