"""Work that is done again and again, until somebody ends it."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def next_start(first: float, period: float, now: float) -> float:
    """Return when to begin next: a whole number of periods after the first time, whatever the runs took.

    A run that takes longer than a period makes the next one wait for its turn, and none is made up for.

    >>> next_start(100.0, 60.0, 130.0)
    160.0
    >>> next_start(100.0, 60.0, 221.0)
    280.0
    """
    return first + (int((now - first) // period) + 1) * period


@contextmanager
def ended_by_signals() -> Iterator[threading.Event]:
    """Yield an event that Ctrl-C or SIGTERM sets while the block runs; in the main thread."""
    stop = threading.Event()
    before = {number: signal.signal(number, lambda *_: stop.set()) for number in _SIGNALS}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def again_and_again(work: Callable[[], bool], seconds: float, stop: threading.Event) -> bool:
    """Do work at once and then every so many seconds, one run after the other, until ``stop`` is set.

    Args:
        work: returns whether it went well.
        seconds: from one start to the next.
        stop: ends the waiting; work that is under way looks at it itself.

    Returns:
        Whether the last run went well.
    """
    first = time.monotonic()
    while True:
        well = work()
        if stop.wait(max(0.0, next_start(first, seconds, time.monotonic()) - time.monotonic())):
            return well
