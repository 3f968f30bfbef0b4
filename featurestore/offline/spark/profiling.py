"""Profiles of a table's rows, made where the rows are read, and merged here."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from featurestore.definitions import FeatureView, Field
from featurestore.definitions.names import EVENT_TIMESTAMP
from featurestore.errors import FeatureStoreError
from featurestore.offline.intake.conform import conform
from featurestore.offline.spark.finishing import HOME, fault, packed, unpacked
from featurestore.offline.spark.reading import asked_files, share_of
from featurestore.offline.tables.snapshots import DataFile
from featurestore.profiles import Bins, Profile, merge, profile_stream
from featurestore.storage.access import Access


def profile_files(spark: Any, files: Sequence[DataFile], profiling: Profiling) -> Profile:
    """Return the profile of the rows of files, each share of a file profiled in an executor.

    Args:
        spark: the session.
        files: one at least.
        profiling: of which rows, over which bins.
    """
    made = asked_files(spark, files).mapInArrow(profiling, HOME).collect()
    parts = (unpacked(row["rows"], row["fault"]) for row in made)
    return merge([Profile.empty(profiling.bins), *(Profile.from_rows(part, profiling.bins) for part in parts)])


@dataclass(frozen=True, kw_only=True)
class Profiling:
    """Profiles shares of files; it goes to the executors.

    Attributes:
        bins: the cells.
        view: whose rows.
        access: how the files are opened.
        first: no earlier event time, microseconds since 1970; None for any.
        last: no later one.
    """

    bins: Bins
    view: FeatureView
    access: Access
    first: int | None = None
    last: int | None = None

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Yield the profile of each share of a file."""
        try:
            for batch in batches:
                for asked in batch.to_pylist():
                    found = profile_stream(self.rows(**asked), self.bins, threads=1).to_arrow()
                    yield packed(found.combine_chunks().to_batches()[0])
        except FeatureStoreError as error:
            yield fault(error)

    def rows(self, path: str, share: int = 0, shares: int = 1) -> Iterator[pa.RecordBatch]:
        """Yield the rows of a share of a file that count, in the declared types."""
        fields = self.fields()
        for batch in share_of(self.access.place(path), share, shares, [*(one.name for one in fields), EVENT_TIMESTAMP]):
            columns = {one.name: conform(batch.column(one.name), one.dtype, one.name, path)[0] for one in fields}
            events = batch.column(EVENT_TIMESTAMP).cast(pa.int64())
            kept = pa.repeat(pa.scalar(True), len(batch))
            if self.first is not None:
                kept = pc.and_(kept, pc.greater_equal(events, self.first))
            if self.last is not None:
                kept = pc.and_(kept, pc.less_equal(events, self.last))
            yield pa.RecordBatch.from_pydict(columns).filter(kept)

    def fields(self) -> list[Field]:
        """Return the fields that the bins look at, of those that the view has."""
        looked_at = {one.column for one in self.bins.features}
        return [one for one in self.view.schema if one.name in looked_at]
