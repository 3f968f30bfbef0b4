"""A load whose rows were carried over before it came by itself: its own rows take their place.

Carried rows have no values of added fields, and lack those that the older version's checks refused. The load has them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from featurestore.definitions.names import LOAD_ID, ROW_NUMBER
from featurestore.errors import OfflineStoreError
from featurestore.offline.tables.copying import copied
from featurestore.offline.tables.delta_log import LoadMetadata
from featurestore.offline.tables.snapshots import StagedFile, discard
from featurestore.offline.tables.table import OfflineTable, OpenTable
from featurestore.storage import StoragePath
from featurestore.storage.parquet import parquet_file, read_schema

#: Rows of carried loads, by load: from one number up to before another.
CarriedRows = Mapping[str, Sequence[tuple[int, int]]]


class Superseding(OfflineTable):
    """A table in which a load that a caller passes takes the place of the rows of it that were carried over."""

    def superseded(self, load_id: str) -> CarriedRows:
        """Return the rows that go when a load comes by itself.

        Raises:
            OfflineStoreError: the table cannot be read.
        """
        return self._carried(self._open(), load_id) if self.exists() else {}

    def _enter(self, table: OpenTable, staged: StagedFile | None, metadata: LoadMetadata) -> None:
        carried = self._carried(table, metadata.load_id)
        if not carried:
            super()._enter(table, staged, metadata)
            return
        copies: list[StagedFile] = []
        removed: list[str] = []
        try:
            for file in (one.place for one in self.snapshot().files):
                if not _has(file, carried):
                    continue
                removed.append(file.name)
                rest = copied(
                    self, file, read_schema(file), lambda rows: rows.filter(pc.invert(in_rows(rows, carried)))
                )
                copies += [] if rest is None else [rest]
            self.rewrite(
                removed,
                [*copies, *([] if staged is None else [staged])],
                action="supersede",
                details={"load_id": metadata.load_id, "carried_by": sorted(carried)},
                author=metadata.author,
                reason=metadata.reason,
                data_change=True,
                load=metadata,
                project=metadata.project,
            )
        except BaseException:
            discard(copies)
            raise

    def _carried(self, table: OpenTable, load_id: str) -> dict[str, list[tuple[int, int]]]:
        """Return which rows of which carried loads came from a load originally."""
        if table.transaction_version(load_id) is None:  # it neither came nor was carried over ever
            return {}
        found: dict[str, list[tuple[int, int]]] = {}
        for _, said in self.loads_since(None):  # the last of an id counts: it may have come again
            ends = [*(first for first, _ in said.origins[1:]), said.rows_written]
            rows = [(first, end) for (first, one), end in zip(said.origins, ends, strict=False) if one == load_id]
            found[said.load_id] = [one for one in rows if one[0] < one[1]]
        there = self.having([carrying for carrying, rows in found.items() if rows])
        return {carrying: rows for carrying, rows in found.items() if carrying in there}


def _has(file: StoragePath, carried: CarriedRows) -> bool:
    try:
        with parquet_file(file) as opened:
            batches = opened.iter_batches(columns=[LOAD_ID, ROW_NUMBER])
            return any(pc.any(in_rows(batch, carried)).as_py() for batch in batches)
    except (OSError, pa.ArrowException) as error:
        raise OfflineStoreError(
            f"The file {file.name} of the table {file.parent.name} cannot be read: {error}",
            hint="If it is gone or damaged, bring it back from a backup.",
        ) from error


def in_rows(batch: pa.RecordBatch, carried: CarriedRows) -> pa.BooleanArray:
    """Return which rows of a batch are among those of carried loads; it has their ids and numbers."""
    found = pa.repeat(pa.scalar(False), batch.num_rows)
    loads, numbers = batch.column(LOAD_ID), batch.column(ROW_NUMBER)
    for load_id, ranges in carried.items():
        mine = pc.equal(loads, load_id)
        for first, end in ranges:
            within = pc.and_(pc.greater_equal(numbers, first), pc.less(numbers, end))
            found = pc.or_(found, pc.and_(mine, within))
    return found
