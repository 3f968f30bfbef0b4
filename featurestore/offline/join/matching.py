"""Which stored row answers each entity row: a join of keys, instants and places of rows, and of nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

import duckdb
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from featurestore.definitions import FeatureView
from featurestore.definitions.names import EVENT_TIMESTAMP
from featurestore.offline import engine
from featurestore.offline.intake.conform import as_key
from featurestore.offline.join.computing import statuses
from featurestore.offline.join.question import KnownAt
from featurestore.offline.join.threads import in_threads
from featurestore.offline.join.timelines import CODE, Timelines
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
from featurestore.offline.tables.snapshots import Snapshot

_KEYS, _TIED = "entity_keys", "tied"
# Measured: what DuckDB holds of each key beside the key itself, and of each row that it has to rank.
_KEY_BYTES, _RANKED_ROW_BYTES = 64, 200


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
        ties: whether rows tie with a match, so that all that do were looked at.
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
    threads: int,
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
        threads: how many look rows up at once; 0 is as many as there are cores.

    Raises:
        duckdb.Error, OSError: a file cannot be read, or memory and disk are full.
    """
    instants = entities.column(EVENT_TIMESTAMP).cast(pa.int64()).to_numpy()
    wanted = knowable(instants, view, known_at)
    loads = ledger_of(view, ledger)
    seen = visible(view, snapshot, loads, wanted, as_of=as_of, past_ttl=past_ttl) if snapshot is not None else None
    if seen is None or not seen.files:
        places, events = np.full(len(instants), -1, np.int64), np.zeros(len(instants), np.int64)
        return _matches(view, places, events, instants, seen, passes=0, tied=False)
    timelines = Timelines([as_key(entities.column(key)) for key in view.keys], wanted)
    register_ledger(connection, loads, seen.loads)
    rising = known_at is not None and view.delay is None
    rows = sum(file.rows for file in seen.files)
    held = timelines.keys.nbytes + len(timelines.keys) * _KEY_BYTES + (rows * _RANKED_ROW_BYTES if rising else 0)
    passes = -(-held * 4 // (3 * engine.memory_limit(connection)))
    connection.register(_KEYS, timelines.keys)
    for number in range(passes):
        share = f"{CODE} % {passes} = {number}" if passes > 1 else "true"
        in_threads(timelines.offer, _rows(connection, seen, share, rising=rising), threads)
    # Of a key, no two rows become candidates at one instant: the older ones of a tie are dropped before.
    tied = not rising and _settle(connection, seen, timelines)
    return _matches(view, *timelines.answers(), instants, seen, passes=passes, tied=tied)


def _rows(
    connection: duckdb.DuckDBPyConnection, seen: Visible, share: str, *, rising: bool
) -> Iterator[tuple[NDArray[np.int64], ...]]:
    """Yield the rows of a share of the keys, a batch at a time, as :meth:`Timelines.offer` takes them."""
    rows = seen.scan(CANDIDATE_FROM, *ORDERING) if rising else seen.scan()
    same = " AND ".join(f"f.k{number} = e.k{number}" for number in range(len(seen.view.keys)))
    rows = f"SELECT e.{CODE}, f.* FROM ({rows}) f JOIN (SELECT * FROM {_KEYS} WHERE {share}) e ON {same}"
    if rising:
        query = f"SELECT {CODE}, candidate, place, event FROM ({_rising(rows)})"
    else:
        query = f"SELECT {CODE}, event, place FROM ({rows})"
    for batch in connection.sql(query).to_arrow_reader(engine.BATCH_ROWS):
        yield tuple(column.to_numpy() for column in batch.columns)


def _rising(rows: str) -> str:
    """Return a query: of rows in the order in which they become candidates, each that is newer than all before it.

    The newest candidate at an instant is then the last of them up to it, whatever came late.
    """
    ranked = f"SELECT *, row_number() OVER (PARTITION BY {CODE} ORDER BY event, {OLDEST_FIRST}) AS rank FROM ({rows})"
    return (
        f"SELECT * FROM ({ranked}) QUALIFY rank > coalesce(max(rank) OVER (PARTITION BY {CODE} "
        "ORDER BY candidate, rank DESC ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0)"
    )


def _settle(connection: duckdb.DuckDBPyConnection, seen: Visible, timelines: Timelines) -> bool:
    """Put in the place of each match the newest of the rows that tie with it; return whether any do."""
    tied = timelines.tied()
    if not len(tied.slots):
        return False
    keys = timelines.keys.take(pa.array(tied.codes)).drop_columns(CODE)
    # The slots are in order of key and instant: no two are the same question.
    asked = keys.append_column("event", pa.array(tied.instants)).append_column("slot", pa.array(tied.slots))
    connection.register(_TIED, asked)
    same = " AND ".join(f"f.{name} = t.{name}" for name in (*keys.column_names, "event"))
    newest = connection.sql(
        f"SELECT t.slot, last(f.place ORDER BY {OLDEST_FIRST}) FROM ({seen.scan(*ORDERING)}) f "
        f"JOIN {_TIED} t ON {same} GROUP BY t.slot"
    )
    for batch in newest.to_arrow_reader(engine.BATCH_ROWS):
        timelines.settle(*(column.to_numpy() for column in batch.columns))
    return True


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
    return Matches(
        places=places,
        events=events,
        status=statuses(view, places >= 0, events, instants),
        visible=seen,
        rows_read=sum(file.rows for file in seen.files) if seen is not None else 0,
        passes=passes,
        ties=tied,
    )
