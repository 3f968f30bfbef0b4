"""Pushed rows: checked against a view, encoded as they are served, and fitted to other versions of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from featurestore.definitions import FeatureView, storage_id
from featurestore.definitions.names import CREATED_TIMESTAMP, EVENT_TIMESTAMP, ROW_NUMBER
from featurestore.errors import DataError, PushRefusedError, SchemaError, closest
from featurestore.materialize import RowEncoder
from featurestore.materialize.encoding import LOAD_ORDER
from featurestore.offline.intake.checks import REASON, UNREADABLE, CheckedBatch, Suppressed, check, to_schema
from featurestore.offline.intake.conform import conform, has_embedding, stored_type
from featurestore.offline.intake.repeats import Repeats
from featurestore.online.base import Row
from featurestore.registry.records import Registered


@dataclass(frozen=True)
class RejectedRow:
    """A row that is kept nowhere.

    Attributes:
        row: its place in the push, from 0.
        reason: ``total is under 0``.
    """

    row: int
    reason: str


class PushedView:
    """One version of a view, as pushed rows meet it.

    Args:
        registered: the version.
    """

    def __init__(self, registered: Registered[FeatureView]) -> None:
        self.id = registered.id
        self.name, self.version = registered.name, registered.version
        self.definition = registered.definition
        self.storage_id = storage_id(self.definition)
        self._encode = RowEncoder(self.definition)
        self._within_load = tuple(one for one in self.definition.schema if one.unique_within == "load")

    def check_may_be_pushed(self) -> None:
        """Check that a push can be checked as the view asks.

        Raises:
            DataError: a feature may not repeat within the table, which no push can wait for to be looked up.
        """
        unique = [one.name for one in self.definition.schema if one.unique_within == "table"]
        if unique:
            raise DataError(
                f'Feature view "{self.name}" cannot be pushed to: "{unique[0]}" may not repeat within the table.',
                hint=f"Load the rows: featurestore ingest {self.name} FILE; or take back unique_within.",
            )

    def check(self, rows: pa.RecordBatch, *, latest: datetime, suppressed: Suppressed | None) -> CheckedBatch:
        """Check the rows of one push; see :func:`featurestore.offline.intake.checks.check`.

        A feature that is left out is null, in every row.
        """
        repeats = Repeats(self._within_load) if self._within_load else None
        return check(self._filled(rows), self.definition, latest=latest, repeats=repeats, suppressed=suppressed)

    @cached_property
    def row_by_row(self) -> FeatureView:
        """The view without what holds of a load as a whole: rows that were acknowledged are a load, whatever it is."""
        fields = [dataclasses.replace(one, max_null_rate=None, unique_within=None) for one in self.definition.schema]
        view = dataclasses.replace(self.definition, schema=fields)
        return view if view.on_bad_rows == "warn" else dataclasses.replace(view, on_bad_rows="quarantine")

    def fitted(self, rows: pa.RecordBatch) -> pa.RecordBatch:
        """Return rows of another version as this one takes them: a feature that they lack is null.

        Raises:
            DataError: a key or the instant is missing, or a column is of another type.
        """
        view = self.definition
        filled, created = self._filled(rows), view.created_timestamp_column
        if created not in (None, *filled.schema.names, *view.keys, view.timestamp_field):
            filled = filled.append_column(created, pa.nulls(rows.num_rows))
        table, _ = to_schema(filled, view)
        named = {name: name for name in (*view.keys, *(one.name for one in view.schema))}
        # A view may have the column of its instants as a key or a feature too; both have the same values.
        if view.created_timestamp_column is not None:
            named.setdefault(view.created_timestamp_column, CREATED_TIMESTAMP)
        named.setdefault(view.timestamp_field, EVENT_TIMESTAMP)
        return pa.RecordBatch.from_pydict({name: table.column(stored) for name, stored in named.items()})

    def _filled(self, rows: pa.RecordBatch) -> pa.RecordBatch:
        """Return rows with a column of nulls for each feature that they lack."""
        view = self.definition
        for one in view.schema:
            if one.name not in (*rows.schema.names, *view.keys, view.timestamp_field):
                rows = rows.append_column(one.name, pa.nulls(rows.num_rows, stored_type(one.dtype)))
        return rows

    @cached_property
    def column_names(self) -> dict[str, None]:
        """The columns that the version takes, in order."""
        view = self.definition
        names = (*view.keys, *(one.name for one in view.schema), view.timestamp_field, view.created_timestamp_column)
        return {name: None for name in names if name is not None}

    def encode(self, good: pa.RecordBatch) -> list[Row]:
        """Return checked rows as the online store keeps them, of load 0 and in order the rows 0."""
        columns = {name: good.column(name) for name in good.schema.names}
        for one in self.definition.schema:
            if has_embedding(one.dtype):  # checked rows have them as the table does: of any length
                columns[one.name], _ = conform(columns[one.name], one.dtype, one.name, "the rows")
        zeros = pa.array(np.zeros(good.num_rows, np.int64))
        batch = pa.RecordBatch.from_pydict({**columns, ROW_NUMBER: zeros, LOAD_ORDER: zeros})
        rows = self._encode(batch).rows
        return [row for row in rows if row is not None]  # a row with a null in its key is not good


@dataclass(frozen=True, kw_only=True)
class Checked:
    """Rows of a push after the checks of the version that it named, and of the others that are live.

    Attributes:
        accepted: the rows that are kept, as they came.
        rejected: the others, in order.
        suppressed: rows that were dropped, because they are of someone who was erased.
        warned: accepted rows that break a check of values, by reason, of a view that only warns of them.
        notes: casts made, and versions that could not take the rows.
        online: by storage id, the rows and the place of each among the accepted ones.
    """

    accepted: pa.RecordBatch
    rejected: tuple[RejectedRow, ...]
    suppressed: int
    warned: Mapping[str, int]
    notes: tuple[str, ...]
    online: Mapping[str, tuple[list[Row], NDArray[np.int64]]]


def checked(
    rows: pa.RecordBatch,
    views: Sequence[PushedView],
    *,
    latest: datetime,
    erased: Mapping[str, Suppressed | None],
    each: bool = False,
) -> Checked:
    """Check the rows of a push.

    Args:
        rows: as they came.
        views: the version that is named, or the current one, and then the others that get the rows.
        latest: the newest event time that is not "from the future".
        erased: by storage id, which rows are of someone who was erased.
        each: whether a bad row costs only itself, whatever the view says.

    Raises:
        SchemaError: a key or an instant is missing, no version has a column, or a column is of another type.
        TimestampError: a timestamp has no zone.
        PushRefusedError: a row is bad, and the view rejects the whole then.
    """
    named, *others = views
    known = dict.fromkeys(name for view in views for name in view.column_names)
    for name in rows.schema.names:
        if (
            name not in known and name != UNREADABLE
        ):  # a feature may be left out, so nothing else would tell of a name that is misspelt
            said = f'Feature view "{named.name}" has no column "{name}" to push to.'
            raise SchemaError(said, hint=closest(name, known))
    parts = named.check(rows, latest=latest, suppressed=erased.get(named.storage_id))
    good, bad = parts.places()
    rejected = tuple(map(RejectedRow, bad.tolist(), parts.bad.column(REASON).to_pylist()))
    if rejected and named.definition.on_bad_rows == "reject" and not each:
        raise _refusal(named.name, rejected)
    # Taken, not sliced: what is written down must not bring the bytes of other rows along.
    kept = rows.select([name for name in rows.schema.names if name != UNREADABLE]).take(pa.array(good))
    online = {named.storage_id: (named.encode(parts.good), np.arange(len(good)))}
    notes = list(parts.notes)
    for other in others:
        try:
            fitted = other.fitted(kept)
        except DataError as error:
            notes.append(f"{other.id} is live too, and could not take these rows: {error.message}")
            continue
        theirs = other.check(fitted, latest=latest, suppressed=erased.get(other.storage_id))
        online[other.storage_id] = (other.encode(theirs.good), theirs.places()[0])
    return Checked(
        accepted=kept,
        rejected=rejected,
        suppressed=parts.suppressed,
        warned=parts.warned,
        notes=tuple(notes),
        online=online,
    )


def _refusal(name: str, rejected: Sequence[RejectedRow]) -> PushRefusedError:
    first = rejected[0]
    more = f", and {len(rejected) - 1:,} more" if len(rejected) > 1 else ""
    return PushRefusedError(
        f'The push to feature view "{name}" has a bad row: row {first.row}, where {first.reason}{more}. '
        "Nothing was kept.",
        reasons=[f"row {one.row}: {one.reason}" for one in rejected],
        row=first.row,
        field=first.reason.partition(" ")[0],
        hint='Mend the rows, or set on_bad_rows="quarantine" to keep the others.',
    )
