"""Rows in whatever form a user has them, as Arrow."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import pyarrow as pa

from featurestore.errors import DataError, SchemaError, TimestampError
from featurestore.offline.intake.conform import sentence

#: Whose objects can be iterated over, and are no streams: the columns of a frame, the values of a column.
_LIBRARIES = ("pandas", "polars", "pyarrow", "numpy", "builtins")
#: Rows of one batch: enough that what is done once a batch does not count.
BATCH_ROWS = 131_072


def to_reader(frame: Any, what: str) -> pa.RecordBatchReader:
    """Return the rows of a frame as a stream of Arrow batches.

    Streams are read as the rows are wanted, so they may be larger than memory: a RecordBatchReader, a generator or any
    other iterable of batches or frames, and a Polars LazyFrame.

    Args:
        frame: an Arrow table or batch, a Polars or pandas frame, a list of dicts, or a stream.
        what: what the rows are for, for the error.

    Raises:
        DataError: it is something else.
        SchemaError: a list of dicts holds a value that no column can, or values of several types in one; or the parts
            of a stream have several schemas, which is raised when that part is read.
        TimestampError: some instants of a column name a zone and others do not.
    """
    if isinstance(frame, pa.RecordBatchReader):
        return frame
    if isinstance(frame, pa.RecordBatch):
        return pa.RecordBatchReader.from_batches(frame.schema, [frame])
    if _is_lazy(frame):
        return _one_stream(_collected(frame, what), what)
    if _is_iterable(frame):
        return _one_stream(iter(frame), what)
    return to_table(frame, what).to_reader(max_chunksize=BATCH_ROWS)


def is_stream(frame: Any) -> bool:
    """Return whether the rows of a frame can be read once only, or are not all in memory."""
    return isinstance(frame, pa.RecordBatchReader) or _is_lazy(frame) or isinstance(frame, Iterator)


def rows_of(frame: Any) -> int | None:
    """Return how many rows a frame has; None if that cannot be said without reading them."""
    if isinstance(frame, (pa.Table, pa.RecordBatch)):
        return int(frame.num_rows)
    rows = isinstance(frame, Sequence) and not isinstance(frame, (str, bytes)) and not _is_iterable(frame)
    return len(frame) if rows or _is_frame(frame) else None


def even(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Yield the rows of batches of any size in batches of up to :data:`BATCH_ROWS`, in order; not one without rows.

    Only small batches are put together, because that copies their rows.
    """
    held: list[pa.RecordBatch] = []
    rows = 0
    for batch in batches:
        for start in range(0, batch.num_rows, BATCH_ROWS):
            part = batch.slice(start, BATCH_ROWS)
            if held and (rows + part.num_rows > BATCH_ROWS or rows >= BATCH_ROWS // 4):
                yield _one(held)
                held, rows = [], 0
            held.append(part)
            rows += part.num_rows
    if held:
        yield _one(held)


def _one(batches: list[pa.RecordBatch]) -> pa.RecordBatch:
    return batches[0] if len(batches) == 1 else pa.concat_batches(batches)


def to_table(frame: Any, what: str) -> pa.Table:
    """Return the rows of a frame as one Arrow table; see :func:`to_reader`."""
    table = _as_table(frame, what)
    for name in table.column_names:
        if table.column_names.count(name) > 1:
            raise DataError(f'{sentence(what)} have two columns "{name}".', hint="Keep one of them, or rename it.")
    return table


def _as_table(frame: Any, what: str) -> pa.Table:
    if isinstance(frame, pa.Table):
        return frame
    if isinstance(frame, pa.RecordBatch):
        return pa.Table.from_batches([frame])
    if isinstance(frame, pa.RecordBatchReader):
        return frame.read_all()
    if _is_iterable(frame):
        return _one_stream(iter(frame), what).read_all()
    library, kind = type(frame).__module__.partition(".")[0], type(frame).__name__
    try:
        if _is_lazy(frame):
            return _one_stream(_collected(frame, what), what).read_all()
        if library == "polars" and kind == "DataFrame":
            return frame.to_arrow()
        if library == "pandas" and kind == "DataFrame":
            for name, dtype in zip(frame.columns, frame.dtypes, strict=True):
                if str(dtype) == "object":
                    _refuse_mixed_zones(name, frame[name], what)
            return pa.Table.from_pandas(frame, preserve_index=False)
        if isinstance(frame, Sequence) and all(isinstance(row, Mapping) for row in frame):
            # Arrow would take the columns from the first row alone, and drop what only later rows have.
            columns = {
                name: [row.get(name) for row in frame] for name in dict.fromkeys(name for row in frame for name in row)
            }
            if frame and not columns:
                raise DataError(f"{sentence(what)} are {len(frame)} dicts without a column.", hint="Fill them.")
            return pa.table({name: _column(name, values, what) for name, values in columns.items()})
    except (pa.ArrowException, ValueError, TypeError, OverflowError) as error:
        raise DataError(f"{sentence(what)} cannot be read as a table: {_first(error)}.") from error
    raise DataError(
        f"{sentence(what)} came as {type(frame).__name__}, which is not a table.",
        hint="Pass an Arrow table, a Polars or pandas frame, a list of dicts, or a stream: a RecordBatchReader, or a "
        "generator of RecordBatches.",
    )


def _is_lazy(frame: Any) -> bool:
    return (type(frame).__module__.partition(".")[0], type(frame).__name__) == ("polars", "LazyFrame")


def _is_frame(one: Any) -> bool:
    """Whether one thing is a table by itself."""
    library, kind = type(one).__module__.partition(".")[0], type(one).__name__
    return isinstance(one, (pa.Table, pa.RecordBatch)) or (library in ("polars", "pandas") and kind == "DataFrame")


def _is_iterable(frame: Any) -> bool:
    """Whether something gives tables one after the other; what is in a list or a tuple can be looked at."""
    if isinstance(frame, Sequence):
        return bool(frame) and not isinstance(frame, (str, bytes)) and _is_frame(frame[0])
    library = type(frame).__module__.partition(".")[0]
    if isinstance(frame, Iterator):
        return True
    return isinstance(frame, Iterable) and not isinstance(frame, Mapping) and library not in _LIBRARIES


def _collected(frame: Any, what: str) -> Iterator[Any]:
    """Yield a LazyFrame as frames, computed as they are wanted; at least one, which may have no rows."""
    from polars.exceptions import PolarsError

    try:
        frames = iter(frame.collect_batches(chunk_size=BATCH_ROWS, maintain_order=True))
        first = next(frames, None)
        yield frame.clear().collect() if first is None else first
        yield from frames
    except PolarsError as error:
        raise DataError(f"{sentence(what)} cannot be computed: {_first(error)}.") from error


def _one_stream(parts: Iterator[Any], what: str) -> pa.RecordBatchReader:
    """Return tables that come one after the other as one stream, with the schema of the first."""
    first = next(parts, None)
    if first is None:
        return pa.table({}).to_reader()
    schema = _part(first, 1, what).schema

    def batches() -> Iterator[pa.RecordBatch]:
        for number, one in enumerate(itertools.chain([first], parts), 1):
            table = _part(one, number, what)
            if sorted(table.column_names) != sorted(schema.names):
                raise SchemaError(
                    f"Part {number} of {what} has the columns {', '.join(table.column_names)}, and the first one has "
                    f"{', '.join(schema.names)}.",
                    hint="Give all parts of a stream the same columns.",
                )
            table = table.select(schema.names)
            for column in schema:
                if table.schema.field(column.name).type != column.type:
                    raise SchemaError(
                        f'Column "{column.name}" of part {number} of {what} is '
                        f"{table.schema.field(column.name).type}, and that of the first one {column.type}.",
                        hint="Give all parts of a stream the same types.",
                    )
            yield from table.cast(schema).to_batches(max_chunksize=BATCH_ROWS)

    return pa.RecordBatchReader.from_batches(schema, batches())


def _part(one: Any, number: int, what: str) -> pa.Table:
    if not _is_frame(one):
        raise DataError(
            f"{sentence(what)} came as a stream whose part {number} is {type(one).__name__}, which is not a table.",
            hint="Give RecordBatches, or frames.",
        )
    return to_table(one, what)


def _column(name: object, values: list[Any], what: str) -> pa.Array:
    _refuse_mixed_zones(name, values, what)
    try:
        return pa.array(values)
    except (pa.ArrowException, ValueError, TypeError, OverflowError) as error:
        for number, value in enumerate(values, start=1):
            try:
                pa.array([value])
            except (pa.ArrowException, ValueError, TypeError, OverflowError):
                raise SchemaError(
                    f'Column "{name}" of {what} has in row {number} a value ({type(value).__name__}) '
                    f"that no column can hold: {_first(error)}.",
                    hint="Integers go from -2^63 to 2^63 - 1; text holds any digits.",
                ) from error
        raise SchemaError(
            f'Column "{name}" of {what} cannot be read as one column: {_first(error)}.',
            hint="Give all its values one type.",
        ) from error


def _instants_in(values: Iterable[Any]) -> Iterator[datetime]:
    for value in values:
        if isinstance(value, datetime):
            yield value
        elif isinstance(value, (list, tuple)):
            yield from _instants_in(value)
        elif isinstance(value, Mapping):
            yield from _instants_in(value.values())


def _first(error: Exception) -> str:
    return str(error).splitlines()[0].rstrip(".")


def _refuse_mixed_zones(name: object, values: Iterable[Any], what: str) -> None:
    """Raise where Arrow would take the instants without a zone for the zone of the others."""
    # pandas' NaT is a datetime too, without a zone and unequal to itself.
    zoned = {value.tzinfo is not None for value in _instants_in(values) if value == value}
    if len(zoned) > 1:
        raise TimestampError(
            f'Column "{name}" of {what} has timestamps of which some name a time zone and others do not.',
            hint="Give each its zone: datetime(..., tzinfo=UTC).",
        )
