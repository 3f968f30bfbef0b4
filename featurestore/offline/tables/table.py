"""One Delta table for each storage id: what is in it, and how a load gets into it.

A load is staged as a Parquet file inside the table's folder, where no reader sees it, and published by one Delta
commit that carries the load's id as a transaction identifier: the same load twice is one load, and a process killed
at any point leaves the table as it was or the load whole.
"""

from __future__ import annotations

import contextlib
import time
import uuid
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, PostCommitHookProperties, Schema, Transaction
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError
from deltalake.transaction import AddAction, RemoveAction, create_table_with_add_actions

from featurestore.definitions.names import EVENT_TIMESTAMP, LOAD_ID, ROW_NUMBER
from featurestore.errors import OfflineStoreError, TableConflictError
from featurestore.offline.tables.delta_log import Change, Commit, LoadMetadata, read_commit, said
from featurestore.offline.tables.snapshots import DataFile, Snapshot, StagedFile, new_name, snapshot_of, statistics
from featurestore.offline.tables.staging import RowsWriter
from featurestore.offline.tables.table_format import format_of
from featurestore.storage import StoragePath
from featurestore.storage.conditional import check_conditional_writes
from featurestore.storage.failures import plain, what_happened
from featurestore.storage.places import storage_options

__all__ = [
    "DataFile",
    "LoadMetadata",
    "OfflineTable",
    "OpenTable",
    "OptimisticTable",
    "Snapshot",
    "StagedFile",
    "stored_schema",
]

#: A version of a table, opened: what a commit was decided by.
OpenTable = DeltaTable

_RETRIES = 50
#: Counts the commits that put files in the place of others: no load can have that id.
_TURN = "/featurestore/change"


