"""A CSV file as rows: its cells by the types that are declared for them, since the file itself has none."""

from __future__ import annotations

import contextlib
import csv
from collections.abc import Collection, Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from featurestore import types
from featurestore.definitions.names import check_unique
from featurestore.errors import DataError, SchemaError
from featurestore.offline import engine
from featurestore.offline.intake.checks import UNREADABLE

#: The form is given, not guessed: after a broken line the guess would be one wide column, and the error a riddle; and
#: what follows a "#" would be lost as a comment.
CSV = "delim = ',', quote = '\"', escape = '\"', comment = '', header = true, nullstr = ['', 'NA']"

#: SQL: whether a text that may be an instant names its zone, and whether it is a date.
ZONED = "regexp_matches({text}, '(Z|[+-][0-9]{{2}}(:?[0-9]{{2}})?)$') AND length({text}) > 10"
IS_DATE = "regexp_matches({text}, '^[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}$')"


def declared_scan(
    file: Path,
    what: str,
    declared: Mapping[str, types.DType],
    *,
    true_from: Collection[str] = (),
) -> str:
    """Return the query that reads a CSV file of rows.

    The declaration gives the types, not a guess: a code such as 007 stays a text, and a column may be empty; what is
    not declared is text. A cell that is not of its type is null, and the row says so in the column
    :data:`~featurestore.offline.intake.checks.UNREADABLE`. Instants must name their zone there, or be dates.

    Args:
        file: the file.
        what: what the rows are for, to begin messages.
        declared: types by column.
        true_from: the columns of instants from which on rows are true; they are brought up where others are cut down.

    Raises:
        DataError: its first line cannot be read.
        SchemaError: a column is declared as something that no cell can hold.
    """
    header = header_of(file, what)
    declared = {**declared, **dict.fromkeys(true_from, types.Timestamp)}
    for name in header:
        if name in declared and not declared[name].scalar:
            raise SchemaError(
                f'{what}: column "{name}" is declared as {declared[name]}, which a cell of a CSV file cannot hold.',
                hint="Keep the rows as Parquet, or pass a frame.",
            )
    selected, faults, cells = [], [], []
    for name in header:
        text = f"r.{engine.identifier(name)}"
        dtype = declared.get(name, types.String)
        value = _instant(name, text, up=name in true_from) if dtype is types.Timestamp else _value(text, dtype)
        selected.append(f"{value} AS {engine.identifier(name)}")
        if dtype is not types.String:
            fault = f"({text} IS NOT NULL AND ({value}) IS NULL)"
            faults.append(f"WHEN {fault} THEN {engine.literal(f'{name} is not {dtype}')}")
            cells.append(f"CASE WHEN {fault} THEN {engine.literal(f'{name}=')} || {text} END")
    if faults:
        told = f"{{'reason': CASE {' '.join(faults)} END, 'cells': concat_ws(', ', {', '.join(cells)})}}"
        selected.append(f"{told} AS {UNREADABLE}")
    columns = ", ".join(f"{engine.literal(name)}: 'VARCHAR'" for name in header)
    return (
        f"SELECT {', '.join(selected)} FROM read_csv({engine.literal(str(file))}, {CSV}, auto_detect = false, "
        f"columns = {{{columns}}}) r"
    )


#: Texts of digits that a number would change: a code such as 007, and what is too long for an exact float.
_CODE, _LONG = r"^[+-]?0[0-9]", r"^[+-]?[0-9]{16,}$"
_NUMBERS = (pa.int64(), pa.float64())
_OTHERS = (pa.bool_(), pa.date32(), pa.timestamp("us", "UTC"), pa.timestamp("us"))


def by_content(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return a column of texts as integers, numbers, truth values, days or instants, if all of them are such.

    Texts that this would change stay texts.
    """
    if column.null_count == len(column) or _some(column, _CODE):
        return column
    for dtype in _NUMBERS:
        with contextlib.suppress(pa.ArrowInvalid):
            return column.cast(dtype)
        if _some(column, _LONG):
            return column
    for dtype in _OTHERS:
        with contextlib.suppress(pa.ArrowInvalid):
            return column.cast(dtype)
    return column


def _some(column: pa.ChunkedArray, pattern: str) -> bool:
    return bool(pc.any(pc.match_substring_regex(column, pattern)).as_py())


def other_line_end(file: Path) -> int | None:
    """Return the first line of a file that ends in another way than its first line, counted from one; None if none."""
    first = None
    try:
        with file.open("rb") as lines:
            for number, line in enumerate(lines, 1):
                body = line.removesuffix(b"\n").removesuffix(b"\r")
                if b"\r" in body:
                    return number
                first = line[len(body) :] if first is None else first
                if line.endswith(b"\n") and line[len(body) :] != first:
                    return number
    except OSError:
        return None
    return None


def header_of(file: Path, what: str) -> list[str]:
    """Return the names in the first line of a CSV file.

    Args:
        file: the file.
        what: what its rows are for, to begin messages.

    Raises:
        DataError: the line cannot be read, is empty, or names a column twice.
    """
    try:
        with file.open(encoding="utf-8-sig", newline="") as lines:
            header = next(csv.reader(lines), [])
    except UnicodeDecodeError as error:
        raise DataError(
            f"{what}: {file.name} cannot be read: it is not UTF-8 text.", hint="Save it as UTF-8."
        ) from error
    except (OSError, csv.Error) as error:
        raise DataError(f"{what}: {file.name} cannot be read: {error}.") from error
    if not header:
        raise DataError(f"{what}: {file.name} is empty.", hint="A CSV file begins with the names of its columns.")
    check_unique(header, f"The first line of {file.name}")
    return header


def _value(text: str, dtype: types.DType) -> str:
    """Return SQL for the value of a text, null where the text is not of the type or would lose something."""
    value = f"TRY_CAST({text} AS {dtype.duckdb})"
    if dtype in (types.Int32, types.Int64):  # a cast rounds 1.5 to 2
        return f"CASE WHEN TRY_CAST({text} AS DOUBLE) % 1 = 0 THEN {value} END"
    if dtype is types.Float32:  # a cast makes 1e39 an infinity
        return f"CASE WHEN NOT isinf({value}) OR isinf(TRY_CAST({text} AS DOUBLE)) THEN {value} END"
    if dtype.precision:  # a cast rounds the digits that are too many
        exact = engine.literal(rf"\s*[+-]?[0-9]*([.][0-9]{{0,{dtype.scale}}}0*)?\s*")
        return f"CASE WHEN regexp_full_match({text}, {exact}) THEN {value} END"
    if dtype is types.Date:  # a cast drops the time of day
        return f"CASE WHEN TRY_CAST({text} AS TIMESTAMP) = {value} THEN {value} END"
    return text if dtype is types.String else value


def _instant(name: str, text: str, *, up: bool) -> str:
    zoned, is_date = ZONED.format(text=text), IS_DATE.format(text=text)
    said = f"error({engine.literal(name)} || ' ' || {text} || ' names no time zone')"
    value = f"TRY_CAST({text} AS TIMESTAMPTZ)"
    if up:  # the cast cuts nanoseconds down; see conform.instants
        beyond = f"regexp_matches({text}, '[.][0-9]{{6}}[0-9]*[1-9]')"
        value = f"{value} + CASE WHEN {beyond} THEN INTERVAL 1 MICROSECOND ELSE INTERVAL 0 MICROSECOND END"
    return (
        f"CASE WHEN ({zoned}) OR {is_date} THEN {value} "
        f"WHEN TRY_CAST({text} AS TIMESTAMP) IS NOT NULL THEN CAST({said} AS TIMESTAMPTZ) END"
    )
