"""The checks of a view's schema: which rows of a batch may be published, and why the others may not."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal

import pyarrow as pa
import pyarrow.compute as pc

from featurestore import types
from featurestore.definitions import FeatureView, Field
from featurestore.definitions.field import whole_text
from featurestore.definitions.names import CREATED_TIMESTAMP, EVENT_TIMESTAMP
from featurestore.offline.conform import (
    as_key,
    broken_embeddings,
    conform_stored,
    find,
    has_embedding,
    instants,
    stored_type,
)
from featurestore.offline.repeats import Repeats

#: The column of a quarantine file that says why the row is there.
REASON = "reason"

#: A column that a reader of text adds: null, or a struct of ``reason`` and ``cells`` for a row with cells that are not
#: of their declared types; these are null in their own columns. The quarantine file keeps the cells under this name.
UNREADABLE = "unreadable__"

#: What Python's datetime, and with it every reader of the rows, can hold.
_FIRST_INSTANT = datetime.min.replace(tzinfo=UTC)
_LAST_INSTANT = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, kw_only=True)
class CheckedBatch:
    """A batch after its checks.

    Attributes:
        good: rows that may be published: keys, features, event_timestamp, created_timestamp.
        bad: the other rows, with the column :data:`REASON`, and :data:`UNREADABLE` where a reader of text gave it.
        reasons: bad rows by reason; a row counts once, under the first check that it fails.
        notes: casts and ignored columns, for the report.
        nulls: by feature, how many of all rows have a null.
    """

    good: pa.RecordBatch
    bad: pa.RecordBatch
    reasons: dict[str, int]
    notes: tuple[str, ...]
    nulls: dict[str, int]


def check(
    batch: pa.RecordBatch, view: FeatureView, *, latest: datetime, repeats: Repeats | None = None
) -> CheckedBatch:
    """Bring a batch to the view's schema and part its rows.

    Args:
        batch: rows as they came; the event time stands in ``view.timestamp_field``.
        view: the definition.
        latest: the newest event time that is not "from the future".
        repeats: the values of the load so far, which it adds to; None checks no repeats.

    Raises:
        SchemaError: a column is missing or of another type.
        TimestampError: a timestamp has no zone.
    """
    rows, notes = _to_schema(batch, view)
    told = batch.column(UNREADABLE) if UNREADABLE in batch.schema.names else None
    reasons = pa.nulls(rows.num_rows, pa.string()) if told is None else pc.struct_field(told, "reason")
    for reason, fails in _failures(rows, view, latest):
        reasons = pc.if_else(pc.and_(pc.is_null(reasons), fails), reason, reasons)
    if repeats is not None:
        # Last, because only a row that is good else can be the first to have a value.
        reasons = pc.coalesce(reasons, repeats.reasons(rows, pc.is_null(reasons)))
    is_good = pc.is_null(reasons)
    bad = rows.append_column(REASON, reasons)
    if told is not None:
        bad = bad.append_column(UNREADABLE, pc.struct_field(told, "cells"))
    bad = bad.filter(pc.invert(is_good))
    counts = pc.value_counts(bad.column(REASON))
    return CheckedBatch(
        good=rows.filter(is_good),
        bad=bad,
        reasons={entry["values"].as_py(): entry["counts"].as_py() for entry in counts},
        notes=notes,
        nulls={one.name: rows.column(one.name).null_count for one in view.schema},
    )


def table_schema(view: FeatureView) -> pa.Schema:
    """Return the columns of a checked batch: keys, features, event and created timestamp."""
    instant = pa.timestamp("us", tz="UTC")
    return pa.schema(
        [pa.field(key, dtype.to_arrow()) for key, dtype in view.keys.items()]
        + [pa.field(one.name, stored_type(one.dtype)) for one in view.schema]
        + [pa.field(EVENT_TIMESTAMP, instant), pa.field(CREATED_TIMESTAMP, instant)]
    )


def _to_schema(batch: pa.RecordBatch, view: FeatureView) -> tuple[pa.RecordBatch, tuple[str, ...]]:
    what = f'the rows for feature view "{view.name}"'
    columns: list[pa.Array] = []
    notes: list[str] = []
    used: list[str] = [UNREADABLE]
    wanted = [*view.keys.items(), *((one.name, one.dtype) for one in view.schema)]
    for name, dtype in wanted:
        column, note = conform_stored(find(batch, name, what), dtype, name, what)
        columns.append(as_key(column) if name in view.keys else column)
        notes.append(note)
        used.append(name)
    event, note = instants(find(batch, view.timestamp_field, what), view.timestamp_field, what, true_from=True)
    columns.append(event)
    notes.append(note)
    used.append(view.timestamp_field)
    created_name = view.created_timestamp_column
    # A source that declares the column must have it; rows passed by hand may.
    if created_name is not None and (view.source is not None or created_name in batch.schema.names):
        created, note = instants(find(batch, created_name, what), created_name, what, true_from=True)
        notes.append(note)
        used.append(created_name)
    else:
        created = pa.nulls(batch.num_rows, pa.timestamp("us", tz="UTC"))
    columns.append(created)
    surplus = [name for name in batch.schema.names if name not in used]
    if surplus:
        notes.append("ignored columns that the schema does not name: " + ", ".join(f'"{name}"' for name in surplus))
    return pa.RecordBatch.from_arrays(columns, schema=table_schema(view)), tuple(note for note in notes if note)


def _failures(rows: pa.RecordBatch, view: FeatureView, latest: datetime) -> list[tuple[str, pa.Array]]:
    failures = [(f"{key} is null", pc.is_null(rows.column(key))) for key in view.keys]
    failures += [
        (f"{key} is NaN, which equals nothing", _true(pc.is_nan(rows.column(key))))
        for key, dtype in view.keys.items()
        if dtype in (types.Float32, types.Float64)
    ]
    event = rows.column(EVENT_TIMESTAMP)
    failures.append((f"{view.timestamp_field} is null", pc.is_null(event)))
    for name, instant in (
        (view.timestamp_field, event),
        (view.created_timestamp_column, rows.column(CREATED_TIMESTAMP)),
    ):
        outside = pc.or_(pc.less(instant, pa.scalar(_FIRST_INSTANT)), pc.greater(instant, pa.scalar(_LAST_INSTANT)))
        failures.append((f"{name} lies outside of the years 1 to 9999", _true(outside)))
    failures.append((f"{view.timestamp_field} lies in the future", _true(pc.greater(event, pa.scalar(latest)))))
    for one in view.schema:
        failures += _field_failures(rows.column(one.name), one)
    return failures


def _field_failures(column: pa.Array, one: Field) -> list[tuple[str, pa.Array]]:
    failures = []
    if one.not_null:
        failures.append((f"{one.name} is null", pc.is_null(column)))
    if has_embedding(one.dtype):
        said = f"{one.name} has an embedding of another length, or with a null in it"
        failures.append((said, broken_embeddings(column, one.dtype)))
    # "Not at least" rather than "less", so that NaN fails a limit.
    # An integer is compared with integers: Arrow would turn it into a float, and refuse one that floats cannot hold.
    # A decimal is compared with the decimal that the limit's digits say: 0.1 is one tenth.
    if one.ge is not None:
        least = _limit(one.ge, one.dtype, math.ceil, ROUND_CEILING)
        failures.append((f"{one.name} is under {one.ge:g}", _true(pc.invert(pc.greater_equal(column, least)))))
    if one.le is not None:
        greatest = _limit(one.le, one.dtype, math.floor, ROUND_FLOOR)
        failures.append((f"{one.name} is over {one.le:g}", _true(pc.invert(pc.less_equal(column, greatest)))))
    if one.in_set is not None:
        allowed = pa.array(list(one.in_set), type=column.type)
        outside = pc.and_(pc.is_valid(column), pc.invert(pc.is_in(column, value_set=allowed)))
        failures.append((f"{one.name} is not in the allowed set", outside))
    if one.regex is not None:
        matches = pc.match_substring_regex(column, whole_text(one.regex))
        failures.append((f"{one.name} does not match {one.regex}", _true(pc.invert(matches))))
    return failures


def _limit(limit: float, dtype: types.DType, whole: Callable[[float], int], rounding: str) -> float | pa.Scalar:
    if dtype in (types.Int32, types.Int64):
        return whole(limit)
    if not dtype.precision:
        return float(limit)
    digits = Context(prec=dtype.precision + 1, rounding=rounding)
    return pa.scalar(Decimal(str(limit)).quantize(Decimal((0, (1,), -dtype.scale)), context=digits), dtype.to_arrow())


def _true(mask: pa.Array) -> pa.Array:
    return pc.fill_null(mask, False)


def latest_event(now: datetime, max_future_seconds: float) -> datetime:
    """Return the newest event time that clocks' skew explains."""
    return now + timedelta(seconds=max_future_seconds)
