"""The log of pushed rows that no table has yet."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from featurestore.erasure.place import Erased, Task
from featurestore.pushing import PushLog
from featurestore.pushing.segments import Entry


class PushedRows:
    """What was pushed and is not in the offline store yet.

    Both locks of the log are held, so that no push of the key is between its check and its rows' being online, and no
    flush has rows in hand that were read before. Both ask what is suppressed once they hold theirs.
    """

    name = "pushed rows"

    def erase(self, task: Task) -> Erased:
        """See :class:`~featurestore.erasure.place.Place`."""
        log = PushLog(task.config.path(task.config.push.path))
        if not log.segments():
            return Erased()
        total = Erased()
        with log.flushing(wait=True), log.committing():
            if not task.dry_run:
                total += Erased(files=log.tidy())
            for segment in log.segments():
                entries = segment.read()
                found = [_theirs(one, task) for one in entries]
                rows = sum(pc.sum(one).as_py() or 0 for one in found)
                total += Erased(rows=rows, files=int(rows > 0))
                if rows and not task.dry_run:
                    log.rewrite(segment, _rest(entries, found))
        return total


def _theirs(entry: Entry, task: Task) -> pa.BooleanArray:
    """Return which rows of an entry have one of the keys."""
    batch = entry.batch()
    names = task.keys.names
    views = {view.name for view in task.scope.views.values()}
    if entry.view not in views or not set(names) <= set(batch.schema.names):
        return pa.repeat(pa.scalar(False), batch.num_rows)
    return task.scope.matches([names])(batch)


def _rest(entries: Sequence[Entry], found: Sequence[pa.BooleanArray]) -> list[Entry]:
    rest: list[Entry] = []
    for entry, theirs in zip(entries, found, strict=True):
        rest += entry.without(theirs) if pc.any(theirs).as_py() else [entry]
    return rest
