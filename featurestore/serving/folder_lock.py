"""Who alone may write the files of a folder anew: a merge beside an erasure would bring erased rows back."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from featurestore.errors import OfflineStoreError


@contextmanager
def rewriting(folder: Path, *, wait: bool) -> Iterator[bool]:
    """Hold the files of a folder against others that would write them anew.

    Args:
        folder: of one service, or of one kind and model; it is there.
        wait: whether to wait until nobody else holds it.

    Yields:
        Whether it is held; always if it was waited for.

    Raises:
        OfflineStoreError: there is no lock, and none can be made.
    """
    with _opened(folder / "lock") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True


def _opened(lock: Path) -> IO[str]:
    try:
        return lock.open("a")
    except PermissionError as error:
        with suppress(OSError):  # made by another user: to hold it, it is enough to read it
            return lock.open("r")
        raise _refused(lock, error) from error
    except OSError as error:
        raise _refused(lock, error) from error


def _refused(lock: Path, error: OSError) -> OfflineStoreError:
    return OfflineStoreError(
        f"{lock} cannot be made: {error.strerror or error}. It keeps others from writing the files beside it anew.",
        hint="Do it as the user that runs the servers, or give yours the right to write there.",
    )
