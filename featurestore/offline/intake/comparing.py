"""Rows that are about to be published against those that a table has: which are new, changed, or there no more.

Compared is what a join would find: of each key and event time the row that counts, with its features and when the
source wrote it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import duckdb
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from featurestore import types
from featurestore.definitions import FeatureView, SqlSource
from featurestore.definitions.names import CREATED_TIMESTAMP, EVENT_TIMESTAMP, ROW_NUMBER
from featurestore.offline.engine import identifier, parquet_scan
from featurestore.offline.join.order import rows_with_order
from featurestore.offline.sources.intervals import INSTANTS, Interval
from featurestore.storage import StoragePath

#: The table that :func:`compare` makes: a row for each key and event time of either side. ``fresh`` and ``stored`` say
#: on which sides it is, and ``differs`` whether they differ. Of the columns of :func:`compared`, ``changed_0`` says
#: whether the first one differs, and ``fresh_0`` and ``stored_0`` have its values where a row differs.
COMPARED = "compared"


#: Up to which share of a number two results of one query are the same: a sum of floats hangs in its last bits on the
#: order of the rows, and so on where a run begins.
_ROUNDING = {types.Float64: 1e-12, types.Float32: 2.5e-7}


@dataclass(frozen=True, kw_only=True)
class Counts:
    """Rows by what would become of them; each stands for one key and event time."""

    added: int
    changed: int
    removed: int
    unchanged: int


def compared(view: FeatureView) -> list[str]:
    """Return the columns by which two rows of one key and event time differ."""
    return [*(one.name for one in view.schema), CREATED_TIMESTAMP]


def compare(
    connection: duckdb.DuckDBPyConnection,
    view: FeatureView,
    staged: StoragePath | None,
    files: Sequence[str],
    interval: Interval,
) -> Counts:
    """Make the table :data:`COMPARED` for the rows of an interval.

    Args:
        connection: has the ledger's order of loads registered.
        view: whose rows they are.
        staged: the file with the rows that are about to be published; None if there are none.
        files: those of the table.
        interval: the event times.
    """
    fresh, stored = [] if staged is None else [str(staged)], list(files)
    either = fresh or stored
    if not either:
        return Counts(added=0, changed=0, removed=0, unchanged=0)
    at = [*(identifier(key) for key in view.keys), EVENT_TIMESTAMP]
    same_row = " AND ".join(f"n.{one} = o.{one}" for one in at)
    columns = [identifier(name) for name in compared(view)]
    changed = _changed(view)
    both = f"n.{EVENT_TIMESTAMP} IS NOT NULL AND o.{EVENT_TIMESTAMP} IS NOT NULL"
    differs = f"(NOT ({both}) OR {' OR '.join(changed)})"
    values = [
        part
        for place, (one, is_changed) in enumerate(zip(columns, changed, strict=True))
        for part in (
            f"({both} AND {is_changed}) AS changed_{place}",
            f"CASE WHEN {differs} THEN n.{one} END AS fresh_{place}",
            f"CASE WHEN {differs} THEN o.{one} END AS stored_{place}",
        )
    ]
    connection.execute(
        f"CREATE TEMP TABLE {COMPARED} AS SELECT {', '.join(f'coalesce(n.{one}, o.{one}) AS {one}' for one in at)}, "
        f"n.{EVENT_TIMESTAMP} IS NOT NULL AS fresh, o.{EVENT_TIMESTAMP} IS NOT NULL AS stored, {differs} AS differs, "
        f"{', '.join(values)} FROM ({_winners(view, fresh, either, interval)}) n "
        f"FULL JOIN ({_winners(view, stored, either, interval)}) o ON {same_row}"
    )
    found = connection.sql(
        "SELECT count(*) FILTER (NOT stored), count(*) FILTER (fresh AND stored AND differs), "
        f"count(*) FILTER (NOT fresh), count(*) FILTER (NOT differs) FROM {COMPARED}"
    ).fetchall()[0]
    return Counts(added=found[0], changed=found[1], removed=found[2], unchanged=found[3])


def rows_that_differ(
    connection: duckdb.DuckDBPyConnection, view: FeatureView, staged: StoragePath
) -> NDArray[np.int64]:
    """Return the numbers of the staged rows whose key and event time differ from the table's, in order.

    All rows of such a key and event time are among them, those that do not count too.
    """
    at = [*(identifier(key) for key in view.keys), EVENT_TIMESTAMP]
    same_row = " AND ".join(f"r.{one} = c.{one}" for one in at)
    found = connection.sql(
        f"SELECT r.{ROW_NUMBER} FROM {parquet_scan([str(staged)])} r "
        f"SEMI JOIN (SELECT * FROM {COMPARED} WHERE fresh AND differs) c ON {same_row} ORDER BY 1"
    ).to_arrow_table()
    numbers: NDArray[np.int64] = found.column(0).to_numpy()
    return numbers


def numbered(batch: pa.RecordBatch, numbers: NDArray[np.int64]) -> pa.RecordBatch:
    """Return those rows of a staged batch that have one of these numbers, which are in order."""
    present = batch.column(ROW_NUMBER).to_numpy()
    place = np.minimum(np.searchsorted(numbers, present), max(len(numbers) - 1, 0))
    return batch.filter(pa.array(numbers[place] == present if len(numbers) else np.zeros(len(present), bool)))


def _changed(view: FeatureView) -> list[str]:
    """Return, for each of the columns of :func:`compared`, SQL that is true where n and o differ."""
    told = []
    computed = isinstance(view.source, SqlSource)
    roundings = {one.name: _ROUNDING[one.dtype] for one in view.schema if computed and one.dtype in _ROUNDING}
    for name in compared(view):
        n, o = f"n.{identifier(name)}", f"o.{identifier(name)}"
        different = f"{n} IS DISTINCT FROM {o}"
        if name in roundings:
            near = f"abs({n} - {o}) <= {roundings[name]} * greatest(abs({n}), abs({o}))"
            different = f"({different} AND NOT coalesce(isfinite({n}) AND isfinite({o}) AND {near}, false))"
        told.append(different)
    return told


def _winners(view: FeatureView, files: Sequence[str], either: Sequence[str], interval: Interval) -> str:
    keys = ", ".join(identifier(key) for key in view.keys)
    columns = ", ".join(identifier(name) for name in compared(view))
    within = interval.condition(EVENT_TIMESTAMP, INSTANTS[0]) if files else "false"
    return (
        f"SELECT {keys}, {EVENT_TIMESTAMP}, {columns} FROM {rows_with_order(view, list(files or either))} "
        f"WHERE {within} QUALIFY row_number() OVER (PARTITION BY {keys}, {EVENT_TIMESTAMP} "
        f"ORDER BY {CREATED_TIMESTAMP} DESC NULLS LAST, load_order DESC NULLS FIRST, {ROW_NUMBER} DESC) = 1"
    )
