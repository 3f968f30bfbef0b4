"""Features of a service for entity rows, each at its own instant."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import polars as pl
import pyarrow as pa

from featurestore import markup
from featurestore.errors import OfflineStoreError
from featurestore.offline import engine
from featurestore.offline.join.answering import answer, result_schema
from featurestore.offline.join.engines import JoinEngine
from featurestore.offline.join.explanation import Explanation
from featurestore.offline.join.question import Question
from featurestore.offline.join.writing import check_target, write_delta, write_rows

if TYPE_CHECKING:
    import pandas as pd


class HistoricalFeatures:
    """Entity rows with the features of a service, in the order of the entity rows.

    What is joined was settled when it was asked for; the join itself runs when a result is. :meth:`to_arrow`,
    :meth:`to_polars` and :meth:`to_pandas` keep the rows for the next call; :meth:`to_batches` and :meth:`write` join
    as they go, and hold a part of the rows at a time.

    Asked for ``with_status``, it has of each use of a view ``<use>__status`` (1 PRESENT, 2 NOT_FOUND: no row of the key
    up to the instant, 3 OUTSIDE_MAX_AGE: the newest is older than the TTL) and ``<use>__event_timestamp`` of the newest
    row.

    Attributes:
        question: what was asked, and the state of the tables then.
        service: ``flight_delay@1``.
        notes: casts made, and views that were never ingested.
        schema: the columns of the entity rows as they came, then the features, then statuses.
    """

    def __init__(self, question: Question, engine: JoinEngine = answer) -> None:
        self.question = question
        self._engine = engine
        self.service = question.label
        self.notes = _notes(question)
        self.schema: pa.Schema = result_schema(question)
        self._table: pa.Table | None = None
        self._explanation: Explanation | None = None

    def __len__(self) -> int:
        return int(self.question.rows.given.num_rows)

    def _repr_html_(self) -> str:
        """What a notebook shows: what was asked, and no value of the answer; nothing is joined for it."""
        asked = self.question
        features = [one.name for fields in asked.service.outputs.values() for one in fields]
        rows = [
            ("entity rows", f"{len(self):,}"),
            ("features", ", ".join(features)),
            ("as of", "" if asked.as_of is None else asked.as_of.isoformat()),
            ("known at", "each row's instant" if asked.known_at else ""),
            ("columns", ", ".join(f"{one.name} ({one.type})" for one in self.schema)),
            ("notes", markup.listed(self.notes) if self.notes else None),
        ]
        shown = markup.table((), [row for row in rows if row[1] is not None and row[1] != ""], caption=self.service)
        return markup.text_of(shown)

    @property
    def table(self) -> pa.Table:
        """The rows, as an Arrow table; see :meth:`to_arrow`."""
        if self._table is None:
            self._table = pa.concat_tables(self._parts())
        return self._table

    def to_arrow(self) -> pa.Table:
        """Return an Arrow table.

        Raises:
            OfflineStoreError: a file of a table is gone or damaged, or memory and disk are full.
            DataError: an on-demand view cannot be computed for these values.
        """
        return self.table

    def to_polars(self) -> pl.DataFrame:
        """Return a Polars frame; raises as :meth:`to_arrow`."""
        frame = pl.from_arrow(self.table)
        assert isinstance(frame, pl.DataFrame)  # noqa: S101 - a table never becomes a series
        return frame

    def to_pandas(self) -> pd.DataFrame:
        """Return a pandas frame; pandas must be installed. Raises as :meth:`to_arrow`."""
        frame: pd.DataFrame = self.table.to_pandas()
        return frame

    def to_batches(self) -> Iterator[pa.RecordBatch]:
        """Yield Arrow batches, without ever holding all rows; raises as :meth:`to_arrow`."""
        for part in self._parts():
            yield from part.to_batches(max_chunksize=engine.BATCH_ROWS)

    def write(self, path: str | Path, format: Literal["parquet", "csv", "delta"] | None = None) -> Path:  # noqa: A002
        """Write the rows, without ever holding them all, and return the path.

        Args:
            path: of the file, or of the Delta table's folder; what is there is replaced.
            format: ``parquet`` and ``csv`` write one file, whose name ends so; ``delta`` a table, which keeps no order
                of rows. When not given, the name says it: one with no ending, or .delta, is a table's.

        Raises:
            OfflineStoreError: as :meth:`to_arrow`; the disk refuses; or there is no such format.
            DataError: as :meth:`to_arrow`; or the path ends in another way, or a CSV file is to hold a nested column.
        """
        if format not in (None, "parquet", "csv", "delta"):
            raise OfflineStoreError(f'There is no format "{format}".', hint='It is "parquet", "csv" or "delta".')
        target = Path(path)
        if format == "delta":
            write_delta(self._parts(), self.schema, target)
        else:
            check_target(target, format)
            write_rows(self._parts(), self.schema, target)
        return target

    def explain(self) -> Explanation:
        """Return how the join was done: files and rows read, matches, seconds. Joins first if nothing has yet.

        Raises:
            OfflineStoreError, DataError: as :meth:`to_arrow`.
        """
        if self._explanation is None:
            for _ in self._parts():
                pass
        assert self._explanation is not None  # noqa: S101 - a join that ends has said how
        return self._explanation

    def _parts(self) -> Iterator[pa.Table]:
        if self._table is not None:
            yield self._table
            return
        yield from self._engine(self.question, self._explained)

    def _explained(self, explanation: Explanation) -> None:
        self._explanation = explanation


def _notes(question: Question) -> tuple[str, ...]:
    notes = list(question.rows.notes)
    for name, snapshot in question.tables.items():
        if snapshot is None:
            notes.append(f'feature view "{name}" was never ingested: its features are null, or their defaults')
    return tuple(dict.fromkeys(notes))
