"""What is kept in order beside serving: what expired is removed, its space freed, a local copy made, the log merged."""

from __future__ import annotations

import asyncio
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from datetime import UTC, datetime

import structlog

from featurestore.config import Config
from featurestore.online import OnlineStore
from featurestore.online.local_copy import LocalCopy
from featurestore.online.upkeep import compact, expire
from featurestore.serving.log_merging import LogMerger
from featurestore.serving.one_worker import OneWorker
from featurestore.serving.runtime import Runtime

#: Between two steps, in which requests are answered.
_REST_SECONDS = 0.01

_logger = structlog.get_logger(__name__)


class _Task(ABC):
    """What one worker of a machine does, from time to time, in a thread.

    Args:
        config: says where the lock is, beside the serving log.
        lock: the name of its file.
    """

    def __init__(self, config: Config, lock: str) -> None:
        self._one = OneWorker(config.path(config.serving.log_path) / lock)
        self._ending = threading.Event()

    async def turn(self) -> None:
        """Do what is to be done, if no other worker does it."""
        await asyncio.to_thread(self._turn)

    def close(self) -> None:
        """End a turn that is under way, and let others do the next one."""
        self._ending.set()
        self._one.close()

    def _turn(self) -> None:
        if self._one.first():
            self._work(lambda: self._ending.wait(_REST_SECONDS))

    @abstractmethod
    def _work(self, rest: Callable[[], bool]) -> None:
        """Do it; ``rest`` waits between two steps, and returns whether to end."""


class Upkeep(_Task):
    """Removes rows that no live version may serve any more, and writes the file anew when most of it is free.

    Args:
        runtime: tells which versions are live.
        store: the live online store.
    """

    def __init__(self, runtime: Runtime, store: OnlineStore) -> None:
        super().__init__(runtime.config, "upkeep.lock")
        self._runtime = runtime
        self._store = store

    def _work(self, rest: Callable[[], bool]) -> None:
        removed = expire(self._store, self._runtime.longest_ttls(), datetime.now(UTC), rest=rest)
        if removed:
            _logger.info("expired rows removed", rows=removed)
        if not self._ending.is_set() and compact(self._store):
            _logger.info("online store written anew, as most of its file was free")


class Merging(_Task):
    """Merges the small files of the serving log.

    Args:
        config: says where it is.
    """

    def __init__(self, config: Config) -> None:
        super().__init__(config, "merging.lock")
        self._merger = LogMerger(config.path(config.serving.log_path))

    def _work(self, rest: Callable[[], bool]) -> None:
        self._merger.turn(rest=rest)


class Copying(_Task):
    """Copies the online store to this machine's disk, to be served from there while the store is away.

    Args:
        runtime: tells which versions are live.
        store: the live online store.
        copy: the copy.
    """

    def __init__(self, runtime: Runtime, store: OnlineStore, copy: LocalCopy) -> None:
        super().__init__(runtime.config, "local-copy.lock")
        self._runtime = runtime
        self._store = store
        self._copy = copy

    def _work(self, rest: Callable[[], bool]) -> None:
        self._copy.fill(self._store, self._runtime.longest_ttls().keys(), rest=rest)
