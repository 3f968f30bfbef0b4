"""What is done with a table's rows where they are read, rather than here: by the executors of Spark."""

from __future__ import annotations

from datetime import datetime

import pyarrow as pa

from featurestore.definitions import FeatureView
from featurestore.offline.erasure.suppression import suppressed
from featurestore.offline.join.joining import Joining
from featurestore.offline.join.visible_rows import ledger_of
from featurestore.offline.spark.newest import Looked, Work, work_on_newest
from featurestore.offline.spark.profiling import Profiling, profile_files
from featurestore.offline.spark.reading import access_to
from featurestore.offline.spark.session import failing, is_local, session
from featurestore.offline.tables.newest import Wanted, candidates
from featurestore.profiles import Bins, Profile, profile_stream
from featurestore.types import microseconds

_READABLE = "All executors have to see the tables at the same paths."


class Partitions(Joining):
    """A view's rows, partition by partition."""

    @property
    def has_executors(self) -> bool:
        """Whether there are executors, as ``[offline]`` says."""
        return self._config.offline.engine == "spark"

    def executors_are_here(self) -> bool:
        """Return whether all executors run on this machine for certain.

        Raises:
            OfflineStoreError: Spark cannot be had.
        """
        return is_local(session(self._config.spark()))

    def by_partition(self, view: FeatureView, wanted: Wanted, work: Work) -> Looked:
        """Find of each key the newest row among some rows of the view's table, and have executors work on them.

        Args:
            view: the view.
            wanted: which rows.
            work: is called in the executors, once for each partition that has rows, with their chunks. It may be done
                twice: a task that fails is tried again.

        Raises:
            OfflineStoreError: a table cannot be read, or Spark cannot be had.
            FeatureStoreError: what the work raises.
        """
        table = self.table(view)
        snapshot = table.snapshot(wanted.version)
        before = None if wanted.since is None else table.snapshot(wanted.since)
        files = candidates(snapshot, before, wanted)
        if not files:
            return Looked(0, 0, 0, 0, {})
        arrived = None
        if wanted.since is not None:
            loads = table.loads_since(wanted.since)
            arrived = [load.load_id for version, load in loads if version <= wanted.version]
        ledger = ledger_of(view, self._load_orders(view))
        erased = suppressed(view, self._registry, self._config)
        settings = self._config.spark()
        with failing(f'Reading the rows of feature view "{view.name}" on Spark', _READABLE, settings):
            return work_on_newest(session(settings), view, files, ledger, wanted, arrived, erased, work)

    def _load_orders(self, view: FeatureView) -> pa.Table:
        # Withdrawn loads too: files that an older version of the table has may still hold their rows.
        loads = self.ledger(view)
        return pa.table(
            {
                "storage_id": pa.array([load.storage_id for load in loads], pa.string()),
                "load_id": pa.array([load.load_id for load in loads], pa.string()),
                "load_order": pa.array([load.order for load in loads], pa.int64()),
                "published_at": pa.array([load.published_at for load in loads], pa.timestamp("us", "UTC")),
            }
        )

    def profile(
        self, view: FeatureView, bins: Bins, *, start: datetime | None = None, end: datetime | None = None
    ) -> Profile:
        """Return the profile of the rows of a view's table; on Spark by partition, and else here.

        Counts are the same either way, and moments to twelve digits.

        Args:
            view: the view; one that was never ingested has no rows.
            bins: the cells, over fields of the view.
            start: no earlier event times.
            end: none from here on.

        Raises:
            ConfigError: Spark is configured, and pyspark is missing.
            OfflineStoreError: the table cannot be read, or Spark cannot be had.
            SchemaError: a column cannot be read as the type that the bins are of.
        """
        first = None if start is None else microseconds(start)
        last = None if end is None else microseconds(end) - 1
        snapshot = self._newest(view)
        files = [] if snapshot is None else [
            one
            for one in snapshot.files
            if (first is None or one.last >= first) and (last is None or one.first <= last)
        ]  # fmt: skip
        if not files:
            return Profile.empty(bins)
        profiling = Profiling(bins=bins, view=view, access=access_to(files), first=first, last=last)
        if not self.has_executors:
            return profile_stream((batch for one in files for batch in profiling.rows(one.path)), bins)
        settings = self._config.spark()
        with failing(f'Profiling the rows of feature view "{view.name}" on Spark', _READABLE, settings):
            return profile_files(session(settings), files, profiling)
