"""What an online store needs from time to time: rows that are too old for everybody go, and their space with them.

A row is too old when it is past the longest TTL of all live versions that share it; if one of them has none, never.
What rehearsals serve is judged by a clock of theirs, so their stores keep all rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta

from featurestore.definitions import FeatureView, storage_id
from featurestore.online.base import OnlineStore
from featurestore.types import microseconds

#: Rows that a step looks at: it is done in some milliseconds, and a server answers before the next one.
_STEP_ROWS = 2_000
#: An instant that no row is older than.
_NEVER = -(1 << 63)
#: A file is written anew when more of it than this is free ...
_FREE_SHARE = 2 / 3
#: ... and that is worth the work.
_FREE_BYTES = 64 * 2**20


def longest_ttls(views: Iterable[FeatureView]) -> dict[str, timedelta | None]:
    """Return, by storage id, the longest TTL of the views that share its rows; None if one keeps them for ever."""
    found: dict[str, timedelta | None] = {}
    for view in views:
        name = storage_id(view)
        other = found.get(name, timedelta())
        found[name] = None if view.ttl is None or other is None else max(view.ttl, other)
    return found


def retain(store: OnlineStore, name: str, ttl: timedelta | None) -> bool:
    """Have a store remove the rows of a table by itself when they are past a TTL, and return whether it does.

    Raises:
        OnlineStoreError: the store cannot be read or written.
    """
    return store.keep(name, None if ttl is None else -(-ttl // timedelta(milliseconds=1)))


def expire(
    store: OnlineStore, ttls: Mapping[str, timedelta | None], now: datetime, *, rest: Callable[[], bool] | None = None
) -> int:
    """Remove the rows that nobody may serve any more, some thousand at a time, and return how many there were.

    Args:
        store: the store; that of a rehearsal keeps its rows.
        ttls: as :func:`longest_ttls` returns them, of all live views; other tables are left alone.
        now: the instant.
        rest: called between steps; True ends it before its end.

    Raises:
        OnlineStoreError: the store cannot be read or written.
    """
    if store.clock() is not None:
        return 0
    removed = 0
    for name, ttl in ttls.items():
        if retain(store, name, ttl):
            continue
        before, last = _NEVER if ttl is None else microseconds(now - ttl), None
        while True:
            step = store.expire(name, before, after=last, limit=_STEP_ROWS)
            removed, last = removed + step.removed, step.last
            if rest is not None and rest():
                return removed
            if last is None:
                break
    return removed


def compact(store: OnlineStore) -> bool:
    """Write the store's file anew if most of it is free, and return whether that was done.

    Others read meanwhile; who writes waits.

    Raises:
        OnlineStoreError: the store cannot be read or written.
    """
    space = store.space()
    if space.free < _FREE_BYTES or space.free < _FREE_SHARE * space.total:
        return False
    store.forget()
    return True
