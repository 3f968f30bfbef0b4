"""Who alone may write the files of a folder anew: a merge beside an erasure would bring erased rows back."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def rewriting(folder: Path, *, wait: bool) -> Iterator[bool]:
    """Hold the files of a folder against others that would write them anew.

    Args:
        folder: of one service, or of one kind and model; it is there.
        wait: whether to wait until nobody else holds it.

    Yields:
        Whether it is held; always if it was waited for.
    """
    with (folder / "lock").open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True
