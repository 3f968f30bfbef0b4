"""A part of a view's source that is loaded as one, whatever reads it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from featurestore.config import Config
from featurestore.definitions import FeatureView
from featurestore.offline.intake.conform import find, instants
from featurestore.offline.sources.intervals import Interval

#: How the ids of loads begin that name what was read: files, and a version of a Delta table. Wherever such a load
#: stands, the same was read; so a table that took its rows over need not read them again.
FILES, DELTA = "source-", "delta-"


class Piece(ABC):
    """A file, a query's result, or what is new in a table.

    Args:
        name: for messages: the file's name, or what is queried.
        load_id: the same while the piece holds the same rows; so what was loaded is not loaded again.
        location: where it lies in this environment, without secrets; empty if a caller named it.
        notes: what the user should know of how it is read.
        interval: the event times that it covers, if it gives rows again that an earlier one may have given; None if
            each of its rows is to be written.
    """

    def __init__(
        self,
        *,
        name: str,
        load_id: str,
        location: str = "",
        notes: tuple[str, ...] = (),
        interval: Interval | None = None,
    ) -> None:
        self.name = name
        self.load_id = load_id
        self.location = location
        self.notes = notes
        self.interval = interval

    @abstractmethod
    def read(self, config: Config, what: str) -> AbstractContextManager[pa.RecordBatchReader]:
        """Open the rows as a stream.

        Args:
            config: the store's settings.
            what: whose source it is, to begin messages.

        Raises:
            DataError: the rows cannot be read; the message names ``what`` and the piece.
        """

    def watermark(self) -> Mapping[str, Any] | None:
        """Return up to where the source is loaded once the rows were read, as JSON values; None if nothing says so."""
        return None


class Within(Piece):
    """The rows of another piece that are true within an interval; and those without an instant, which checks tell of.

    Args:
        piece: the other one.
        view: whose rows they are.
        interval: the event times.
        newest: up to where the source is loaded with these rows, as JSON values.
        notes: what the user should know, beside what the other piece says.
    """

    def __init__(
        self,
        piece: Piece,
        view: FeatureView,
        interval: Interval,
        *,
        newest: Mapping[str, Any] | None = None,
        notes: tuple[str, ...] = (),
    ) -> None:
        super().__init__(
            name=piece.name,
            load_id=piece.load_id,
            location=piece.location,
            notes=(*piece.notes, *notes),
            interval=interval,
        )
        self._piece = piece
        self._timestamp_field = view.timestamp_field
        self._what = f'the rows for feature view "{view.name}"'
        self._interval = interval
        self._newest = newest

    @contextmanager
    def read(self, config: Config, what: str) -> Iterator[pa.RecordBatchReader]:
        """Yield the rows as a stream.

        Raises:
            DataError: as the other piece.
            SchemaError: the column of the instants is missing, or holds none.
            TimestampError: the instants name no time zone.
        """
        with self._piece.read(config, what) as reader:
            self.notes = tuple(dict.fromkeys([*self._piece.notes, *self.notes]))  # it may know more by now
            kept = (batch.filter(self._held(batch)) for batch in reader)
            yield pa.RecordBatchReader.from_batches(reader.schema, kept)

    def _held(self, batch: pa.RecordBatch) -> pa.Array:
        # As the table will have them: the instant of a row that is stored decides in which interval it lies.
        stored, _ = instants(
            find(batch, self._timestamp_field, self._what), self._timestamp_field, self._what, true_from=True
        )
        return pc.or_(self._interval.holds(stored), pc.is_null(stored))

    def watermark(self) -> Mapping[str, Any] | None:
        """Return up to where the source is loaded."""
        return self._newest
