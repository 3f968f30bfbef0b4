"""The tables of one project, opened."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import duckdb
import pyarrow as pa

from featurestore.config import Config
from featurestore.definitions import FeatureView, SharedFeatureView, storage_id
from featurestore.offline import engine
from featurestore.offline.join import order as join
from featurestore.offline.places import offline_folder, spill_folder
from featurestore.offline.tables.delta_log import Change, LoadMetadata, read_commit
from featurestore.offline.tables.sharing import check_here, check_whose
from featurestore.offline.tables.table import OfflineTable
from featurestore.registry import Registry
from featurestore.registry.records import Load

#: Changes of a table that are entered in the ledger from the table's log; the others are entered by what makes them.
_ENTERED = ("compact", "restore", "gc", "backfill")


class Opened:
    """The tables, one for each storage id, below ``offline.path``, and the ledger of their loads."""

    def __init__(self, config: Config, registry: Registry) -> None:
        self._config = config
        self._registry = registry
        self._folder = offline_folder(config)

    def table(self, view: FeatureView) -> OfflineTable:
        """Return the view's table.

        Raises:
            OfflineStoreError: another project has loaded it, and it is not here.
        """
        table = OfflineTable(self._folder / storage_id(view))
        check_here(view, table, self._registry)
        return table

    def table_version(self, view: FeatureView) -> int | None:
        """Return the version of the view's table, or None when it was never ingested."""
        return self.table(view).version()

    def loads(self, view: FeatureView) -> list[Load]:
        """Return the loads whose rows are in the view's table, in commit order; see :meth:`ledger`."""
        return [load for load in self.ledger(view) if load.withdrawn_at is None]

    def ledger(self, view: FeatureView) -> list[Load]:
        """Return the view's loads in commit order, with those that a restore has withdrawn.

        What a killed writer left out of the ledger, loads and changes of the table, is entered now. The ledger of
        another project's view is that project's, and only read.

        Raises:
            OfflineStoreError: another project keeps a view that is defined alike in the same folder.
        """
        table, name = self.table(view), storage_id(view)
        if isinstance(view, SharedFeatureView):
            return self._registry.owner(view).loads(name)
        known = self._registry.loads(name)
        if not table.exists():
            return known
        for commit in table.commits(known[-1].table_version if known else None):
            if commit.load is not None:
                check_whose(view, commit.load.project, self._config.project)
                self._enter_load(name, commit.version, commit.load)
            if commit.change is not None and commit.change.action in _ENTERED:
                check_whose(view, commit.change.project, self._config.project)
                self._enter_change(name, commit.version, commit.change)
        return self._registry.loads(name)

    def explained(self, view: FeatureView) -> list[Load]:
        """Return the :meth:`ledger` with the reason of each load, as its commit says it."""
        table, found = self.table(view), []
        for load in self.ledger(view):
            commit = read_commit(table.path, load.table_version)
            said = None if commit is None else commit.load
            mine = said is not None and said.load_id == load.load_id  # another table may stand in its place
            found.append(replace(load, reason=said.reason) if said is not None and mine else load)
        return found

    def _enter_load(self, name: str, version: int, said: LoadMetadata) -> None:
        self._registry.record_load(
            load_id=said.load_id,
            storage_id=name,
            table_version=version,
            rows_read=said.rows_read,
            rows_written=said.rows_written,
            rows_quarantined=said.rows_quarantined,
            rows_suppressed=said.rows_suppressed,
            reasons=said.reasons,
            anomalies=said.anomalies,
            warned=said.warned,
            author=said.author,
            reason=said.reason,
            moved=(said.moved_from, said.location) if said.moved_from else None,
        )

    def _enter_change(self, name: str, version: int, said: Change) -> None:
        self._registry.record_change(
            name,
            action=said.action,
            table_version=version,
            details={**said.details, "reason": said.reason},
            withdrawn=said.details.get("withdrawn", ()),
            reinstated=said.details.get("reinstated", ()),
            who=said.author,
        )

    @contextmanager
    def _connect(self, views: list[FeatureView], what: str) -> Iterator[duckdb.DuckDBPyConnection]:
        # Withdrawn loads too: files that a dataset pins may still hold their rows.
        loads = [load for view in views for load in self.ledger(view)]
        ledger = pa.table(
            {
                "storage_id": pa.array([load.storage_id for load in loads], pa.string()),
                "load_id": pa.array([load.load_id for load in loads], pa.string()),
                "load_order": pa.array([load.order for load in loads], pa.int64()),
            }
        )
        with engine.connect(self._config.offline, spill_folder(self._config), what) as connection:
            connection.register(join.LOADS, ledger)
            yield connection
