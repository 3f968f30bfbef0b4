"""One monitor at a time on one database: the system frees the lock when its process ends, however it ends."""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from featurestore.errors import MonitorError

#: How often a monitor that stands by tries to take over.
_TURN_SECONDS = 0.5


@contextmanager
def sole_monitor(database: Path) -> Iterator[None]:
    """Hold the lock beside a database while the block runs.

    Raises:
        MonitorError: another process holds it; the message names its pid.
    """
    with _opened(database) as descriptor:
        if not _taken(descriptor):
            raise MonitorError(
                f"Another monitor (pid {_holder(descriptor)}) works on {database}.",
                hint="It does the same; see featurestore monitor status. To take over, stop it first.",
            )
        yield


@contextmanager
def next_monitor(database: Path, *, stop: threading.Event, waiting: Callable[[str], None]) -> Iterator[bool]:
    """Hold the lock beside a database while the block runs, when its holder's process has ended.

    Args:
        database: the database.
        stop: ends the waiting.
        waiting: told the pid of the holder, when there is one to wait for and when it is another one.

    Yields:
        Whether the lock is held; False when the waiting was ended.
    """
    with _opened(database) as descriptor:
        told = ""
        while not _taken(descriptor):
            holder = _holder(descriptor)
            if holder != told:
                waiting(holder)
                told = holder
            if stop.wait(_TURN_SECONDS):
                yield False
                return
        yield True


@contextmanager
def _opened(database: Path) -> Iterator[int]:
    # Not truncated when opened: it may hold the pid of another process.
    descriptor = os.open(database.with_name(f"{database.name}.lock"), os.O_RDWR | os.O_CREAT, 0o644)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _taken(descriptor: int) -> bool:
    """Take the lock and write our pid; return whether nobody else has it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    return True


def _holder(descriptor: int) -> str:
    return os.pread(descriptor, 32, 0).decode(errors="replace").strip() or "unknown"
