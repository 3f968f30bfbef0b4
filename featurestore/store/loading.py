"""Rows into the offline store, for every version that is live."""

from __future__ import annotations

import contextlib
import os
import uuid
from dataclasses import replace
from typing import Any

import pyarrow as pa

from featurestore.definitions import FeatureView, storage_id
from featurestore.errors import DataError, OfflineStoreError
from featurestore.offline.intake.frames import is_stream, to_reader
from featurestore.offline.intake.ingest import IngestReport
from featurestore.offline.intake.spool import Spool
from featurestore.offline.store import Progress
from featurestore.offline.tables.sharing import fed_versions
from featurestore.registry import live_views, stored_once
from featurestore.registry.records import Registered
from featurestore.store.sharing import Sharing


class Loading(Sharing):
    """Ingest."""

    def ingest(
        self,
        view: str,
        frame: Any = None,
        *,
        load_id: str | None = None,
        reason: str = "",
        progress: Progress | None = None,
        accept_anomalies: bool = False,
    ) -> IngestReport:
        """Load rows into a view's table; bad rows are quarantined with the reason.

        Args:
            view: the view: ``weather`` is its current version and every other that is live, so that what an alias
                or a model still serves stays fresh; ``weather@1`` is just that version.
            frame: an Arrow table, a Polars or pandas frame, a list of dicts, or the path of a Parquet or CSV file; or
                a stream, which may be larger than memory: a RecordBatchReader, a generator or another iterable of
                RecordBatches, a Polars LazyFrame. None reads what is new in the view's source.
            load_id: the same id twice is one load. When not given, that of a file tells of its bytes, so that the same
                file twice is one load too, and any other is made up.
            reason: why, for the audit.
            progress: called with the rows of each batch.
            accept_anomalies: publish the rows even if they are unlike the view's last loads and its gate rejects that:
                they are right, and what later loads are compared with.

        Raises:
            ObjectNotFoundError: there is no such view.
            RegistryError: the view is another project's.
            LoadRefusedError: a gate of the view refuses the load; nothing of it is published.
            DataError: the rows cannot be taken; nothing of this load is published.
        """
        live = self._live(view)
        what = f'the rows for feature view "{view}"'
        with contextlib.ExitStack() as stack:
            spool = None
            if len(live) > 1 and is_stream(frame):  # it can be read only once, and memory may not hold it
                spool = stack.enter_context(self.offline.spooled(to_reader(frame, what), what))
            return self._ingest(view, live, frame, spool, load_id, reason, progress, accept_anomalies)

    def _ingest(
        self,
        view: str,
        live: list[Registered[FeatureView]],
        given: Any,
        spool: Spool | None,
        load_id: str | None,
        reason: str,
        progress: Progress | None,
        accept_anomalies: bool,
    ) -> IngestReport:
        who = self.who()

        def load(definition: FeatureView) -> IngestReport:
            frame = given if spool is None else spool.reader()
            if frame is None:
                return self.offline.ingest_source(
                    definition, who=who, reason=reason, progress=progress, accept_anomalies=accept_anomalies
                )
            return self.offline.ingest(
                definition,
                frame,
                who=who,
                load_id=load_id,
                reason=reason,
                progress=progress,
                accept_anomalies=accept_anomalies,
            )

        if given is not None and not isinstance(given, (str, os.PathLike)):
            # One id for all versions, so that what fails halfway can be done again without doubling rows.
            load_id = load_id or f"load-{uuid.uuid4()}"
        report = load(live[0].definition)
        also: list[IngestReport] = []
        fed = {storage_id(live[0].definition)}
        # A version that is applied meanwhile took over what there was then; what came later, it gets from nobody else.
        while others := [one for one in (*live, *self._live_now(view)) if storage_id(one.definition) not in fed]:
            other = others[0]
            fed.add(storage_id(other.definition))
            try:
                if spool is None and is_stream(given):
                    raise DataError("they came as a stream, which is read by now; ingest them again.")
                also.append(replace(load(other.definition), view=other.id))
            except DataError as error:
                # The rows are those of the current version; an older one may want a column that they have no more.
                note = f"{other.id} is live too, and could not take these rows: {error.message}"
                report = replace(report, notes=(*report.notes, note))
            except OfflineStoreError as error:
                again = "" if load_id is None else f' with load id "{load_id}"'
                raise OfflineStoreError(
                    f"{report.view} has these rows, but {other.id}, which is live too, has not: {error.message}",
                    hint=f"Ingest them again{again}: whoever has them is passed over.",
                ) from error
        return replace(report, also=tuple(also))

    def _live_now(self, view: str) -> list[Registered[FeatureView]]:
        """Return the versions that rows for a bare name must reach by now; nothing more for a named version."""
        return [] if "@" in view else stored_once(live_views(self.registry, view.rpartition("/")[2]))

    def _live(self, view: str) -> list[Registered[FeatureView]]:
        """Return the version that a reference names, and for a bare name the other live ones with rows of their own."""
        return fed_versions(self.registry, view)

    def quarantine(self, view: str, *, limit: int | None = None) -> pa.Table | None:
        """Return the rows of a view that failed its checks, with the column ``reason``; None when there are none.

        Those are the rows that the named version kept aside, and those that older versions did before it was fed.

        Args:
            view: the view, or one version of it.
            limit: at most so many rows; None for all.

        Raises:
            ObjectNotFoundError: there is no such view.
            OfflineStoreError: a file of such rows cannot be read.
        """
        named = self._own_view(view)
        return self.offline.quarantine(named.definition, self._older(named), limit=limit)

    def quarantined_rows(self, view: str) -> int:
        """Return how many rows :meth:`quarantine` would list."""
        named = self._own_view(view)
        return self.offline.quarantined_rows(named.definition, self._older(named))

    def reingest_quarantine(
        self, view: str, *, reason: str = "", progress: Progress | None = None, accept_anomalies: bool = False
    ) -> IngestReport:
        """Check the rows of a view again that failed its checks, and publish those that pass now.

        So a check that was too strict is mended: apply the view with another one, and ingest what it had kept aside.
        Rows that fail still are kept, and listed by :meth:`quarantine`.

        Args:
            view: the view, or one version of it, whose checks hold.
            reason: why, for the audit.
            progress: called with the rows of each batch.
            accept_anomalies: also publish loads that the view's gate kept aside as a whole: they are right.

        Raises:
            ObjectNotFoundError: there is no such view.
            OfflineStoreError: a file of such rows cannot be read, or the disk refuses.
        """
        named = self._own_view(view)
        return self.offline.reingest_quarantine(
            named.definition,
            self._older(named),
            who=self.who(),
            reason=reason,
            progress=progress,
            accept_anomalies=accept_anomalies,
        )

    def _older(self, named: Registered[FeatureView]) -> list[FeatureView]:
        """Return the versions of a view before one, each table once, the oldest first."""
        older = [one for one in self.registry.versions(named.name) if one.version < named.version]
        found = {storage_id(one.definition): one.definition for one in older if isinstance(one.definition, FeatureView)}
        return list(found.values())
