"""What the offline store gives to materialization and to rehearsals."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Protocol

import pyarrow as pa

from featurestore.definitions import FeatureView
from featurestore.offline.tables.moved import Moved
from featurestore.offline.tables.newest import Chunk, Newest, Wanted


class OfflineReader(Protocol):
    """Rows as streams, for rehearsals.

    Batches have the join keys, the features, ``event_timestamp``, ``created_timestamp`` (nullable), ``row_number`` and
    ``load_order``, in their declared types.
    """

    def newest_rows(self, view: FeatureView, *, until: datetime) -> pa.RecordBatchReader:
        """Return of each key the newest row with event time up to ``until``."""
        ...

    def rows_by_event_time(self, view: FeatureView, *, after: datetime | None) -> pa.RecordBatchReader:
        """Return all rows with event time after ``after``, oldest first."""
        ...


class OfflineTables(Protocol):
    """Tables by version, for materialization."""

    def table_version(self, view: FeatureView) -> int | None:
        """Return the version of the view's table, or None when it was never ingested."""
        ...

    def table_id(self, view: FeatureView) -> str:
        """Return what tells the view's table from one that was made anew in its place."""
        ...

    def rows_taken(self, view: FeatureView, since: int) -> bool:
        """Return whether rows were taken out of a view's table after a version."""
        ...

    def has_files(self, view: FeatureView, version: int) -> bool:
        """Return whether the files of a version of the view's table are all there still."""
        ...

    def moved(self, view: FeatureView, since: int, version: int) -> Moved | None:
        """Return the loads that came into the view's table or left it between two versions; None if not only loads."""
        ...

    def newest(self, view: FeatureView, wanted: Wanted, among: Moved | None = None) -> AbstractContextManager[Newest]:
        """Find of each key the newest row among some rows of the view's table; ``among``: only of these loads' keys."""
        ...

    def chunks(self, view: FeatureView, newest: Newest, skip: int = 0) -> Generator[Chunk, None, None]:
        """Yield the newest rows after the first ``skip`` ones, always in the same order."""
        ...
