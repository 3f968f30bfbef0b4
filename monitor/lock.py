"""One monitor at a time on one database: the system frees the lock when its process ends, however it ends."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from featurestore.errors import MonitorError


@contextmanager
def sole_monitor(database: Path) -> Iterator[None]:
    """Hold the lock beside a database while the block runs.

    Raises:
        MonitorError: another process holds it; the message names its pid.
    """
    file = database.with_name(f"{database.name}.lock")
    # Not truncated when opened: it may hold the pid of another process.
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(descriptor, 32).decode(errors="replace").strip() or "unknown"
            raise MonitorError(
                f"Another monitor (pid {holder}) works on {database}.",
                hint="It does the same; see featurestore monitor status. To take over, stop it first.",
            ) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)
