"""The upkeep of the online store beside serving: one worker at a time removes what expired, and frees its space."""

from __future__ import annotations

import asyncio
import fcntl
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

import structlog

from featurestore.online import OnlineStore
from featurestore.online.upkeep import compact, expire
from featurestore.serving.runtime import Runtime

#: Between two steps, in which requests are answered.
_REST_SECONDS = 0.01

_logger = structlog.get_logger(__name__)


class Upkeep:
    """Removes rows that no live version may serve any more, and writes the file anew when most of it is free.

    The first worker that comes does it for as long as it lives; another one follows it.

    Args:
        runtime: tells which versions are live.
        store: the live online store.
    """

    def __init__(self, runtime: Runtime, store: OnlineStore) -> None:
        self._runtime = runtime
        self._store = store
        self._lock: Path = runtime.config.path(runtime.config.serving.log_path) / "upkeep.lock"
        self._held: IO[str] | None = None
        self._ending = threading.Event()

    async def turn(self) -> None:
        """Do what is to be done, if no other worker does it."""
        await asyncio.to_thread(self._turn)

    def close(self) -> None:
        """End a turn that is under way, and let others do the next one."""
        self._ending.set()
        if self._held is not None:
            self._held.close()

    def _turn(self) -> None:
        if not self._first():
            return
        removed = expire(
            self._store, self._runtime.longest_ttls(), datetime.now(UTC), rest=lambda: self._ending.wait(_REST_SECONDS)
        )
        if removed:
            _logger.info("expired rows removed", rows=removed)
        if not self._ending.is_set() and compact(self._store):
            _logger.info("online store written anew, as most of its file was free")

    def _first(self) -> bool:
        """Return whether this worker is the one that does it."""
        if self._held is None:
            # The system frees the lock when the process ends, however it ends.
            self._lock.parent.mkdir(parents=True, exist_ok=True)
            file = self._lock.open("a")
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                file.close()
                return False
            self._held = file
        return True
