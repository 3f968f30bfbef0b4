"""The checks of a view's schema: which rows of a batch may be published, and why the others may not."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from featurestore import types
from featurestore.definitions import FeatureView, Field
from featurestore.definitions.field import whole_text
from featurestore.definitions.names import CREATED_TIMESTAMP, EVENT_TIMESTAMP
from featurestore.offline.intake.conform import (
    as_key,
    broken_embeddings,
    conform_stored,
    extremes,
    find,
    has_embedding,
    instants,
    stored_type,
)
from featurestore.offline.intake.repeats import Repeats

#: The column of a quarantine file that says why the row is there.
REASON = "reason"

#: A column that a reader of text adds: null, or a struct of ``reason`` and ``cells`` for a row with cells that are not
#: of their declared types; these are null in their own columns. The quarantine file keeps the cells under this name.
UNREADABLE = "unreadable__"

#: What Python's datetime, and with it every reader of the rows, can hold.
_FIRST = types.microseconds(datetime.min.replace(tzinfo=UTC))
_LAST = types.microseconds(datetime.max.replace(tzinfo=UTC))

#: Says of each row of a checked batch (join keys in their declared types) whether it is to be dropped.
Suppressed = Callable[[pa.RecordBatch], pa.BooleanArray]


@dataclass(frozen=True, kw_only=True)
class CheckedBatch:
    """A batch after its checks.

    Attributes:
        good: rows that may be published: keys, features, event_timestamp, created_timestamp.
        bad: the other rows, with the column :data:`REASON`, and :data:`UNREADABLE` where a reader of text gave it.
        reasons: bad rows by reason; a row counts once, under the first check that it fails.
        warned: the same of good rows that break a check of values, in a view that only warns of them.
        suppressed: how many rows were dropped, because they are of someone who was erased.
        notes: casts and ignored columns, for the report.
        nulls: by feature, how many of the rows that were not dropped have a null.
        stayed: of the rows that came, which were not dropped; None if none was.
        passed: of those, which are good; None if all are.
    """

    good: pa.RecordBatch
    bad: pa.RecordBatch
    reasons: dict[str, int]
    warned: dict[str, int]
    suppressed: int
    notes: tuple[str, ...]
    nulls: dict[str, int]
    stayed: pa.BooleanArray | None = None
    passed: pa.BooleanArray | None = None

    def places(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return which of the rows that came, from 0, the good ones and the bad ones are."""
        if self.stayed is None:
            there = np.arange(self.good.num_rows + self.bad.num_rows)
        else:
            there = np.flatnonzero(self.stayed.to_numpy(zero_copy_only=False))
        if self.passed is None:
            return there, there[:0]
        passed = self.passed.to_numpy(zero_copy_only=False)
        return there[passed], there[~passed]


def check(
    batch: pa.RecordBatch,
    view: FeatureView,
    *,
    latest: datetime,
    repeats: Repeats | None = None,
    suppressed: Suppressed | None = None,
) -> CheckedBatch:
    """Bring a batch to the view's schema and part its rows.

    Args:
        batch: rows as they came; the event time stands in ``view.timestamp_field``.
        view: the definition.
        latest: the newest event time that is not "from the future".
        repeats: the values of the load so far, which it adds to; None checks no repeats.
        suppressed: which rows to drop, good or bad; None drops none.

    Raises:
        SchemaError: a column is missing or of another type.
        TimestampError: a timestamp has no zone.
    """
    rows, notes = to_schema(batch, view)
    told = batch.column(UNREADABLE) if UNREADABLE in batch.schema.names else None
    dropped, stays, is_good = 0, None, None
    if suppressed is not None:
        stays = pc.invert(suppressed(rows))
        dropped = rows.num_rows - pc.sum(stays).as_py() if rows.num_rows else 0
        if dropped:
            rows, told = rows.filter(stays), None if told is None else told.filter(stays)
    unfit = pa.nulls(rows.num_rows, pa.string()) if told is None else pc.struct_field(told, "reason")
    unfit = _first_reason(unfit, _unfit(rows, view, latest))
    reasons = _first_reason(unfit, _wrong(rows, view))
    if repeats is not None:
        # Last, because only a row that is published can be the first to have a value.
        published = pc.is_null(unfit if view.on_bad_rows == "warn" else reasons)
        reasons = pc.coalesce(reasons, repeats.reasons(rows, published))
    warned: dict[str, int] = {}
    if view.on_bad_rows == "warn":
        warned, reasons = _counted(reasons.filter(pc.is_null(unfit))), unfit
    nulls = {one.name: rows.column(one.name).null_count for one in view.schema}
    bad = rows.append_column(REASON, reasons)
    if told is not None:
        bad = bad.append_column(UNREADABLE, pc.struct_field(told, "cells"))
    if reasons.null_count == rows.num_rows:
        bad = bad.slice(0, 0)
    else:
        is_good = pc.is_null(reasons)
        rows, bad = rows.filter(is_good), bad.filter(pc.invert(is_good))
    return CheckedBatch(
        good=rows,
        bad=bad,
        reasons=_counted(bad.column(REASON)),
        warned=warned,
        suppressed=dropped,
        notes=notes,
        nulls=nulls,
        stayed=stays,
        passed=is_good,
    )


def _first_reason(reasons: pa.StringArray, failures: Iterator[tuple[str, pa.BooleanArray]]) -> pa.StringArray:
    for reason, fails in failures:
        reasons = pc.if_else(pc.and_(pc.is_null(reasons), fails), reason, reasons)
    return reasons


def _counted(reasons: pa.StringArray) -> dict[str, int]:
    counts = pc.value_counts(reasons.drop_null())
    return {entry["values"].as_py(): entry["counts"].as_py() for entry in counts}


