"""Work that one worker of a machine does for all: the first that comes, for as long as it lives; another follows it."""

from __future__ import annotations

import fcntl
from pathlib import Path
from typing import IO


class OneWorker:
    """Whether this worker is the one.

    Args:
        lock: a file that all of them name.
    """

    def __init__(self, lock: Path) -> None:
        self._lock = lock
        self._held: IO[str] | None = None

    def first(self) -> bool:
        """Return whether it is, from now on."""
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

    def close(self) -> None:
        """Leave it to another one."""
        if self._held is not None:
            self._held.close()
