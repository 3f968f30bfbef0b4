"""One Delta table for each storage id: what is in it, and how a load gets into it.

A load is staged as a Parquet file inside the table's folder, where no reader sees it, and published by one Delta
commit that carries the load's id as a transaction identifier: the same load twice is one load, and a process killed
at any point leaves the table as it was or the load whole.
"""

from __future__ import annotations

import contextlib
import json
import re
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import CommitProperties, DeltaTable, Schema, Transaction
from deltalake.exceptions import DeltaError, TableNotFoundError
from deltalake.transaction import AddAction, RemoveAction, create_table_with_add_actions

from featurestore.definitions.names import EVENT_TIMESTAMP, LOAD_ID, ROW_NUMBER
from featurestore.errors import OfflineStoreError

_METADATA_KEY = "featurestore.load"
_ROW_GROUP_ROWS = 131_072
_UNMARKED = len(f"part-{uuid.UUID(int=0)}.parquet")


@dataclass(frozen=True, kw_only=True)
class LoadMetadata:
    """What a commit says of its load; it lets the ledger be completed from the table alone.

    ``location`` is where the view's source lay, without secrets, and ``moved_from`` where it had lain at the load
    before, if elsewhere. ``watermark`` says up to where the source is loaded: rows and watermark are one commit, so
    that a load that dies leaves neither. ``carried`` names loads of a source whose rows came from an older version's
    table: they count as loaded here too. ``project`` is whose load it is; empty in tables of earlier releases.
    """

    load_id: str
    rows_read: int
    rows_written: int
    rows_quarantined: int
    reasons: Mapping[str, int]
    author: str
    reason: str
    location: str = ""
    moved_from: str = ""
    watermark: Mapping[str, Any] | None = None
    carried: Sequence[str] = ()
    project: str = ""


@dataclass(frozen=True)
class StagedFile:
    """A Parquet file that no reader sees yet; ``stats`` are Delta's statistics of it."""

    path: Path
    rows: int
    stats: str


@dataclass(frozen=True, kw_only=True)
class DataFile:
    """A Parquet file of a snapshot.

    Attributes:
        name: within the table's folder.
        path: the whole path.
        rows: how many.
        size: bytes.
        first: the oldest event time, microseconds since 1970.
        last: the newest.
    """

    name: str
    path: str
    rows: int
    size: int
    first: int
    last: int

    @property
    def unique(self) -> bool:
        """Whether no two of its rows share key and event time; its name says so."""
        return "u" in self._marks

    @property
    def ordered(self) -> bool:
        """Whether its rows stand by key, and of each key by event time; its name says so."""
        return "s" in self._marks

    @property
    def _marks(self) -> str:
        # Delta keeps nothing else of ours with a file: part-UUID.parquet, or part-UUID-us.parquet.
        return self.name.removesuffix(".parquet").rpartition("-")[2] if len(self.name) > _UNMARKED else ""


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """The files of one version of a table, by name."""

    version: int
    files: tuple[DataFile, ...]

    @property
    def unique(self) -> bool:
        """Whether surely no two rows share key and event time: not in a file, and no two files overlap in time."""
        spans = sorted((one.first, one.last) for one in self.files)
        apart = all(earlier[1] < later[0] for earlier, later in pairwise(spans))
        return apart and all(one.unique for one in self.files)


