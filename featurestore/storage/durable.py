"""What outlives the machine: written to the disk, not only to the system."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


def sync(path: Path) -> None:
    """Have on the disk what was written of a file; or of a folder, the names in it.

    Raises:
        OSError: the disk refuses.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def whole(target: Path) -> Iterator[Path]:
    """Give the path of a part to write; afterwards it is the target, on the disk under its name.

    If the block raises, there is no part left, and the target is as it was.

    Raises:
        OSError: the disk refuses.
    """
    # The process in the name tells an erasure whether whoever wrote the part still lives.
    part = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        yield part
        sync(part)
        part.replace(target)
        sync(target.parent)
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)
