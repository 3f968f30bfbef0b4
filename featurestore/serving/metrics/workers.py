"""The workers' samples in their parent, added up so that no counter goes back when a worker dies."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from multiprocessing.connection import Connection, wait

from featurestore.serving.metrics.samples import Metric, Sample, Totals

WORKERS = Metric(name="featurestore_workers", help="Server processes that are at work.", kind="gauge")
DIED = Metric(
    name="featurestore_workers_died_total",
    help="Server processes that ended unasked; another one was started for each.",
    kind="counter",
)

#: A worker that is new is heard within this.
_WAIT_SECONDS = 0.2


class WorkersTotals:
    """Listens to workers in a thread, and adds up what they last said.

    A worker says everything about once a second; what one that dies counted since is lost.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._said: dict[Connection, Sequence[Sample]] = {}
        self._ended = Totals()
        self._died = 0
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._listen, name="workers-totals", daemon=True)
        self._thread.start()

    def follow(self, line: Connection) -> None:
        """Listen to one more worker; its line is closed here when it ends."""
        with self._lock:
            self._said[line] = ()

    def samples(self) -> list[Sample]:
        """Return the sums over all workers there ever were; gauges of those that are at work."""
        total = Totals()
        with self._lock:
            total.add(self._ended.samples())
            for samples in self._said.values():
                total.add(samples)
            total.add([WORKERS.sample(len(self._said)), DIED.sample(self._died)])
        return total.samples()

    def close(self) -> None:
        """Listen no more."""
        self._closing.set()
        self._thread.join()
        for line in self._said:
            line.close()

    def _listen(self) -> None:
        while not self._closing.is_set():
            with self._lock:
                lines = list(self._said)
            if not lines:
                self._closing.wait(_WAIT_SECONDS)
            for line in wait(lines, timeout=_WAIT_SECONDS) if lines else ():
                assert isinstance(line, Connection)  # noqa: S101 - nothing else was waited for
                self._hear(line)

    def _hear(self, line: Connection) -> None:
        try:
            samples = line.recv()
        except (EOFError, OSError):  # the worker has ended; killed while it spoke, it is a half message
            with self._lock:
                self._ended.add(one for one in self._said.pop(line) if one.metric.kind != "gauge")
                self._died += 1
            line.close()
            return
        with self._lock:
            self._said[line] = samples
