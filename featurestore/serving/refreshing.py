"""A look at the registry before somebody is told that there is no such service."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from featurestore.errors import FeatureStoreError

#: Between two looks: whoever asks for names that there are not must not keep the registry busy.
_REST_SECONDS = 0.1


class Refreshing:
    """Looks again, once for all who wait.

    Workers look at the registry each by itself, about once a second. Another one may have answered with a version that
    this one does not know yet, and the client asks this one for its schema.

    Args:
        look: takes in what is registered; in a thread.
    """

    def __init__(self, look: Callable[[], None]) -> None:
        self._look = look
        self._next: asyncio.Task[None] | None = None
        self._looked_at = 0.0

    async def __call__(self) -> None:
        """Return when what was registered before this call is taken in; also if the registry is away."""
        if self._next is None:
            self._next = asyncio.create_task(self._go())
        # One that is cancelled must not take the others along.
        await asyncio.shield(self._next)

    async def _go(self) -> None:
        await asyncio.sleep(max(0.0, self._looked_at + _REST_SECONDS - time.monotonic()))
        self._next = None  # who comes from now on may ask for what this look misses
        self._looked_at = time.monotonic()
        try:
            await asyncio.to_thread(self._look)
        except FeatureStoreError:  # the task beside the server tells of it
            return
