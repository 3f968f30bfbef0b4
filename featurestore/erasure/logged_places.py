"""The serving logs: the live one, and those of rehearsals."""

from __future__ import annotations

from featurestore.config import Config
from featurestore.erasure.feedback_places import erase_feedback
from featurestore.erasure.log_files import logged_files, workers_behind
from featurestore.erasure.offline_places import remove_partial
from featurestore.erasure.online_places import replays
from featurestore.erasure.place import Erased, Task
from featurestore.offline.tables.rewriting import count_matches, erase_in_place


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
    late = 0 if task.dry_run else workers_behind(folder)
    total = Erased(waiting=late)
    with logged_files(config, task) as files:
        if not task.dry_run:
            # Their place has been gone through, but for lookups that were written down since; no more leads to those
            # then.
            erase_feedback(config, task, files)
        for file, places, counts in files:
            matches = task.scope.matches(places)
            rows = count_matches(file, {name: None for columns in places for name in columns}, matches)
            if counts:
                total += Erased(rows=rows, files=int(rows > 0))
            if rows and not task.dry_run:
                erase_in_place(file, matches)
    return total + remove_partial(folder.glob("*/.*.parquet*"), task)
