"""The keys of whom an erasure is about, and which rows are theirs, whatever types a file keeps the keys in.

A value has one plain text: 17, "17" and 17.0 have the same. So a key finds its rows in tables of older versions whose
keys had another type, and among rows that were refused for theirs.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from featurestore.definitions import Entity
from featurestore.errors import SchemaError, closest

#: Which rows of a batch are meant; no null is among the answers.
Matches = Callable[[pa.RecordBatch], pa.BooleanArray]

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


def plain_text(value: Any) -> str:
    """Return the text by which a key is known, whatever type it stands in.

    >>> plain_text(17), plain_text(17.0), plain_text(Decimal("17.50")), plain_text(b"ab")
    ('17', '17', '17.5', '6162')
    """
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value == value and abs(value) != float("inf"):
        return plain_text(Decimal(repr(value)))
    if isinstance(value, Decimal):
        text = format(value, "f")
        text = text.rstrip("0").rstrip(".") if "." in text else text
        return "0" if text == "-0" else text
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, datetime):
        return (value if value.tzinfo is None else value.astimezone(UTC)).isoformat()
    if isinstance(value, date):
        return value.isoformat()
    return str(value)


def plain_texts(column: pa.ChunkedArray) -> list[str]:
    """Return the plain text of each value of a column that has no null."""
    if pa.types.is_integer(column.type):
        column = column.cast(pa.string())
    values = column.to_pylist()
    return values if pa.types.is_string(column.type) else [plain_text(one) for one in values]


def _parsed(text: str, dtype: pa.DataType) -> Any:
    """Return the value of a type that has this plain text; None if none has."""
    try:
        if pa.types.is_binary(dtype) or pa.types.is_large_binary(dtype):
            return bytes.fromhex(text)
        if pa.types.is_timestamp(dtype):
            instant = datetime.fromisoformat(text)
            return instant if instant.tzinfo or dtype.tz is None else None
        if pa.types.is_integer(dtype) and _NUMBER.fullmatch(text):
            number = Decimal(text)
            return int(number) if number == int(number) else None
        return pa.scalar(text).cast(dtype).as_py()
    except (ValueError, ArithmeticError, pa.ArrowException):
        return None


@dataclass(frozen=True, kw_only=True)
class ErasedKeys:
    """The keys of some members of an entity.

    Attributes:
        entity: its name.
        names: its join keys, in order.
        rows: the plain texts of each member's key, in the order of the names.
    """

    entity: str
    names: tuple[str, ...]
    rows: frozenset[tuple[str, ...]]

    def mask(self, columns: Sequence[pa.Array]) -> pa.BooleanArray:
        """Return which rows have one of the keys.

        Args:
            columns: the columns that hold the join keys, in their order, of any types.
        """
        plain = [_plain_column(one) for one in columns]
        found = pa.repeat(pa.scalar(True), len(plain[0]))
        for place, column in enumerate(plain):
            found = pc.and_(found, pc.is_in(column, value_set=self._values(place, column.type)))
        if len(self.names) == 1 or len(self.rows) == 1 or not pc.any(found).as_py():
            return found
        # Each part is one of some key; whether together they are one key is seen row by row, of the few that are left.
        parts = [column.filter(found).to_pylist() for column in plain]
        kept = [tuple(plain_text(part) for part in row) in self.rows for row in zip(*parts, strict=True)]
        return pc.replace_with_mask(found, found, pa.array(kept, pa.bool_()))

    def _values(self, place: int, dtype: pa.DataType) -> pa.Array:
        parsed = (_parsed(row[place], dtype) for row in self.rows)
        wanted = {value for value in parsed if value is not None}
        if pa.types.is_decimal(dtype):
            return pa.array(wanted, dtype)
        return pa.array([_exactly(value) for value in wanted], dtype)

    def mask_as_written(self, columns: Sequence[pa.Array], dtypes: Sequence[pa.DataType]) -> pa.BooleanArray:
        """Return which rows have one of the keys, however it was written: with blanks, or as a text or a fraction.

        Args:
            columns: as for :meth:`mask`.
            dtypes: the types that the keys should have had.
        """
        texts = [
            [None if value is None else _as_meant(value, dtype) for value in column.to_pylist()]
            for column, dtype in zip(columns, dtypes, strict=True)
        ]
        return pa.array([row in self.rows for row in zip(*texts, strict=True)], pa.bool_())

    def in_text(self, text: str) -> bool:
        """Return whether a text that was never taken apart has all parts of one of the keys, as words of it."""
        return any(all(re.search(rf"(?<!\w){re.escape(part)}(?!\w)", text) for part in row) for row in self.rows)


def _exactly(value: Any) -> Any:
    return value + 0.0 if isinstance(value, float) else value


def _plain_column(column: pa.Array) -> pa.Array:
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    # Minus zero is zero as a key.
    return pc.add(column, pa.scalar(0.0, column.type)) if pa.types.is_floating(column.type) else column


def _as_meant(value: Any, dtype: pa.DataType) -> str:
    if not isinstance(value, str):
        return plain_text(value)
    parsed = None if pa.types.is_string(dtype) else _parsed(value.strip(), dtype)
    return value.strip() if parsed is None else plain_text(parsed)


def keys_of(entity: Entity, given: Sequence[Mapping[str, Any]]) -> ErasedKeys:
    """Return the keys that a caller names.

    Args:
        entity: whose members they are.
        given: by join key its value, of the entity's type or as its text, for each member.

    Raises:
        SchemaError: a join key is missing or surplus, or a value is none of its type.
    """
    what = f'A key of entity "{entity.name}"'
    if not given:
        raise SchemaError("There is no key to erase.", hint=f"Name one: {_example(entity)}.")
    rows = set()
    for one in given:
        for name in one:
            if name not in entity.keys:
                raise SchemaError(f'{what} has no "{name}".', hint=closest(str(name), entity.keys))
        parts = []
        for name, dtype in entity.keys.items():
            value = one.get(name)
            if value is None:
                raise SchemaError(f'{what} needs "{name}".', hint=f"Write it as: {_example(entity)}.")
            # The value itself stands in no message: messages are logged.
            parts.append(_checked(value, dtype.to_arrow(), f'{what} has a "{name}" that is not {dtype}.'))
        rows.add(tuple(parts))
    return ErasedKeys(entity=entity.name, names=tuple(entity.keys), rows=frozenset(rows))


def _checked(value: Any, dtype: pa.DataType, message: str) -> str:
    if isinstance(value, str):
        value = value if pa.types.is_string(dtype) else _parsed(value.strip(), dtype)
    else:
        try:
            value = pa.scalar(value).cast(dtype).as_py()
        except (ValueError, TypeError, pa.ArrowException):
            value = None
    if value is None or value != value:
        raise SchemaError(message, hint="Bytes are written as hexadecimal digits, instants in ISO 8601 with a zone.")
    return plain_text(value)


def _example(entity: Entity) -> str:
    return ", ".join(f"{name}=VALUE" for name in entity.keys)
