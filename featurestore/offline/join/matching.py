"""Which stored row answers each entity row: a join of keys, instants and places of rows, and of nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import duckdb
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from featurestore.definitions import FeatureView
from featurestore.definitions.names import EVENT_TIMESTAMP
from featurestore.offline import engine
from featurestore.offline.intake.conform import as_key
from featurestore.offline.join.order import NOT_FOUND, OUTSIDE_MAX_AGE, PRESENT
from featurestore.offline.join.question import KnownAt
from featurestore.offline.join.visible_rows import (
    CANDIDATE_FROM,
    OLDEST_FIRST,
    ORDERING,
    Visible,
    knowable,
    ledger_of,
    register_ledger,
    visible,
)
from featurestore.offline.tables import ties
from featurestore.offline.tables.snapshots import Snapshot

_ENTITIES = "entity_rows"
# Measured: what DuckDB's ASOF join holds of each row of both sides, with one key of 8 bytes.
_ROW_BYTES, _KEY_BYTES = 64, 16
_RANKED_ROW_BYTES = 200
# So many entity rows fewer than rows, it pays to look first which keys are asked for.
_FEW = 50


@dataclass(frozen=True, kw_only=True)
class Matches:
    """For each entity row, in order, the newest row of its key.

    Attributes:
        places: file and row, as :mod:`featurestore.offline.join.visible_rows` has them; -1 where there is none.
        events: the row's event time, microseconds since 1970; 0 where there is none.
        status: whether the row counts: int8.
        visible: what was read.
        rows_read: rows of the files that were read.
        passes: how often these were read.
        ties: whether rows were looked for that tie with a match.
    """

    places: NDArray[np.int64]
    events: NDArray[np.int64]
    status: NDArray[np.int8]
    visible: Visible | None
    rows_read: int
    passes: int
    ties: bool


def match(
    connection: duckdb.DuckDBPyConnection,
    view: FeatureView,
    snapshot: Snapshot | None,
    ledger: pa.Table,
    entities: pa.Table,
    *,
    as_of: datetime | None,
    known_at: KnownAt | None,
    past_ttl: bool,
) -> Matches:
    """Return for each entity row the newest row of its key with event time up to its instant.

    Of rows with one key and event time the newest created counts, then the newest loaded, then the later of a load.

    Args:
        connection: a fresh one.
        view: whose rows.
        snapshot: the files of its table; None when nothing was ever ingested.
        ledger: the loads of its table, and perhaps of others.
        entities: the columns of the view's keys, in its types, and ``event_timestamp`` in microseconds.
        as_of: rows ingested later are not seen.
        known_at: ``row`` sees only rows that could be known at the instant of the entity row.
        past_ttl: whether rows past their TTL are to be told apart from none.

    Raises:
        duckdb.Error, OSError: a file cannot be read, or memory and disk are full.
    """
    instants = entities.column(EVENT_TIMESTAMP).cast(pa.int64()).to_numpy()
    places, events = np.full(len(instants), -1, np.int64), np.zeros(len(instants), np.int64)
    wanted = knowable(instants, view, known_at)
    loads = ledger_of(view, ledger)
    seen = visible(view, snapshot, loads, wanted, as_of=as_of, past_ttl=past_ttl) if snapshot is not None else None
    if seen is None or not seen.files:
        return _matches(view, places, events, instants, seen, passes=0, tied=False)
    keys = [as_key(entities.column(key)) for key in view.keys]
    columns = {f"k{number}": column for number, column in enumerate(keys)}
    connection.register(_ENTITIES, pa.table(columns | {"instant": wanted, "position": np.arange(len(wanted))}))
    register_ledger(connection, loads, seen.loads)
    rising = known_at is not None and view.delay is None
    rows = sum(file.rows for file in seen.files)
    width = (_RANKED_ROW_BYTES if rising else _ROW_BYTES) + _KEY_BYTES * (len(keys) - 1)
    passes = -(-(rows + len(wanted)) * width * 4 // (3 * engine.memory_limit(connection)))
    few = len(wanted) * _FEW < rows
    for number in range(passes):
        share = f"hash({', '.join(columns)}) % {passes} = {number}" if passes > 1 else ""
        query = _asof(seen, len(keys), share, few=few, rising=rising)
        for batch in connection.sql(query).to_arrow_reader(engine.BATCH_ROWS):
            position, place, event = (column.to_numpy() for column in batch.columns)
            places[position], events[position] = place, event
    # Of a key, no two rows become candidates at one instant: the older ones of a tie are dropped before.
    tied = not rising and ties.settle(connection, seen, keys, places, events)
    return _matches(view, places, events, instants, seen, passes=passes, tied=tied)


def _asof(seen: Visible, keys: int, share: str, *, few: bool, rising: bool) -> str:
    names = [f"k{number}" for number in range(keys)]
    where = f" WHERE {share}" if share else ""
    entities = f"(SELECT * FROM {_ENTITIES}{where})"
    if rising:
        rows = f"SELECT * FROM ({seen.scan(CANDIDATE_FROM, *ORDERING)}){where}"
    else:
        rows = f"SELECT * FROM ({seen.scan()}){where}" if share else seen.scan()
    if few:
        same = " AND ".join(f"s.{name} = a.{name}" for name in names)
        rows = f"SELECT s.* FROM ({rows}) s SEMI JOIN {entities} a ON {same}"
    if rising:
        rows = _rising(rows, ", ".join(names))
    same_key = " AND ".join(f"e.{name} = f.{name}" for name in names)
    order = "candidate" if rising else "event"
    return (
        f"SELECT e.position, f.place, f.event FROM {entities} e "
        f"ASOF JOIN ({rows}) f ON {same_key} AND e.instant >= f.{order}"
    )


def _rising(rows: str, keys: str) -> str:
    """Return a query: of rows in the order in which they become candidates, each that is newer than all before it.

    The newest candidate at an instant is then the last of them up to it, whatever came late.
    """
    ranked = f"SELECT *, row_number() OVER (PARTITION BY {keys} ORDER BY event, {OLDEST_FIRST}) AS rank FROM ({rows})"
    return (
        f"SELECT * FROM ({ranked}) QUALIFY rank > coalesce(max(rank) OVER (PARTITION BY {keys} "
        "ORDER BY candidate, rank DESC ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0)"
    )


def _matches(
    view: FeatureView,
    places: NDArray[np.int64],
    events: NDArray[np.int64],
    instants: NDArray[np.int64],
    seen: Visible | None,
    *,
    passes: int,
    tied: bool,
) -> Matches:
    status = np.where(places < 0, np.int8(NOT_FOUND), np.int8(PRESENT))
    if view.ttl is not None:
        # Without a sign the difference of any two instants fits; a match is never newer than its entity row.
        age = instants.view(np.uint64) - events.view(np.uint64)
        status[(places >= 0) & (age > view.ttl // timedelta(microseconds=1))] = OUTSIDE_MAX_AGE
    return Matches(
        places=places,
        events=events,
        status=status,
        visible=seen,
        rows_read=sum(file.rows for file in seen.files) if seen is not None else 0,
        passes=passes,
        ties=tied,
    )
