"""One monitor at a time on one file: the system frees the lock when its process ends, however it ends.

For SQLite, where a lease would be worse: its database is on one host, whose kernel knows at once that a process has
ended, gives the lock to nobody else before, and leaves it with a process that is only stopped. So there is nothing to
wait out and nothing to fence.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from sqlalchemy import Connection


class FileLock:
    """The lock beside a database, to be taken; close it in the end.

    Args:
        database: the file.
    """

    def __init__(self, database: Path) -> None:
        # Not truncated when opened: it may hold the pid of another process.
        self._descriptor = os.open(database.with_name(f"{database.name}.lock"), os.O_RDWR | os.O_CREAT, 0o644)

    def take(self) -> bool:
        """Take the lock and write our pid; return whether nobody else has it."""
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, f"{os.getpid()}\n".encode(), 0)
        return True

    def holder(self) -> str:
        """Return who has it: ``pid 4711``."""
        return f"pid {os.pread(self._descriptor, 32, 0).decode(errors='replace').strip() or 'unknown'}"

    def valid(self) -> bool:
        """Return whether it is still ours: nothing takes it away."""
        return True

    def lost(self) -> bool:
        """Return whether another one has taken it: nobody can."""
        return False

    def fence(self, connection: Connection) -> None:
        """Begin a transaction of the holder: it may always write."""

    def close(self) -> None:
        """Give it back, if it is ours."""
        os.close(self._descriptor)
