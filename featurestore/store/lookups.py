"""The newest rows: brought online."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial

from featurestore import types
from featurestore.definitions import FeatureView, storage_id
from featurestore.erasure.online_places import remove_suppressed
from featurestore.errors import OfflineStoreError
from featurestore.materialize import MaterializeReport, PartitionedRows, Progress, Waiting, materialize
from featurestore.offline.erasure.suppression import suppressed
from featurestore.online import open_online_store, reach
from featurestore.online.upkeep import compact, expire, longest_ttls, retain
from featurestore.registry import live_views
from featurestore.registry.records import Registered
from featurestore.store.loading import Loading


class NewestRows(Loading):
    """The newest rows, online."""

    def materialize(
        self,
        view: str,
        *,
        full: bool = False,
        start: datetime | None = None,
        end: datetime | None = None,
        progress: Progress | None = None,
    ) -> MaterializeReport:
        """Copy the newest rows of a view, up to now, into the online store.

        Only rows that were loaded since the last time are read, however old they are, unless more is needed: the first
        time, for a longer TTL, and after rows were taken out. One that was interrupted is gone on with.

        Args:
            view: the view: ``weather`` is every live version, as in :meth:`ingest`; ``weather@1`` just that one.
            full: read all rows.
            start: read the rows with event times from this instant on instead, whenever they were loaded.
            end: and before this one.
            progress: called with the rows of each chunk, and how many there are in all.

        Raises:
            ObjectNotFoundError: there is no such view.
            RegistryError: the view is another project's.
            DataError: a range is given with ``full``, or ends before it begins.
            TimestampError: an instant of the range names no zone.
            OfflineStoreError: rows cannot be read.
            OnlineStoreError: the online store refuses, or another process materializes the same view.
        """
        run = partial(
            materialize,
            full=full,
            start=None if start is None else types.utc(start, "The start of the range"),
            end=None if end is None else types.utc(end, "The end of the range"),
        )
        current, *others = [self._materialize(one, progress, run) for one in self._live(view)]
        compact(self.online)
        return replace(current, view=current.view.partition("@")[0], also=tuple(others))

    def _materialize(
        self,
        view: Registered[FeatureView],
        progress: Progress | None,
        run: Callable[..., MaterializeReport] | None = None,
        waiting: Waiting | None = None,
    ) -> MaterializeReport:
        """Materialize one version, and enter it in the ledger; a view that was never ingested leaves no trace."""
        who, now, definition = self.who(), datetime.now(UTC), view.definition
        table = storage_id(definition)
        erased = suppressed(definition, self.registry, self.config)
        ttls = longest_ttls([definition, *(one.definition for one in live_views(self.registry))])
        if self.offline.table_version(definition) is not None and not self.config.replay:
            retain(self.online, table, ttls[table])  # before there are rows that the store would have to be told of
        made = partial(run or materialize, waiting=waiting, partitions=self._partitions())
        report = self._run(made, definition, now, progress)
        now_erased = suppressed(definition, self.registry, self.config)
        if now_erased is not None and (erased is None or now_erased.digests - erased.digests):
            remove_suppressed(self.online, table, definition, now_erased)
        report = replace(report, view=view.id, removed=expire(self.online, {table: ttls[table]}, now))
        self._record(table, report, now, who)
        return report

    def _partitions(self) -> PartitionedRows | None:
        """Return what writes rows where they are read; None if nothing but this process reads them."""
        if not self.offline.has_executors or self.config.replay:
            return None
        return PartitionedRows(
            offline=self.offline,
            open_store=partial(open_online_store, self.config.online_store(), self.config.root),
            reach=reach(self.config.online),
        )

    def _run(
        self, run: Callable[..., MaterializeReport], view: FeatureView, now: datetime, progress: Progress | None
    ) -> MaterializeReport:
        """Materialize from the table as it is; what rewrites its files meanwhile, an erasure, makes it begin anew."""
        version = self.offline.table_version(view)
        while True:
            try:
                return run(view, self.offline, self.online, now=now, progress=progress)
            except OfflineStoreError:
                before, version = version, self.offline.table_version(view)
                if version == before:
                    raise

    def _record(self, table: str, report: MaterializeReport, now: datetime, who: str) -> None:
        if report.table_version is None:  # never ingested
            return
        counts = {name: getattr(report, name) for name in ("read", "written", "older", "expired", "rejected")}
        if report.interval is not None:
            self.registry.record_range(table, report.table_version, report.interval, counts, who=who)
            return
        done = self.registry.last_materialization(table)
        # One that runs every minute must not fill the audit log with saying that there was nothing.
        if report.read or done is None or done.table_version != report.table_version:
            self.registry.record_materialization(table, report.table_version, now, counts, who=who)
