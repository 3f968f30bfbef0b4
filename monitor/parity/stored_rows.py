"""Which rows of a view the offline store has of some keys, and when each came to be known there."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from featurestore.definitions import FeatureView
from featurestore.definitions.names import EVENT_TIMESTAMP, LOAD_ID, ROW_NUMBER
from featurestore.errors import OfflineStoreError
from featurestore.offline.store import OfflineStore
from featurestore.offline.tables.arrivals import arrivals
from monitor.parity.causes import StoredRow

#: The values of a row's join keys, in the view's order.
Key = tuple[Any, ...]

_INSTANT = pa.timestamp("us", tz="UTC")
_NEVER = 2**63 - 1


def stored_rows(
    offline: OfflineStore, view: FeatureView, keys: Collection[Key], features: Collection[str], first: int, last: int
) -> Mapping[Key, Sequence[StoredRow]]:
    """Return the rows of some keys with event time from ``first`` to ``last``, oldest first; keys without have none.

    Args:
        offline: where they are.
        view: whose rows.
        keys: of whom.
        features: which of its values are wanted.
        first: microseconds since 1970.
        last: the same.

    Raises:
        OfflineStoreError: the table cannot be read.
    """
    table = offline.table(view)
    if not keys or not table.exists():
        return {}
    # The files before the ledger, so that every load which they hold is in the ledger by now.
    files = [one.path for one in table.snapshot().files if one.first <= last and one.last >= first]
    known = _Known(offline, view)
    found: dict[Key, list[StoredRow]] = {key: [] for key in keys}
    for batch in _batches(files, view, keys, features, first, last):
        events = batch.column(EVENT_TIMESTAMP).cast(_INSTANT).cast(pa.int64()).to_pylist()
        columns = [batch.column(name).to_pylist() for name in (*view.keys, LOAD_ID, ROW_NUMBER)]
        for place, (event, *key, load_id, number) in enumerate(zip(events, *columns, strict=True)):
            rows = found.get(tuple(key))
            if rows is not None:
                values = {name: batch.column(name)[place].as_py() for name in features}
                rows.append(StoredRow(event, known.at(event, load_id, number), values))
    return {key: sorted(rows, key=lambda one: one[:2]) for key, rows in found.items() if rows}


class _Known:
    """Tells when a row came to be known."""

    def __init__(self, offline: OfflineStore, view: FeatureView) -> None:
        self._delay = None if view.delay is None else view.delay // timedelta(microseconds=1)
        self._firsts: dict[str, list[int]] = {}
        self._instants: dict[str, list[int]] = {}
        for run in () if view.delay is not None else arrivals(offline.table(view), offline.loads(view)):
            self._firsts.setdefault(run.load.load_id, []).append(run.first)
            self._instants.setdefault(run.load.load_id, []).append(run.at)

    def at(self, event: int, load_id: str, number: int) -> int:
        if self._delay is not None:
            return event + self._delay
        firsts = self._firsts.get(load_id)
        if firsts is None:  # published after the ledger was read
            return _NEVER
        return self._instants[load_id][bisect_right(firsts, number) - 1]


def _batches(
    files: list[str], view: FeatureView, keys: Collection[Key], features: Collection[str], first: int, last: int
) -> Iterator[pa.RecordBatch]:
    if not files:
        return
    name, dtype = next(iter(view.keys.items()))
    wanted = pc.field(EVENT_TIMESTAMP) >= pa.scalar(first, pa.int64()).cast(_INSTANT)
    wanted &= pc.field(EVENT_TIMESTAMP) <= pa.scalar(last, pa.int64()).cast(_INSTANT)
    wanted &= pc.field(name).isin(pa.array(sorted({key[0] for key in keys}), dtype.to_arrow()))
    try:
        rows = ds.dataset(files, format="parquet")
        columns = [*view.keys, *features, EVENT_TIMESTAMP, LOAD_ID, ROW_NUMBER]
        yield from rows.to_batches(columns=columns, filter=wanted)
    except (OSError, pa.ArrowException) as error:
        raise OfflineStoreError(
            f'The rows of feature view "{view.name}" cannot be read: {str(error).splitlines()[0]}',
            hint="If a file is gone or damaged, bring it back from a backup.",
        ) from error
