"""Calls that have ended, on their way to whoever writes them down: handed over at once, dealt with in a thread."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import structlog

#: What waits is dealt with so often; it is not worth waking a thread for each call.
_FLUSH_SECONDS = 0.5

_logger = structlog.get_logger(__name__)


class Call(NamedTuple):
    """A call, or a request of a stream, that has ended. It holds no join key and no value.

    Attributes:
        ended_at: nanoseconds since 1970.
        method: ``GetOnlineFeatures``.
        service: the version that answered; empty where none did.
        rows: entity rows.
        code: gRPC's: ``OK``, ``INVALID_ARGUMENT``.
        seconds: how long it took.
        request_id: the request's; empty for one that was refused.
        peer: the address that it came from, as gRPC writes it: ``ipv4:10.0.0.7:51334``.
        metadata: pairs of names and values that came with it; secrets may be among them, so none is written down
            but those that are known.
    """

    ended_at: int
    method: str
    service: str
    rows: int
    code: str
    seconds: float
    request_id: str
    peer: str
    metadata: Sequence[tuple[str, Any]]


#: Deals with calls and returns how many of them it lost.
Sink = Callable[[Sequence[Call]], int]


class CallQueue:
    """Hands calls to a sink in a thread; :meth:`offer` never waits.

    Args:
        name: of the sink, for the log.
        sink: deals with them.
        capacity: calls that may wait; more are dropped and counted.

    Attributes:
        name: the sink's.
    """

    def __init__(self, name: str, sink: Sink, *, capacity: int) -> None:
        self.name = name
        # Each by the thread that counts it, so that no count is lost between the two.
        self._refused = self._lost = 0
        self._sink = sink
        self._capacity = capacity
        self._waiting: deque[Call] = deque()
        self._wake = threading.Event()
        self._closing = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    @property
    def dropped(self) -> int:
        """Calls that the sink never had, or lost."""
        return self._refused + self._lost

    def offer(self, call: Call) -> None:
        """Take a call, unless too many wait."""
        waiting = len(self._waiting)
        if waiting >= self._capacity:
            self._refused += 1
            return
        self._waiting.append(call)
        if waiting * 2 == self._capacity:
            self._wake.set()

    def close(self) -> None:
        """Deal with what waits, and end."""
        self._closing = True
        self._wake.set()
        self._thread.join()

    def _run(self) -> None:
        while True:
            self._wake.wait(_FLUSH_SECONDS)
            self._wake.clear()
            closing = self._closing
            calls = []
            while self._waiting:
                calls.append(self._waiting.popleft())
            if calls:
                self._hand_over(calls)
            if closing:
                return

    def _hand_over(self, calls: Sequence[Call]) -> None:
        try:
            self._lost += self._sink(calls)
        except Exception:  # a thread that ends would lose all that follows
            self._lost += len(calls)
            _logger.exception("calls cannot be written down", to=self.name, calls=len(calls))
