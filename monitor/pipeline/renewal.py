"""A new baseline does not blind the monitor: what came after its data is judged again, by its own limits.

A model that is trained anew every week would otherwise start without evidence every week, and a slow change would never
be seen. The rows of these windows are read once more, since the new baseline has cut its own bins. One window at a
time, in a transaction each: the ledger says which of them are done, so a monitor that dies in between goes on there.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

import structlog

from monitor.history import History, JudgedWindow
from monitor.pipeline.committing import Committer
from monitor.pipeline.subjects import Track
from monitor.windows import Position, Window

_log = structlog.get_logger("monitor.pipeline")


def to_judge_again(history: History, track: Track, position: Position | None) -> list[JudgedWindow]:
    """Return the windows of the ledger that lie after the data of a track's baseline and were held against another."""
    blocks = track.yardstick.reference.baseline.blocks
    if position is None or not blocks:
        return []
    newest = blocks[-1][0] + track.yardstick.reference.baseline.block
    with history.read() as connection:
        return history.stale(connection, track.watch, track.yardstick.reference.id, since=newest, until=position.after)


def judge_again(
    committer: Committer,
    track: Track,
    lines: list[JudgedWindow],
    *,
    run_length: Callable[[datetime, datetime], float],
    stop: Callable[[], bool],
) -> None:
    """Judge windows of the ledger again, in order.

    A window whose rows are gone, by retention or erasure, is passed over: it says nothing any more.
    """
    gone = 0
    for line in lines:
        if stop():
            break
        window = Window(subject=track.watch.service, begin=line.begin, stop=line.stop, rows=line.rows)
        current = track.profile(window)
        if not current.rows:
            gone += 1
            continue
        committer.again(track, line, current, run_length=run_length(window.start, window.end))
    if gone:
        _log.info("rows are gone", policy=track.watch.policy, service=track.watch.service, windows=gone)