def table_schema(view: FeatureView) -> pa.Schema:
    """Return the columns of a checked batch: keys, features, event and created timestamp."""
    instant = pa.timestamp("us", tz="UTC")
    return pa.schema(
        [pa.field(key, dtype.to_arrow()) for key, dtype in view.keys.items()]
        + [pa.field(one.name, stored_type(one.dtype)) for one in view.schema]
        + [pa.field(EVENT_TIMESTAMP, instant), pa.field(CREATED_TIMESTAMP, instant)]
    )


def to_schema(batch: pa.RecordBatch, view: FeatureView) -> tuple[pa.RecordBatch, tuple[str, ...]]:
    """Return rows as :func:`table_schema` has them, and notes on casts made and columns ignored.

    Raises:
        SchemaError: a column is missing or of another type.
        TimestampError: a timestamp has no zone.
    """
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


def _unfit(rows: pa.RecordBatch, view: FeatureView, latest: datetime) -> Iterator[tuple[str, pa.BooleanArray]]:
    """Yield the reasons for which rows cannot be in a table at all, whatever the view says of bad rows."""
    for key, dtype in view.keys.items():
        yield from _where(f"{key} is null", _nulls(rows.column(key)))
        if dtype in (types.Float32, types.Float64):
            yield from _where(f"{key} is NaN, which equals nothing", pc.is_nan(rows.column(key)))
    event = rows.column(EVENT_TIMESTAMP)
    yield from _where(f"{view.timestamp_field} is null", _nulls(event))
    for name, instant in (
        (view.timestamp_field, event),
        (view.created_timestamp_column, rows.column(CREATED_TIMESTAMP)),
    ):
        # As numbers, because there are instants that Python's cannot be.
        counted = instant.cast(pa.int64())
        if not _within(counted, _FIRST, _LAST):
            outside = pc.or_(pc.less(counted, _FIRST), pc.greater(counted, _LAST))
            yield from _where(f"{name} lies outside of the years 1 to 9999", outside)
    counted, newest = event.cast(pa.int64()), types.microseconds(latest)
    if not _within(counted, None, newest):
        yield from _where(f"{view.timestamp_field} lies in the future", pc.greater(counted, newest))
    for one in view.schema:
        if has_embedding(one.dtype):
            said = f"{one.name} has an embedding of another length, or with a null in it"
            yield from _where(said, broken_embeddings(rows.column(one.name), one.dtype))


def _wrong(rows: pa.RecordBatch, view: FeatureView) -> Iterator[tuple[str, pa.BooleanArray]]:
    """Yield the checks of values that some rows do not pass."""
    for one in view.schema:
        yield from _field_failures(rows.column(one.name), one)


def _field_failures(column: pa.Array, one: Field) -> Iterator[tuple[str, pa.BooleanArray]]:
    if one.not_null:
        yield from _where(f"{one.name} is null", _nulls(column))
    # "Not at least" rather than "less", so that NaN fails a limit.
    # An integer is compared with integers: Arrow would turn it into a float, and refuse one that floats cannot hold.
    # A decimal is compared with the decimal that the limit's digits say: 0.1 is one tenth.
    least = None if one.ge is None else _limit(one.ge, one.dtype, math.ceil, ROUND_CEILING)
    greatest = None if one.le is None else _limit(one.le, one.dtype, math.floor, ROUND_FLOOR)
    if (least is not None or greatest is not None) and not _within(column, least, greatest):
        if least is not None:
            yield from _where(f"{one.name} is under {one.ge:g}", pc.invert(pc.greater_equal(column, least)))
        if greatest is not None:
            yield from _where(f"{one.name} is over {one.le:g}", pc.invert(pc.less_equal(column, greatest)))
    if one.in_set is not None:
        allowed = pa.array(list(one.in_set), type=column.type)
        outside = pc.and_(pc.is_valid(column), pc.invert(pc.is_in(column, value_set=allowed)))
        yield from _where(f"{one.name} is not in the allowed set", outside)
    if one.regex is not None:
        matches = pc.match_substring_regex(column, whole_text(one.regex))
        yield from _where(f"{one.name} does not match {one.regex}", pc.invert(matches))


def _where(reason: str, fails: pa.BooleanArray | None) -> Iterator[tuple[str, pa.BooleanArray]]:
    # Nearly every check finds nothing, and then no reasons need be written.
    if fails is not None and pc.any(fails).as_py():
        yield reason, pc.fill_null(fails, False)


def _nulls(column: pa.Array) -> pa.BooleanArray | None:
    return pc.is_null(column) if column.null_count else None


def _within(column: pa.Array, least: Any, greatest: Any) -> bool:
    """Return whether all values lie within limits, for sure: one look at the extremes is most often enough."""
    low, high, has_nan = extremes(column)
    if low is None:
        return not has_nan
    first, last = (one.as_py() if isinstance(one, pa.Scalar) else one for one in (least, greatest))
    return not has_nan and (first is None or low >= first) and (last is None or high <= last)


def _limit(limit: float, dtype: types.DType, whole: Callable[[float], int], rounding: str) -> float | pa.Scalar:
    if dtype in (types.Int32, types.Int64):
        return whole(limit)
    if not dtype.precision:
        return float(limit)
    digits = Context(prec=dtype.precision + 1, rounding=rounding)
    return pa.scalar(Decimal(str(limit)).quantize(Decimal((0, (1,), -dtype.scale)), context=digits), dtype.to_arrow())


def latest_event(now: datetime, max_future_seconds: float) -> datetime:
    """Return the newest event time that clocks' skew explains."""
    return now + timedelta(seconds=max_future_seconds)
