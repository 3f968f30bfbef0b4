"""Where rows of the push log come from, if it is a place that can be read again: up to where that has been pushed.

What a consumer of messages has read is known to the broker only after the rows are written, and it may die in between.
So the log itself says, in the very write that makes the rows durable, which of the messages they are: of each origin,
such as a partition of a topic, the first offset and the one behind the last. Whoever reads the same messages again
finds that they are there. When a segment goes, as the offline store has its rows, its newest origins stay in a file.
"""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from featurestore.errors import OfflineStoreError
from featurestore.pushing.segments import Entry

if TYPE_CHECKING:
    from featurestore.pushing.log import PushLog

#: By origin, the first offset of what was last pushed from there, and the one behind its last.
Origins = Mapping[str, tuple[int, int]]

_FILE = "origins.json"


def newest(log: PushLog) -> dict[str, tuple[int, int]]:
    """Return, by origin, what was last pushed from there.

    Raises:
        OfflineStoreError: a segment, or what is kept of those that are gone, cannot be read.
    """
    if not log.segments():
        return {}
    with log.settled(), log.committing():
        try:
            found = kept(log.folder)
        except (OSError, ValueError) as error:
            raise OfflineStoreError(
                f"{log.folder / _FILE} cannot be read: {error}.",
                hint="Without it some messages may be pushed twice, which no lookup or join shows: remove it.",
            ) from error
        for segment in log.segments():
            for entry in segment.read():
                found |= entry.origins
    return found


def kept(folder: Path) -> dict[str, tuple[int, int]]:
    """Return the origins of segments that are gone.

    Raises:
        OSError: the file cannot be read.
        ValueError: it holds something else.
    """
    try:
        found = json.loads((folder / _FILE).read_bytes())
    except FileNotFoundError:
        return {}
    return {name: (int(first), int(end)) for name, (first, end) in found.items()}


def keep(folder: Path, entries: Iterable[Entry]) -> None:
    """Keep the origins of a segment that is about to go, in place of older ones; durable when this returns.

    Raises:
        OSError: the disk refuses.
    """
    found = {name: span for one in entries for name, span in one.origins.items()}
    if not found:
        return
    with suppress(ValueError):  # what was lost by a damaged disk costs a few rows that are pushed twice, and no more
        found = kept(folder) | found
    part = folder / f".{uuid.uuid4().hex}"
    try:
        with part.open("xb") as file:
            file.write(json.dumps(found).encode())
            file.flush()
            os.fsync(file.fileno())
        part.replace(folder / _FILE)
    finally:
        part.unlink(missing_ok=True)
