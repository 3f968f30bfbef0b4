"""Watches the calls of one worker: counts each, keeps some to look at, and hands all to whoever writes them down."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any

from featurestore.serving.call_queue import Call, CallQueue
from featurestore.serving.lookup import LogEntry
from featurestore.serving.metrics.calls import CallCounts
from featurestore.serving.metrics.rows import ServedRows
from featurestore.serving.metrics.samples import Metric, Sample

DROPPED = Metric(
    name="featurestore_call_records_dropped_total",
    help="Calls that are missing in the access log, or in traces: too many waited, or they could not be written.",
    kind="counter",
    labels=("sink",),
)


class Observer:
    """A :class:`~featurestore.serving.rpc.server.Watcher`.

    Args:
        queues: lead to those who write calls down.
    """

    def __init__(self, queues: Sequence[CallQueue] = ()) -> None:
        self._queues = queues
        self._counts = CallCounts()
        self._rows = ServedRows()

    def answered(self, method: str, entry: LogEntry | None, seconds: float, context: Any) -> None:
        """See :class:`~featurestore.serving.rpc.server.Watcher`."""
        if entry is None:
            self._counts.answered(method, "", 0, seconds)
        else:
            self._counts.answered(method, entry.plan.id, entry.row_count, seconds)
            self._rows.answered(entry)
            if entry.complete_to is not None:
                self._counts.stale(entry.plan.id)
        if self._queues:
            self._hand_over(method, entry, "OK", seconds, context)

    def refused(self, method: str, code: str, seconds: float, context: Any) -> None:
        """See :class:`~featurestore.serving.rpc.server.Watcher`."""
        self._counts.refused(method, code)
        if self._queues:
            self._hand_over(method, None, code, seconds, context)

    def samples(self) -> Iterator[Sample]:
        """Yield what was counted."""
        yield from self._counts.samples()
        yield from self._rows.samples()
        for queue in self._queues:
            yield DROPPED.sample(queue.dropped, queue.name)

    def _hand_over(self, method: str, entry: LogEntry | None, code: str, seconds: float, context: Any) -> None:
        service, rows, request_id = ("", 0, "") if entry is None else (entry.plan.id, entry.row_count, entry.request_id)
        metadata = context.invocation_metadata() or ()
        call = Call(time.time_ns(), method, service, rows, code, seconds, request_id, context.peer(), metadata)
        for queue in self._queues:
            queue.offer(call)
