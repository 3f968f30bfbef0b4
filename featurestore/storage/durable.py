"""What outlives the machine: written to the disk, not only to the system."""

from __future__ import annotations

import os
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