class OfflineTable:
    """The Delta table of one storage id."""

    #: How often a load is tried that loses to other writers.
    _attempts = 10

    def __init__(self, path: StoragePath) -> None:
        self.path = path

    def exists(self) -> bool:
        """Return whether a load was ever published."""
        try:
            return DeltaTable.is_deltatable(str(self.path), storage_options(self.path))
        except (DeltaError, OSError) as error:
            raise self._refused("cannot be opened", error) from error

    def _open(self) -> DeltaTable:
        try:
            table = DeltaTable(str(self.path), storage_options=storage_options(self.path))
            format_of(table.metadata().configuration, self.path.name)
            return table
        except TableNotFoundError:
            raise OfflineStoreError(f"The table {self.path.name} does not exist.", hint="Ingest rows first.") from None
        except (DeltaError, OSError) as error:
            raise self._refused("cannot be opened", error) from error

    def _refused(self, what: str, error: Exception) -> OfflineStoreError:
        if isinstance(self.path, Path):
            return OfflineStoreError(f"The table {self.path.name} {what}: {plain(error)}.")
        said, hint = what_happened(error, self.path.bucket.secrets())
        return OfflineStoreError(f"The table {self.path.name} in {self.path.parent} {what}: {said}.", hint=hint)

    def format(self) -> int:
        """Return the format of its rows, files and commits, which this release can read.

        Raises:
            OfflineStoreError: there is no table, it cannot be opened, or it is of a newer format.
        """
        return format_of(self._open().metadata().configuration, self.path.name)

    def version(self) -> int | None:
        """Return the Delta version, or None when nothing was ever published."""
        return self._open().version() if self.exists() else None

    def table_id(self) -> str:
        """Return the id that Delta gave the table when it was made."""
        return str(self._open().metadata().id)

    def files(self, version: int | None = None) -> list[str]:
        """Return the Parquet files of a snapshot, the newest when no version is named."""
        table = self._open()
        if version is not None:
            table.load_as_version(version)
        return sorted(one.path for one in self._snapshot(table).files)

    def snapshot(self, version: int | None = None) -> Snapshot:
        """Return what a version of the table consists of, the newest when none is named.

        Raises:
            OfflineStoreError: there is no table, or it cannot be opened.
        """
        table = self._open()
        if version is not None:
            table.load_as_version(version)
        return self._snapshot(table)

    def _snapshot(self, table: DeltaTable) -> Snapshot:
        return snapshot_of(pa.table(table.get_add_actions(flatten=True)), table.version(), self.path)

    def has_load(self, load_id: str) -> bool:
        """Return whether the load of that id is published."""
        return bool(self.having([load_id]))

    def having(self, load_ids: Collection[str], version: int | None = None) -> set[str]:
        """Return those of the loads that are published, and were not withdrawn since; or were so at a version."""
        if not load_ids or not self.exists():
            return set()
        table = self._open()
        if version is not None:
            table.load_as_version(version)
        return {load_id for load_id in load_ids if _is_in(table, load_id)}

    def commits(self, after: int | None = None) -> Iterator[Commit]:
        """Yield the commits after a version (None: all), in order."""
        newest = self._open().version()
        # The commits are read by their numbers: DeltaTable.history() numbers backwards from the snapshot, wrongly when
        # another writer commits meanwhile, and a load that is passed over once would never find its place in the order.
        for number in range(0 if after is None else after + 1, newest + 1):
            found = read_commit(self.path, number)
            if found is not None:
                yield found

    def loads_since(self, version: int | None) -> Iterator[tuple[int, LoadMetadata]]:
        """Yield the loads that were committed after a version (None: all), in commit order, with their versions."""
        for commit in self.commits(version):
            if commit.load is not None:
                yield commit.version, commit.load

    def newest_of_source(self) -> LoadMetadata | None:
        """Return the newest load whose rows came from the view's source, of those that were not withdrawn.

        None if the log knows of none.
        """
        if not self.exists():
            return None
        table = self._open()
        for number in range(table.version(), -1, -1):
            found = read_commit(self.path, number)
            load = None if found is None else found.load
            if load is not None and load.location and _is_in(table, load.load_id):
                return load
        return None

    def stage(self, batches: Iterator[pa.RecordBatch], schema: pa.Schema) -> StagedFile | None:
        """Write batches to a file that no reader sees; None when there are no rows.

        Raises:
            OfflineStoreError: the disk refuses.
        """
        path = self.path / new_name()
        writer = RowsWriter(path, schema)
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            writer.write_all(batches)
        except BaseException as error:
            # The disk or the rows' source failed, or the user stopped it: what was staged belongs to no load.
            with contextlib.suppress(OSError, OfflineStoreError):
                path.unlink(missing_ok=True)
            if isinstance(error, OSError):
                raise OfflineStoreError(
                    f"Rows for the table {self.path.name} cannot be written: {error}.",
                    hint="Check the disk's space and rights; nothing was published.",
                ) from error
            raise
        if writer.first is None or writer.last is None:
            return None
        return StagedFile(path, writer.rows, statistics(writer.rows, writer.first, writer.last))

    def publish(self, staged: StagedFile | None, schema: pa.Schema, metadata: LoadMetadata) -> bool:
        """Make a staged file visible by one commit.

        Returns:
            False when the load of that id was published before; the staged file is then removed.

        Raises:
            OfflineStoreError: the table refuses.
        """
        for attempt in range(self._attempts):
            try:
                table = self._made(schema)
                if _is_in(table, metadata.load_id):
                    break
                # One opening for the question and the commit: a load that gets in between is a conflict then.
                self._enter(table, staged, metadata)
                return True
            except (DeltaError, OSError, OfflineStoreError) as error:
                held = {one.name for one in self.snapshot().files} if self.exists() else set()
                if staged is not None and staged.path.name in held:
                    return True  # what failed came after the commit: a checkpoint that the disk had no room for
                if self.has_load(metadata.load_id):
                    break
                # Its rows were carried over meanwhile; now that is seen.
                lost = isinstance(error, (CommitFailedError, TableConflictError))
                if lost and attempt < self._attempts - 1:
                    continue
                if staged is not None:
                    staged.path.unlink(missing_ok=True)
                raise (error if isinstance(error, OfflineStoreError) else self._not_published(error)) from error
        if staged is not None:
            staged.path.unlink(missing_ok=True)
        return False

    def _enter(self, table: OpenTable, staged: StagedFile | None, metadata: LoadMetadata) -> None:
        """Make the commit of a load that the opened table does not have."""
        entering = dict.fromkeys((metadata.load_id, *metadata.carried))
        self._commit(
            table,
            [] if staged is None else [_adding(staged, data_change=True)],
            entering=entering,
            # They are not in, and yet one that comes by itself at this moment must not miss that its rows are.
            leaving=[one for _, one in metadata.origins if one not in entering],
            load=metadata,
        )

    def _not_published(self, error: Exception) -> OfflineStoreError:
        return self._refused("cannot take a load", error)

    def rewrite(
        self,
        removed: Sequence[str],
        added: Sequence[StagedFile],
        *,
        action: str,
        details: Mapping[str, Any],
        author: str,
        reason: str,
        data_change: bool,
        load: LoadMetadata | None = None,
        entering: Collection[str] = (),
        leaving: Collection[str] = (),
        project: str = "",
    ) -> int:
        """Put files in the place of others by one commit; loads that land meanwhile stay.

        Args:
            removed: names of files of the table.
            added: files in the table's folder; they stay where they are if this fails.
            action: ``compact``, ``restore``, ``backfill``, ``supersede``, ``erase`` or ``gc``.
            details: of the action, as JSON values; they stand in the commit.
            author: who does it.
            reason: why.
            data_change: whether the rows are others than before.
            load: the load that the commit is, if it brings rows of one.
            entering: loads that are in the table from then on, beside ``load``.
            leaving: loads that are not: they may be ingested again.
            project: whose table it is.

        Returns:
            The table's new version.

        Raises:
            TableConflictError: one of the files is no longer in the table, as another writer has replaced it; or
                ``load`` was published.
            OfflineStoreError: the table refuses.
        """
        change = Change(
            id=uuid.uuid4().hex, action=action, author=author, reason=reason, details=dict(details), project=project
        )
        names = set(removed)
        new = () if load is None else (load.load_id, *load.carried)
        for attempt in range(_RETRIES):
            table = self._open()
            present = {one.name: one for one in self._snapshot(table).files}
            was_in = [_is_in(table, one) for one in entering] + ([] if load is None else [_is_in(table, load.load_id)])
            if not names <= present.keys() or any(was_in) or not all(_is_in(table, one) for one in leaving):
                raise self.conflict()
            actions: list[AddAction | RemoveAction] = [
                RemoveAction(name, data_change, int(time.time() * 1000), present[name].size, {}) for name in names
            ]
            try:
                actions += [_adding(one, data_change=data_change) for one in added]
            except FileNotFoundError as error:  # an erasure leaves no old file behind that a restore wants back
                raise self.conflict() from error
            try:
                # Delta sees no conflict of two commits that remove the same file and say that no data changed; so each
                # one takes the next number of a transaction of its own.
                entered = (*new, *entering)
                self._commit(table, actions, entering=entered, leaving=leaving, load=load, change=change, alone=True)
            except (DeltaError, OSError) as error:
                done = self._version_of(change, table.version())
                if done is not None:  # what failed came after the commit: a checkpoint that the disk had no room for
                    return done
                if attempt < _RETRIES - 1 and isinstance(error, CommitFailedError):
                    continue
                raise self._refused("cannot be written", error) from error
            break
        done = self._version_of(change, table.version())
        if done is None:
            raise OfflineStoreError(f"The commit to the table {self.path.name} cannot be found in its log.")
        return done

    def _version_of(self, change: Change, after: int) -> int | None:
        """Return the version that a change became; Delta does not say, and others may have come before it."""
        for commit in self.commits(after):
            if commit.change is not None and commit.change.id == change.id:
                return commit.version
        return None

    def conflict(self) -> TableConflictError:
        """Return the error for a change that another writer was faster than."""
        return TableConflictError(
            f"Another writer changed the same files of the table {self.path.name} meanwhile.",
            hint="Nothing was changed; do it again.",
        )

    def _made(self, schema: pa.Schema) -> DeltaTable:
        """Return the table, which is made when there is none."""
        if not self.exists():
            if not isinstance(self.path, Path):
                check_conditional_writes(self.path)
            try:
                create_table_with_add_actions(
                    str(self.path),
                    Schema.from_arrow(schema),
                    [],
                    mode="error",
                    name=self.path.name,
                    # Else Delta keeps them of the first 32 columns alone, and event times stand after the features.
                    configuration={"delta.dataSkippingStatsColumns": EVENT_TIMESTAMP},
                    storage_options=storage_options(self.path),
                )
            except DeltaError:
                if not self.exists():  # else another writer made it at the same moment
                    raise
        return self._open()

    def _commit(
        self,
        table: DeltaTable,
        actions: Sequence[AddAction | RemoveAction],
        *,
        entering: Iterable[str] = (),
        leaving: Iterable[str] = (),
        load: LoadMetadata | None = None,
        change: Change | None = None,
        alone: bool = False,
    ) -> None:
        marks = [Transaction(app_id=one, version=_next(table, one, odd=True)) for one in dict.fromkeys(entering)]
        marks += [Transaction(app_id=one, version=_next(table, one, odd=False)) for one in dict.fromkeys(leaving)]
        if alone:
            marks.append(Transaction(app_id=_TURN, version=(table.transaction_version(_TURN) or 0) + 1))
        table.create_write_transaction(
            list(actions),
            mode="append",
            schema=table.schema(),
            commit_properties=CommitProperties(
                custom_metadata=said(load, change), app_transactions=marks, max_commit_retries=_RETRIES
            ),
            # The log says what each load was, and leads back to any state: it is small, and never thrown away.
            post_commithook_properties=PostCommitHookProperties(cleanup_expired_logs=False),
        )


