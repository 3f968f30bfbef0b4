"""The files of a serving log that an erasure looks into, and the workers that have not written theirs yet."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

from featurestore.config import Config
from featurestore.erasure.place import Task
from featurestore.erasure.scope import Columns
from featurestore.offline.tables.rewriting import columns_of
from featurestore.serving.folder_lock import rewriting
from featurestore.serving.log import read_watermarks
from featurestore.serving.log_files import log_files, service_folders

#: A worker writes what it has served once a second; one that is slower than this is left to the next erasure.
_PATIENCE_SECONDS = 5.0


class LoggedFile(NamedTuple):
    """A file of a serving log that may have a key.

    Attributes:
        path: the file.
        places: the columns that hold it.
        counts: whether its rows count; else they are in another one too, into which it was merged.
    """

    path: Path
    places: list[Columns]
    counts: bool


@contextmanager
def logged_files(config: Config, task: Task) -> Iterator[list[LoggedFile]]:
    """Give the files of a serving log that may have a key, and have none of them merged meanwhile.

    Before :func:`~featurestore.erasure.feedback_places.erase_feedback`, which holds files too.
    """
    found = []
    with ExitStack() as held:
        for folder in service_folders(config.path(config.serving.log_path)):
            if not task.dry_run:
                held.enter_context(rewriting(folder, wait=True))
            count = set(log_files(folder))
            # Those that do not count may go at any time, unless the folder is held.
            for file in sorted(count if task.dry_run else folder.glob("[!.]*.parquet")):
                places = task.scope.places_in(folder.name, columns_of(file))
                if places:
                    found.append(LoggedFile(file, places, file in count))
        yield found


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
