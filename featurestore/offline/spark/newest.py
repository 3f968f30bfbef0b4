"""The newest row of each key, found by Spark and handed to work that runs where the rows are."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from featurestore import types
from featurestore.definitions import FeatureView
from featurestore.definitions.names import CREATED_TIMESTAMP, EVENT_TIMESTAMP, ROW_NUMBER
from featurestore.errors import FeatureStoreError
from featurestore.offline.erasure.suppression import Suppressed
from featurestore.offline.spark.finishing import HOME, check_libraries, computing, fault, packed, unpacked
from featurestore.offline.spark.matching import LOWEST, RANK, Seen, ranked
from featurestore.offline.spark.reading import rows_of
from featurestore.offline.spark.types import literal, received
from featurestore.offline.tables.newest import Chunk, Wanted, without
from featurestore.offline.tables.snapshots import DataFile

#: What is done with the newest rows of some keys; what it returns is added up.
Work = Callable[[Iterator[Chunk]], Mapping[str, int]]


class Looked(NamedTuple):
    """What became of the rows that were looked at: ``read = newest + older + expired + keyless``.

    Attributes:
        read: rows that were looked at.
        newest: rows that are the newest of their key.
        expired: rows that are too old.
        keyless: rows whose key has a null or NaN among its parts.
        told: the sums of what the work returned.
    """

    read: int
    newest: int
    expired: int
    keyless: int
    told: Mapping[str, int]

    @property
    def older(self) -> int:
        """Rows of keys that have a newer one."""
        return self.read - self.newest - self.expired - self.keyless


def work_on_newest(
    spark: Any,
    view: FeatureView,
    files: Sequence[DataFile],
    loads: pa.Table,
    wanted: Wanted,
    arrived: Sequence[str] | None,
    erased: Suppressed | None,
    work: Work,
) -> Looked:
    """Find of each key the newest row among some rows of a view's table, and have executors work on them.

    A task that fails is tried again, so what the work does may be done twice.

    Args:
        spark: the session.
        view: whose rows.
        files: those to look into; one at least.
        loads: the ledger of the view's loads, as ``ledger_of`` returns it.
        wanted: which of their rows.
        arrived: the loads that came after ``wanted.since``; None if all rows are wanted.
        erased: whose rows are dropped.
        work: goes to the executors.
    """
    features = [f"f{place}" for place in range(len(view.schema))]
    conditions = [f"event <= {wanted.until}"]
    if wanted.first is not None:
        conditions.append(f"event >= {wanted.first}")
    if arrived is not None:
        new = f"load_id IN ({', '.join(map(literal, arrived))})" if arrived else "false"
        late = "" if wanted.seen_until is None else f" OR event > {wanted.seen_until}"
        conditions.append(f"({new}{late})")
    where = " AND ".join(conditions)
    fresh = "true" if wanted.oldest is None else f"event >= {wanted.oldest}"
    keyed = " AND ".join(_is_key(f"k{place}", dtype) for place, dtype in enumerate(view.keys.values()))
    counting = (
        f"SELECT count(*) AS read, count(*) FILTER (WHERE NOT {fresh}) AS expired, "
        f"count(*) FILTER (WHERE {fresh} AND NOT ({keyed})) AS keyless FROM {{rows}}"
    )
    counted = spark.sql(counting, rows=rows_of(spark, view, files, [], where)).collect()[0]
    rows = spark.sql(
        f"SELECT * FROM {{rows}} WHERE {fresh} AND {keyed}", rows=rows_of(spark, view, files, view.schema, where)
    )
    seen = Seen(view=view, loads=loads, as_of=None, known_at=None)
    keys = ", ".join(f"k{place}" for place in range(len(view.keys)))
    order = ", ".join(f"{name} DESC" for name in RANK)
    newest = spark.sql(
        f"SELECT * FROM (SELECT *, row_number() OVER (PARTITION BY {keys} ORDER BY {order}) AS place__ FROM {{rows}}) "
        "WHERE place__ = 1",
        rows=ranked(spark, rows, seen, features),
    )
    working = _Working(view=view, erased=erased, work=work, libraries=computing())
    newest_rows, told = 0, dict[str, int]()
    for row in newest.mapInArrow(working, HOME).collect():
        for name, count in unpacked(row["rows"], row["fault"]).to_pylist()[0].items():
            if name == _PASSED:
                newest_rows += count
            else:
                told[name] = told.get(name, 0) + count
    return Looked(counted["read"], newest_rows, counted["expired"], counted["keyless"], told)


_PASSED = "passed__"


@dataclass(frozen=True, kw_only=True)
class _Working:
    """Does the work, in an executor."""

    view: FeatureView
    erased: Suppressed | None
    work: Work
    libraries: Mapping[str, str]

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Yield one row: what the work returned, and how many rows there were."""
        passed = 0

        def chunks() -> Iterator[Chunk]:
            nonlocal passed
            for batch in batches:
                passed += batch.num_rows
                yield without(self._rows(batch), self.erased)

        try:
            check_libraries(self.libraries)
            told = self.work(chunks())
        except FeatureStoreError as error:
            yield fault(error)
            return
        yield packed(pa.RecordBatch.from_pylist([{**told, _PASSED: passed}]))

    def _rows(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Return a batch with the columns of :class:`Chunk`."""
        made = batch.column("made")
        created = pc.if_else(pc.equal(made, LOWEST), pa.scalar(None, pa.int64()), made)
        columns = {key: (batch.column(f"k{place}"), dtype) for place, (key, dtype) in enumerate(self.view.keys.items())}
        columns |= {one.name: (batch.column(f"f{place}"), one.dtype) for place, one in enumerate(self.view.schema)}
        columns |= {
            EVENT_TIMESTAMP: (batch.column("event"), types.Timestamp),
            CREATED_TIMESTAMP: (created, types.Timestamp),
            ROW_NUMBER: (batch.column("number"), types.Int64),
            "load_order": (batch.column("load_order"), types.Int64),
        }
        return pa.RecordBatch.from_pydict({name: received(values, dtype) for name, (values, dtype) in columns.items()})


def _is_key(column: str, dtype: types.DType) -> str:
    there = f"{column} IS NOT NULL"
    return f"{there} AND NOT isnan({column})" if dtype in (types.Float32, types.Float64) else there