class OptimisticTable(OfflineTable):
    """A table as it was at a version: what is published there conflicts with loads of the same rows that came since.

    Args:
        path: the table's folder.
        version: the version; None if there was no table.
    """

    _attempts = 1

    def __init__(self, path: StoragePath, version: int | None) -> None:
        super().__init__(path)
        self._version = version or 0

    def _made(self, schema: pa.Schema) -> DeltaTable:
        table = super()._made(schema)
        if table.version() != self._version:
            table.load_as_version(self._version)  # Delta compares a commit with all that came after what it had read
        return table

    def _not_published(self, error: Exception) -> OfflineStoreError:
        return self.conflict() if isinstance(error, CommitFailedError) else super()._not_published(error)


def _is_in(table: DeltaTable, load_id: str) -> bool:
    """Return whether a load is in the table: the version of its transaction is odd, and even once it is withdrawn."""
    return (table.transaction_version(load_id) or 0) % 2 == 1


def _next(table: DeltaTable, load_id: str, *, odd: bool) -> int:
    version = table.transaction_version(load_id) or 0
    return version if version % 2 == odd else version + 1


def _adding(staged: StagedFile, *, data_change: bool) -> AddAction:
    info = staged.path.stat()
    return AddAction(staged.path.name, info.st_size, {}, int(time.time() * 1000), data_change, staged.stats)


def stored_schema(checked: pa.Schema) -> pa.Schema:
    """Return the columns of a table: those of a checked batch, the load and the row's number in it."""
    return checked.append(pa.field(LOAD_ID, pa.string())).append(pa.field(ROW_NUMBER, pa.int64()))
