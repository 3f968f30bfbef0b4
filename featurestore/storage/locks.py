"""A lock beside a table or another folder, whoever else works there.

On a disk the system keeps it, and frees it when the process ends, however it ends. In object storage it is an object
that the store lets only one writer make. Its holder writes it anew every few seconds; one that does not, as it was
killed, loses it to the first who has watched it lie unchanged for long enough, by that one's own clock.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from featurestore.errors import OfflineStoreError, TableConflictError
from featurestore.storage.object_path import ObjectPath
from featurestore.storage.places import StoragePath

#: A holder says that it lives so often, and is taken for dead after so long without.
_BEAT_SECONDS = 5.0
_DEAD_SECONDS = 30.0
_POLL_SECONDS = 0.5


@contextmanager
def alone(table: StoragePath) -> Iterator[None]:
    """Hold the lock of a table or another folder.

    Raises:
        OfflineStoreError: object storage refuses.
        TableConflictError: at the end of the block, if another has taken the lock for abandoned meanwhile.
    """
    if isinstance(table, Path):
        with _alone_here(table):
            yield
        return
    lease = _Lease(table.with_name(f".{table.name}.lock"))
    lease.take()
    try:
        yield
    finally:
        lost = lease.release()
    if lost:
        raise TableConflictError(
            f"The lock of {table} was taken over while it was held, as its holder did not answer for "
            f"{_DEAD_SECONDS:g} seconds.",
            hint="Look whether another load brought the same values, and do it again.",
        )


@contextmanager
def _alone_here(table: Path) -> Iterator[None]:
    table.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(table.with_name(f".{table.name}.lock"), os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


class _Lease:
    """A lock that is an object.

    Args:
        path: the object.
    """

    def __init__(self, path: ObjectPath) -> None:
        self._path = path
        self._me = f"{socket.gethostname()}.{os.getpid()}.{uuid.uuid4().hex}"
        self._beats = 0
        self._tag: str | None = None
        self._done = threading.Event()
        self._thread: threading.Thread | None = None

    def take(self) -> None:
        """Wait until it is ours."""
        seen, since = "", time.monotonic()
        while True:
            found = self._present()
            if found is None:
                if self._write(None):
                    break
                continue
            if found != seen:
                seen, since = found, time.monotonic()
            elif time.monotonic() - since > _DEAD_SECONDS and self._write(found):
                break
            time.sleep(_POLL_SECONDS)
        self._thread = threading.Thread(target=self._live, name="featurestore-lock", daemon=True)
        self._thread.start()

    def release(self) -> bool:
        """Let it go; return whether it was lost before."""
        self._done.set()
        if self._thread is not None:
            self._thread.join()
        with contextlib.suppress(OfflineStoreError):  # then it is taken over when it has lain long enough
            if self._present() == self._tag:
                self._path.unlink(missing_ok=True)
        return self._tag is None

    def _live(self) -> None:
        while self._tag is not None and not self._done.wait(_BEAT_SECONDS):
            # The store may be away for a moment: the next beat tells who holds it.
            with contextlib.suppress(OfflineStoreError):
                self._write(self._tag)

    def _present(self) -> str | None:
        import obstore

        try:
            with self._path.bucket.errors(str(self._path), "read"):
                return str(obstore.head(self._path.bucket.store, self._path.key)["e_tag"])
        except FileNotFoundError:
            return None

    def _write(self, before: str | None) -> bool:
        """Write it if it is still what it was: absent, or of that tag; return whether it is ours then."""
        import obstore

        self._beats += 1
        said = json.dumps({"holder": self._me, "beat": self._beats}).encode()
        try:
            with self._path.bucket.errors(str(self._path), "written"):
                done = obstore.put(
                    self._path.bucket.store,
                    self._path.key,
                    said,
                    mode="create" if before is None else {"e_tag": before},
                )
        except (FileExistsError, FileNotFoundError):
            self._tag = None
            return False
        self._tag = str(done["e_tag"])
        return True
