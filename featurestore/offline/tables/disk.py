"""How much room the disk has left."""

from __future__ import annotations

import shutil
from pathlib import Path

_MB = 1_000_000


def low_disk(folder: Path, least_mb: int) -> str | None:
    """Return a sentence if the disk of a folder has little room left; None if it has enough.

    Args:
        folder: it, or the nearest folder above that there is.
        least_mb: what is enough, in millions of bytes.
    """
    there = next((one for one in (folder, *folder.parents) if one.exists()), folder)
    free = shutil.disk_usage(there).free
    if free >= least_mb * _MB:
        return None
    return f"the disk is nearly full: {free // _MB:,} MB are left in {folder}, under low_disk_mb = {least_mb:,}"
