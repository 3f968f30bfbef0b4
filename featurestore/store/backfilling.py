"""An interval of a view, computed anew."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from featurestore.definitions import storage_id
from featurestore.offline.intake.backfilling import Confirm
from featurestore.offline.intake.loading import Progress
from featurestore.offline.intake.preview import BackfillReport
from featurestore.registry import live_views, stored_once
from featurestore.store.loading import Loading
from featurestore.types import utc


class Backfilling(Loading):
    """Backfills."""

    def backfill(
        self,
        view: str,
        start: datetime | str,
        end: datetime | str,
        *,
        dry_run: bool = False,
        confirm: Confirm | None = None,
        reason: str = "",
        progress: Progress | None = None,
    ) -> BackfillReport:
        """Read a view's source again for an interval, and put its rows in the place of those that the table has.

        This is how the past is mended: after source rows were corrected, removed, or came later than ``late_by``. The
        rows become visible at once, in one new snapshot; ``restore`` leads back to the one before. The online store
        has them after the next ``materialize``.

        Args:
            view: the view: ``weather`` is its current version, ``weather@1`` that version.
            start: the first event time, with a time zone; or a text as ``2013-01-01T00:00:00Z``.
            end: the first event time that is not in the interval any more.
            dry_run: only says what would change.
            confirm: is shown what would change before anything is published, and says whether it shall.
            reason: why, for the audit.
            progress: called with the rows of each batch.

        Raises:
            ObjectNotFoundError: there is no such view.
            RegistryError: it is another project's.
            TimestampError: an instant names no time zone.
            DataError: the interval is empty, the view has no source that could be read again (rows that are pushed or
                passed to ``ingest`` are not kept elsewhere), or the rows cannot be taken.
            TableConflictError: rows of the interval came in meanwhile; nothing was changed.
        """
        found = self._own_view(view)
        report = self.offline.backfill(
            found.definition,
            utc(start, "start"),
            utc(end, "end"),
            who=self.who(),
            reason=reason,
            confirm=(lambda _: False) if dry_run else confirm,
            progress=progress,
        )
        own = storage_id(found.definition)
        others = stored_once(live_views(self.registry, found.name))
        return replace(report, also=tuple(one.id for one in others if storage_id(one.definition) != own))
