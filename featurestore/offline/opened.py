"""The tables of one project, opened."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import duckdb
import pyarrow as pa

from featurestore.config import Config
from featurestore.definitions import FeatureView, SharedFeatureView, storage_id
from featurestore.offline import engine, join
from featurestore.offline.sharing import check_here, check_whose
from featurestore.offline.tables import OfflineTable
from featurestore.registry import Registry
from featurestore.registry.records import Load


class Opened:
    """The tables, one for each storage id, below ``offline.path``, and the ledger of their loads."""

    def __init__(self, config: Config, registry: Registry) -> None:
        self._config = config
        self._registry = registry
        self._folder = config.path(config.offline.path)

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
        """Return the view's loads in commit order, entering those that a killed writer left out of the ledger.

        The ledger of another project's view is that project's, and only read.

        Raises:
            OfflineStoreError: another project keeps a view that is defined alike in the same folder.
        """
        table, name = self.table(view), storage_id(view)
        if isinstance(view, SharedFeatureView):
            return self._registry.owner(view).loads(name)
        known = self._registry.loads(name)
        if not table.exists():
            return known
        for version, said in table.loads_since(known[-1].table_version if known else None):
            check_whose(view, said.project, self._config.project)
            self._registry.record_load(
                load_id=said.load_id,
                storage_id=name,
                table_version=version,
                rows_read=said.rows_read,
                rows_written=said.rows_written,
                rows_quarantined=said.rows_quarantined,
                reasons=said.reasons,
                author=said.author,
                moved=(said.moved_from, said.location) if said.moved_from else None,
            )
        return self._registry.loads(name)

    @contextmanager
    def _connect(self, views: list[FeatureView], what: str) -> Iterator[duckdb.DuckDBPyConnection]:
        loads = [load for view in views for load in self.loads(view)]
        ledger = pa.table(
            {
                "storage_id": pa.array([load.storage_id for load in loads], pa.string()),
                "load_id": pa.array([load.load_id for load in loads], pa.string()),
                "load_order": pa.array([load.order for load in loads], pa.int64()),
            }
        )
        with engine.connect(self._config.offline, self._folder / ".spill", what) as connection:
            connection.register(join.LOADS, ledger)
            yield connection
