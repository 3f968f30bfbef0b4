"""Which files and rows of a table a join may see, and from when on."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from featurestore.definitions import FeatureView, SharedFeatureView, storage_id
from featurestore.definitions.names import CREATED_TIMESTAMP, EVENT_TIMESTAMP, LOAD_ID, ROW_NUMBER
from featurestore.offline.engine import identifier, parquet_scan
from featurestore.offline.join.order import FILE_BITS
from featurestore.offline.join.question import KnownAt
from featurestore.offline.tables.arrivals import Rows, among, rows_until, whole
from featurestore.offline.tables.snapshots import DataFile, Snapshot
from featurestore.storage.parquet import read_metadata
from featurestore.types import microseconds

_LEDGER = "ledger"
_EARLIEST, _LATEST = -9_200_000_000_000_000_000, 9_200_000_000_000_000_000


@dataclass(frozen=True, kw_only=True)
class Visible:
    """The rows of a view that can matter to entity rows.

    Attributes:
        view: whose.
        files: those to read, in order.
        skipped: the names of those that cannot matter.
        first: no older event time matters.
        last: no newer one does.
        loads: the loads whose rows are all seen, where some files hold others too; None when all are.
        parts: conditions for rows of other loads that are seen.
        several: whether rows of one load came to be known at several instants.
    """

    view: FeatureView
    files: tuple[DataFile, ...]
    skipped: tuple[str, ...]
    first: int
    last: int
    loads: frozenset[str] | None
    parts: tuple[str, ...]
    several: bool

    def scan(self, *extra: str, only: str = "") -> str:
        """Return a query: keys as ``k0``, ``k1`` ..., ``event`` in microseconds, ``place``.

        Args:
            extra: more columns, as SQL over the stored ones and ``load_order`` and ``published``.
            only: one more condition.
        """
        columns = [f"r.{identifier(key)} AS k{number}" for number, key in enumerate(self.view.keys)]
        columns += [f"epoch_us(r.{EVENT_TIMESTAMP}) AS event"]
        columns += [f"(r.file_index::BIGINT << {FILE_BITS}) | r.file_row_number AS place", *extra]
        conditions = [only] if only else []
        if self.first > _EARLIEST:
            conditions.append(f"r.{EVENT_TIMESTAMP} >= make_timestamptz({self.first}::BIGINT)")
        if self.last < _LATEST:
            conditions.append(f"r.{EVENT_TIMESTAMP} <= make_timestamptz({self.last}::BIGINT)")
        if self.loads is not None:
            complete = f"r.{LOAD_ID} IN (SELECT {LOAD_ID} FROM {_LEDGER} WHERE seen)"
            conditions.append(f"({' OR '.join((complete, *self.parts))})")
        source = f"{parquet_scan([one.path for one in self.files])} r"
        if extra:
            same = f"LEFT JOIN {_LEDGER} l ON l.{LOAD_ID} = r.{LOAD_ID}"
            source += f" ASOF {same} AND r.{ROW_NUMBER} >= l.first_row" if self.several else f" {same}"
        where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
        return f"SELECT {', '.join(columns)} FROM {source}{where}"


#: What orders rows of one key and event time, as columns for :meth:`Visible.scan` and as an order, oldest first.
ORDERING = (f"epoch_us(r.{CREATED_TIMESTAMP}) AS made", "l.load_order AS load_order", f"r.{ROW_NUMBER} AS number")
OLDEST_FIRST = "made NULLS FIRST, load_order NULLS LAST, number"
#: When a row could be known: from its event time on, and not before the source wrote it, or else it was ingested.
CANDIDATE_FROM = (
    f"greatest(epoch_us(r.{EVENT_TIMESTAMP}), coalesce(epoch_us(r.{CREATED_TIMESTAMP}), l.published, {_LATEST})) "
    "AS candidate"
)


def visible(
    view: FeatureView,
    snapshot: Snapshot,
    loads: pa.Table,
    instants: NDArray[np.int64],
    *,
    as_of: datetime | None,
    past_ttl: bool,
) -> Visible:
    """Return what of a view's rows can matter.

    A file wholly after the newest instant cannot; nor, unless rows past their TTL are to be told apart from none, one
    wholly before the oldest instant less the TTL; nor one whose rows were all ingested after ``as_of``.

    Args:
        view: whose rows.
        snapshot: the files of its table.
        loads: the ledger of its loads, as :func:`ledger_of` returns it.
        instants: at which features are asked for, less the view's delay where that counts.
        as_of: rows ingested later are not seen; None sees all.
        past_ttl: whether rows past their TTL matter: their status and event time are asked for.
    """
    first, last = _EARLIEST, int(instants.max(initial=_EARLIEST))
    if view.ttl is not None and not past_ttl:
        first = max(first, int(instants.min(initial=_LATEST)) - view.ttl // timedelta(microseconds=1))
    seen, parts = None, dict[str, list[Rows]]()
    if as_of is not None and hides(view, loads, as_of):
        runs = zip(*(loads.column(name).to_pylist() for name in (LOAD_ID, "first_row", "published")), strict=True)
        parts = rows_until(runs, microseconds(as_of))
        seen = frozenset(parts)
        parts = {load: rows for load, rows in parts.items() if not whole(rows)}
    files: list[DataFile] = []
    mixed = False
    for file in snapshot.files:
        if not len(instants) or file.first > last or file.last < first:
            continue
        if seen is not None:
            load = _only_load(file)
            mixed |= load is None or load in parts
            if load is not None and load not in seen:
                continue
        files.append(file)
    kept = {file.name for file in files}
    return Visible(
        view=view,
        files=tuple(files),
        skipped=tuple(file.name for file in snapshot.files if file.name not in kept),
        first=first,
        last=last,
        loads=seen - parts.keys() if seen is not None and mixed else None,
        parts=tuple(among(parts, "r.")),
        several=len(loads.column(LOAD_ID).unique()) < len(loads),
    )


def hides(view: FeatureView, loads: pa.Table, as_of: datetime) -> bool:
    """Return whether some rows of a view may have been ingested after an instant: all that are in no load by then."""
    early = pc.less_equal(loads.column("published"), microseconds(as_of))
    # A load that a killed writer left out of another project's ledger is not in here, and may be a late one.
    return isinstance(view, SharedFeatureView) or not pc.all(early, min_count=0).as_py()


def _only_load(file: DataFile) -> str | None:
    """Return the load that all rows of a file are of, as its footer says; None if they may be of several."""
    footer = read_metadata(file.place)
    # By the whole path: a part of a nested feature may have the same name.
    place = next(number for number in range(footer.num_columns) if footer.schema.column(number).path == LOAD_ID)
    found: set[str] = set()
    for group in range(footer.num_row_groups):
        said = footer.row_group(group).column(place).statistics
        if said is None or not said.has_min_max:
            return None
        found |= {said.min, said.max}
    return found.pop() if len(found) == 1 else None


def ledger_of(view: FeatureView, ledger: pa.Table) -> pa.Table:
    """Return the loads of a view's table: ``load_id``, ``load_order``, ``published`` in microseconds.

    A load whose rows came to be known at several instants has a row for each, with the first row's number,
    ``first_row``.
    """
    # A load id that the user gave may stand for loads of several tables.
    mine = ledger.filter(pc.equal(ledger.column("storage_id"), storage_id(view)))
    published = mine.column("published_at").cast(pa.timestamp("us", "UTC")).cast(pa.int64())
    # The ledgers of earlier datasets are without it.
    told = "first_row" in mine.column_names
    first = mine.column("first_row") if told else pa.nulls(len(mine), pa.int64()).fill_null(0)
    return mine.select([LOAD_ID, "load_order"]).append_column("first_row", first).append_column("published", published)


def register_ledger(connection: duckdb.DuckDBPyConnection, loads: pa.Table, seen: frozenset[str] | None) -> None:
    """Make the loads of a view's table known to a connection, and which of them are seen: None for all."""
    ids = loads.column(LOAD_ID)
    among = pc.is_in(ids, pa.array(ids.to_pylist() if seen is None else sorted(seen), pa.string()))
    connection.register(_LEDGER, loads.append_column("seen", among))


def knowable(instants: NDArray[np.int64], view: FeatureView, known_at: KnownAt | None) -> NDArray[np.int64]:
    """Return up to which event time rows could be known at each instant: earlier by the view's delay, if it counts."""
    if known_at is None or view.delay is None:
        return instants
    delay = view.delay // timedelta(microseconds=1)
    return np.maximum(instants, _EARLIEST + delay) - delay
