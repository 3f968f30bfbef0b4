"""The files of a serving log that an erasure looks into, and the workers that have not written theirs yet."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

from featurestore.config import Config
from featurestore.erasure.place import Task
from featurestore.erasure.scope import Columns
from featurestore.offline.tables.rewriting import columns_of
from featurestore.serving.log import WATERMARKS, read_watermarks

#: A worker writes what it has served once a second; one that is slower than this is left to the next erasure.
_PATIENCE_SECONDS = 5.0


def logged_files(config: Config, task: Task) -> Iterator[tuple[Path, list[Columns]]]:
    """Yield each file of a serving log that may have a key, and the columns that hold it."""
    for file in sorted(config.path(config.serving.log_path).glob("*/*.parquet")):
        if file.parent.name == WATERMARKS or file.name.startswith("."):
            continue
        places = task.scope.places_in(file.parent.name, columns_of(file))
        if places:
            yield file, places


def workers_behind(folder: Path) -> int:
    """Wait until each worker at work has written down what it had served by now; return how many have not."""
    started = time.time()
    while True:
        marks = [one for one in read_watermarks(folder) if not one.closed and not one.dead]
        behind = sum(_written(one.file) <= started for one in marks)
        if not behind or time.time() - started > _PATIENCE_SECONDS:
            return behind
        time.sleep(0.1)


def _written(file: Path) -> float:
    try:
        return file.stat().st_mtime
    except FileNotFoundError:  # the worker has ended
        return time.time() + 1
