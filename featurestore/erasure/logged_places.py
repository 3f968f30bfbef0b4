"""The serving logs: the live one, and those of rehearsals."""

from __future__ import annotations

import time
from pathlib import Path

from featurestore.config import Config
from featurestore.erasure.offline_places import remove_partial
from featurestore.erasure.online_places import replays
from featurestore.erasure.place import Erased, Task
from featurestore.offline.tables.rewriting import columns_of, count_matches, erase_in_place
from featurestore.serving.log import WATERMARKS, read_watermarks

#: A worker writes what it has served once a second; one that is slower than this is left to the next erasure.
_PATIENCE_SECONDS = 5.0


class ServingLogs:
    """What servers have logged. Workers at work are waited for, until what they had served is on the disk."""

    name = "serving log"

    def erase(self, task: Task) -> Erased:
        """See :class:`~featurestore.erasure.place.Place`."""
        return _erased_from_log(task.config, task)


class ReplayedLogs:
    """What the servers of rehearsals have logged."""

    name = "serving logs of replays"

    def erase(self, task: Task) -> Erased:
        """See :class:`~featurestore.erasure.place.Place`."""
        total = Erased()
        for config in replays(task.config):
            total += _erased_from_log(config, task)
        return total


def _erased_from_log(config: Config, task: Task) -> Erased:
    folder = config.path(config.serving.log_path)
    late = 0 if task.dry_run else _workers_behind(folder)
    total = Erased(waiting=late)
    for file in sorted(folder.glob("*/*.parquet")):
        if file.parent.name == WATERMARKS or file.name.startswith("."):
            continue
        places = task.scope.places_in(file.parent.name, columns_of(file))
        if not places:
            continue
        matches = task.scope.matches(places)
        rows = count_matches(file, {name: None for columns in places for name in columns}, matches)
        total += Erased(rows=rows, files=int(rows > 0))
        if rows and not task.dry_run:
            erase_in_place(file, matches)
    return total + remove_partial(folder.glob("*/.*.parquet*"), task)


def _workers_behind(folder: Path) -> int:
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
