"""The files of a serving log, and which of them count.

``<worker>-v<version>-<number>.parquet`` is one write of a worker, by the version of the service; its numbers ascend.
``<worker>-v<version>-<first>-<last>.parquet`` is what writes of these numbers became when they were merged
(:mod:`featurestore.serving.log_merging`). For a while what was merged lies beside it, for those that are reading:
whoever lists files leaves it out, so that each row counts once at any instant. Files with other names are never merged.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

_NAME = re.compile(r"([0-9a-f]+)-v(\d+)-(\d+)(?:-(\d+))?\.parquet")
#: Dashes in the name of a file that was merged.
_DASHES = 3


class Writes(NamedTuple):
    """Which writes a file has.

    Attributes:
        worker: whose.
        version: of the service.
        first: the number of the first one.
        last: the number of the last one; the same in a file that is one write.
    """

    worker: str
    version: str
    first: int
    last: int

    def hold(self, other: Writes) -> bool:
        """Return whether the writes of another file of the same worker and version are among these."""
        return self.first <= other.first and other.last <= self.last

    @property
    def many(self) -> int:
        """How many writes it has, at most: the number of one that failed is not given again."""
        return self.last - self.first + 1


def name_of(writes: Writes) -> str:
    """Return the name of the file that has some writes."""
    last = f"-{writes.last:08d}" if writes.many > 1 else ""
    return f"{writes.worker}-v{writes.version}-{writes.first:08d}{last}.parquet"


def writes_of(name: str) -> Writes | None:
    """Return which writes a file has by its name; None if the name does not say it."""
    found = _NAME.fullmatch(name)
    if found is None:
        return None
    worker, version, first, last = found.groups()
    return Writes(worker, version, int(first), int(last or first))


def counted(files: Iterable[str]) -> list[str]:
    """Return those of the files of one service whose rows count: all but those that were merged into another one.

    Args:
        files: their paths, as one listing has them.

    Returns:
        Paths in their order.
    """
    listed = list(files)
    if not any(file.rpartition("/")[2].count("-") == _DASHES for file in listed):
        return listed
    merged = set(_merged(listed))
    return [file for file in listed if file not in merged]


def reached_by(names: Iterable[str]) -> dict[tuple[str, str, str], int]:
    """Return by folder, worker and version of a service the number of the last write that some files have.

    Args:
        names: of the files, with their folders.
    """
    found: dict[tuple[str, str, str], int] = {}
    for name in names:
        folder, _, file = name.rpartition("/")
        writes = writes_of(file)
        if writes is not None:
            run = (folder, writes.worker, writes.version)
            found[run] = max(found.get(run, 0), writes.last)
    return found


def is_merged_of(name: str, reached: Mapping[tuple[str, str, str], int]) -> bool:
    """Return whether a file was merged from files that were there before.

    Args:
        name: of the file, with its folder.
        reached: what :func:`reached_by` returned for those that were there. Numbers ascend, so they had all up to it.
    """
    folder, _, file = name.rpartition("/")
    writes = writes_of(file)
    if writes is None or writes.many == 1:
        return False
    return writes.last <= reached.get((folder, writes.worker, writes.version), 0)


def service_folders(folder: Path) -> list[Path]:
    """Return the folders of a log that have rows of services, by name."""
    return sorted({file.parent for file in folder.glob("*/[!.]*.parquet")})


def log_files(folder: Path) -> list[Path]:
    """Return the files of one service that count, in an order that is always the same.

    Args:
        folder: of the service, in the log's.
    """
    try:
        with os.scandir(folder) as found:
            names = sorted(one.name for one in found if one.name.endswith(".parquet") and not one.name.startswith("."))
    except (FileNotFoundError, NotADirectoryError):
        return []
    return [folder / name for name in counted(names)]


def _merged(files: list[str]) -> list[str]:
    """Return the files that were merged into another one of the list."""
    known = [(writes, file) for file in files if (writes := writes_of(file.rpartition("/")[2])) is not None]
    known.sort(key=lambda one: (one[0].worker, one[0].version, one[0].first, -one[0].last))
    found, run, reached = [], ("", ""), -1
    for writes, file in known:
        if (writes.worker, writes.version) != run:
            run, reached = (writes.worker, writes.version), -1
        if writes.last <= reached:
            found.append(file)
        else:
            reached = writes.last
    return found
