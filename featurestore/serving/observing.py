"""What a worker tells of itself, as the settings want it: metrics to its parent, an access log, traces."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from multiprocessing.connection import Connection

from featurestore.config import Config
from featurestore.serving.access_log import STANDARD_ERROR, AccessLog, CallerOf, nobody
from featurestore.serving.call_queue import CallQueue
from featurestore.serving.metrics.samples import Source
from featurestore.serving.observer import Observer
from featurestore.serving.rpc.tracing import Tracing


class Observing:
    """Observes one worker; in its event loop.

    Args:
        config: the configuration.
        line: takes the samples of its metrics; None where nobody wants them.
        caller_of: knows callers by what comes with their calls.

    Attributes:
        watcher: watches the calls; None if nobody wants to know of them.

    Raises:
        ConfigError: the access log cannot be written, or what traces need is not installed.
    """

    def __init__(self, config: Config, line: Connection | None, caller_of: CallerOf = nobody) -> None:
        settings = config.serving
        self._line = line
        self._sources: list[Source] = []
        self._queues: list[CallQueue] = []
        self._closers: list[Callable[[], None]] = []
        if settings.access_log:
            file = None if settings.access_log == STANDARD_ERROR else config.path(settings.access_log)
            log = AccessLog(file, caller_of)
            self._queues.append(CallQueue("access_log", log, capacity=settings.log_queue))
            self._closers.append(log.close)
        if settings.tracing:
            tracing = Tracing()
            self._queues.append(CallQueue("tracing", tracing, capacity=settings.log_queue))
            self._closers.append(tracing.close)
        self.watcher = Observer(self._queues) if line is not None or self._queues else None
        if self.watcher is not None:
            self._sources.append(self.watcher.samples)

    def add(self, source: Source) -> None:
        """Take one more source of samples."""
        self._sources.append(source)

    async def publish(self) -> None:
        """Tell the parent how everything stands."""
        if self._line is None:
            return
        samples = [sample for source in self._sources for sample in source()]
        try:
            await asyncio.to_thread(self._line.send, samples)
        except OSError:  # the parent has gone, and so will this worker
            self._line = None

    def close(self) -> None:
        """Write down what waits."""
        for queue in self._queues:
            queue.close()
        for close in self._closers:
            close()
