"""Rows of views that were never applied: read into tables that go when nobody needs them any more."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from featurestore.config import Config
from featurestore.definitions import FeatureView, PushSource, heritage, storage_id
from featurestore.errors import OfflineStoreError
from featurestore.offline.erasure.suppression import members
from featurestore.offline.intake.ingest import IngestReport
from featurestore.offline.places import spill_folder
from featurestore.offline.store import OfflineStore
from featurestore.offline.tables.table import OfflineTable
from featurestore.registry import Registry, open_registry
from featurestore.registry.records import Load

_PREFIX = "draft-"


class DraftStore(OfflineStore):
    """An offline store that sees all tables of another one and writes into none of them.

    What is loaded here lies in a folder and a ledger of its own, until :meth:`discard`.

    Args:
        store: the other one.
        config: its settings.
        registry: its registry, which is only read.

    Raises:
        OfflineStoreError: the disk refuses.
    """

    def __init__(self, store: OfflineStore, config: Config, registry: Registry) -> None:
        spill = spill_folder(config)
        try:
            spill.mkdir(parents=True, exist_ok=True)
            scratch = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=spill))  # gc clears killed ones away
        except OSError as error:
            raise OfflineStoreError(
                f"A draft's rows cannot be kept in {spill}: {error.strerror}.",
                hint='Check "path" under [offline] in featurestore.toml, and who may write there.',
            ) from error
        ledger = open_registry(f"sqlite:///{scratch / 'registry.db'}", config.project)
        super().__init__(config, ledger)
        self._folder = self._scratch = scratch
        self._real = store
        self._real_registry = registry
        self._drafts: set[str] = set()

    def discard(self) -> None:
        """Remove what was loaded here."""
        self._registry.close()
        shutil.rmtree(self._scratch, ignore_errors=True)

    def table(self, view: FeatureView) -> OfflineTable:
        """Return the view's table: of this store if it was loaded here."""
        return super().table(view) if storage_id(view) in self._drafts else self._real.table(view)

    def ledger(self, view: FeatureView) -> list[Load]:
        """Return the view's loads: those of this store if it was loaded here."""
        return super().ledger(view) if storage_id(view) in self._drafts else self._real.ledger(view)

    def load(self, view: FeatureView, before: FeatureView | None, *, who: str) -> str:
        """Load the rows that a view would have, were it applied and ingested, and return what was done, as a sentence.

        That is its source; where there is none to read, the rows of the version before, as an apply takes them over.

        Args:
            view: the view; no table has its rows.
            before: the version of it that is current; None if there is none.
            who: who loads.

        Raises:
            DataError: the source cannot be read, or its rows are refused.
            OfflineStoreError: the disk refuses.
        """
        self._drafts.add(storage_id(view))
        # Whoever was erased comes back by no way.
        for whose, digests in self._real_registry.suppressions([members(one) for one in view.entities]).items():
            self._registry.suppress(whose, digests, request="", who=who)
        what = f'feature view "{view.name}" is a draft'
        if view.source is not None and not isinstance(view.source, PushSource):
            return f"{what}: of its source {_counts(self.ingest_source(view, who=who))}"
        if before is None or storage_id(before) == storage_id(view):
            return f"{what} without a source to read"
        obstacle = heritage(before, view).obstacle
        if obstacle:
            return f"{what} without a source to read, and takes over no rows: {obstacle}"
        report = self.carry_over(before, view, who=who)
        if report is None:
            return f"{what}, and the version before has no rows"
        return f"{what}: of the rows of the version before {_counts(report)}"


def _counts(report: IngestReport) -> str:
    aside = f", and {report.quarantined:,} failed its checks" if report.quarantined else ""
    return f"{report.written:,} rows were read{aside}"