class OfflineTable:
    """The Delta table of one storage id."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def exists(self) -> bool:
        """Return whether a load was ever published."""
        try:
            return DeltaTable.is_deltatable(str(self.path))
        except (DeltaError, OSError) as error:
            raise OfflineStoreError(f"The table {self.path.name} cannot be opened: {_plain(error)}.") from error

    def _open(self) -> DeltaTable:
        try:
            return DeltaTable(str(self.path))
        except TableNotFoundError:
            raise OfflineStoreError(f"The table {self.path.name} does not exist.", hint="Ingest rows first.") from None
        except (DeltaError, OSError) as error:
            raise OfflineStoreError(f"The table {self.path.name} cannot be opened: {_plain(error)}.") from error

    def version(self) -> int | None:
        """Return the Delta version, or None when nothing was ever published."""
        return self._open().version() if self.exists() else None

    def files(self, version: int | None = None) -> list[str]:
        """Return the Parquet files of a snapshot, the newest when no version is named."""
        table = self._open()
        if version is not None:
            table.load_as_version(version)
        return sorted(table.file_uris())

    def snapshot(self, version: int | None = None) -> Snapshot:
        """Return what a version of the table consists of, the newest when none is named.

        Raises:
            OfflineStoreError: there is no table, or it cannot be opened.
        """
        table = self._open()
        if version is not None:
            table.load_as_version(version)
        found = pa.table(table.get_add_actions(flatten=True))
        first, last = f"min.{EVENT_TIMESTAMP}", f"max.{EVENT_TIMESTAMP}"
        for name in (first, last):
            if name in found.column_names:
                place = found.schema.get_field_index(name)
                found = found.set_column(place, name, found.column(name).cast(pa.int64()))
        files = [
            DataFile(
                name=one["path"],
                path=str(self.path / one["path"]),
                rows=one["num_records"],
                size=one["size_bytes"],
                first=one[first],
                last=one[last],
            )
            for one in found.to_pylist()
        ]
        return Snapshot(version=table.version(), files=tuple(sorted(files, key=lambda one: one.name)))

    def has_load(self, load_id: str) -> bool:
        """Return whether the load of that id is published."""
        return bool(self.having([load_id]))

    def having(self, load_ids: Sequence[str]) -> set[str]:
        """Return those of the loads that are published."""
        if not load_ids or not self.exists():
            return set()
        table = self._open()
        return {load_id for load_id in load_ids if table.transaction_version(load_id) is not None}

    def loads_since(self, version: int | None) -> Iterator[tuple[int, LoadMetadata]]:
        """Yield the loads that were committed after a version (None: all), in commit order, with their versions."""
        newest = self._open().version()
        # The commits are read by their numbers: DeltaTable.history() numbers backwards from the snapshot, wrongly when
        # another writer commits meanwhile, and a load that is passed over once would never find its place in the order.
        for number in range(0 if version is None else version + 1, newest + 1):
            said = self._load_of(number)
            if said is not None:
                yield number, said

    def newest_of_source(self) -> LoadMetadata | None:
        """Return the newest load whose rows came from the view's source; None if the log knows of none."""
        if not self.exists():
            return None
        for number in range(self._open().version(), -1, -1):
            said = self._load_of(number)
            if said is not None and said.location:
                return said
        return None

    def _load_of(self, number: int) -> LoadMetadata | None:
        """Return what a commit says of its load; None if it published none."""
        try:
            written = (self.path / "_delta_log" / f"{number:020}.json").read_text(encoding="utf-8")
        except FileNotFoundError:  # Delta removes old commits; their loads were recorded long before
            return None
        except OSError as error:
            raise OfflineStoreError(f"The log of the table {self.path.name} cannot be read: {error}.") from error
        for line in written.splitlines():
            said = json.loads(line).get("commitInfo", {}).get(_METADATA_KEY)
            if said is not None:
                return LoadMetadata(**json.loads(said))
        return None

    def stage(self, batches: Iterator[pa.RecordBatch], schema: pa.Schema) -> StagedFile | None:
        """Write batches to a file that no reader sees; None when there are no rows.

        Raises:
            OfflineStoreError: the disk refuses.
        """
        path = self.path / f"part-{uuid.uuid4()}.parquet"
        rows, first, last = 0, None, None
        writer: pq.ParquetWriter | None = None
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            for batch in batches:
                if batch.num_rows == 0:
                    continue
                if writer is None:
                    writer = pq.ParquetWriter(path, schema, compression="zstd", compression_level=1)
                writer.write_batch(batch, row_group_size=_ROW_GROUP_ROWS)
                rows += batch.num_rows
                instants = batch.column(EVENT_TIMESTAMP).cast(pa.int64()).to_numpy(zero_copy_only=False)
                first = int(instants.min()) if first is None else min(first, int(instants.min()))
                last = int(instants.max()) if last is None else max(last, int(instants.max()))
            if writer is not None:
                writer.close()
        except BaseException as error:
            # The disk or the rows' source failed, or the user stopped it: what was staged belongs to no load.
            with contextlib.suppress(OSError):
                if writer is not None:
                    writer.close()
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)
            if isinstance(error, OSError):
                raise OfflineStoreError(
                    f"Rows for the table {self.path.name} cannot be written: {error}.",
                    hint="Check the disk's space and rights; nothing was published.",
                ) from error
            raise
        if rows == 0 or first is None or last is None:
            return None
        stats = {
            "numRecords": rows,
            "minValues": {EVENT_TIMESTAMP: _iso(first)},
            "maxValues": {EVENT_TIMESTAMP: _iso(last)},
        }
        return StagedFile(path, rows, json.dumps(stats))

    def publish(self, staged: StagedFile | None, schema: pa.Schema, metadata: LoadMetadata) -> bool:
        """Make a staged file visible by one commit.

        Returns:
            False when the load of that id was published before; the staged file is then removed.

        Raises:
            OfflineStoreError: the table refuses.
        """
        actions: list[AddAction | RemoveAction] = []
        if staged is not None:
            info = staged.path.stat()
            actions.append(AddAction(staged.path.name, info.st_size, {}, int(time.time() * 1000), True, staged.stats))
        properties = CommitProperties(
            custom_metadata={_METADATA_KEY: json.dumps(asdict(metadata), sort_keys=True)},
            app_transactions=[Transaction(app_id=one, version=1) for one in (metadata.load_id, *metadata.carried)],
            max_commit_retries=50,
        )
        try:
            if not self.has_load(metadata.load_id):
                self._commit(actions, schema, properties)
                return True
        except (DeltaError, OSError) as error:
            if not self.has_load(metadata.load_id):
                if staged is not None:
                    staged.path.unlink(missing_ok=True)
                raise OfflineStoreError(
                    f"A load for the table {self.path.name} cannot be published: {_plain(error)}."
                ) from error
        if staged is not None:
            staged.path.unlink(missing_ok=True)
        return False

    def _commit(self, actions: list[AddAction | RemoveAction], schema: pa.Schema, properties: CommitProperties) -> None:
        if not self.exists():
            try:
                create_table_with_add_actions(
                    str(self.path), _delta_schema(schema), [], mode="error", name=self.path.name
                )
            except DeltaError:
                if not self.exists():  # else another writer made it at the same moment
                    raise
        self._open().create_write_transaction(
            actions, mode="append", schema=_delta_schema(schema), commit_properties=properties
        )


def stored_schema(checked: pa.Schema) -> pa.Schema:
    """Return the columns of a table: those of a checked batch, the load and the row's number in it."""
    return checked.append(pa.field(LOAD_ID, pa.string())).append(pa.field(ROW_NUMBER, pa.int64()))


def _delta_schema(schema: pa.Schema) -> Any:
    return Schema.from_arrow(schema)


def _plain(error: Exception) -> str:
    # delta-rs draws its chain of causes as a coloured tree.
    plain = re.sub(r"\x1b\[[0-9;]*m", "", str(error))
    return ": ".join(line.strip(" ↳") for line in plain.splitlines() if line.strip(" ↳")).rstrip(".")


def _iso(us: int) -> str:
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=us)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
