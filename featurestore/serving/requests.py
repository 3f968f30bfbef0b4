"""The columns of a request: read, and checked against what a service, or a view that is pushed to, takes."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Protocol

from featurestore import types
from featurestore.errors import InvalidRequestError, LimitExceededError, closest
from featurestore.online.columns import from_wire
from featurestore.types.wire import from_values
from featurestore.v1 import serving_pb2 as pb

#: By type: the values that it can hold, where the member of Column.values that carries it holds more.
_LIMITS: dict[str, tuple[int, int]] = dict.fromkeys(("Int32", "Date"), (-(1 << 31), (1 << 31) - 1))


class Taker(Protocol):
    """What takes the columns of a request."""

    @property
    def what(self) -> str:
        """Its name, to begin messages: ``Feature service "churn@1"``."""
        ...

    @property
    def columns(self) -> Mapping[str, types.DType]:
        """The columns that it takes, with their types."""
        ...

    @property
    def keys(self) -> Collection[str]:
        """Those of them in which NaN is refused."""
        ...

    @property
    def optional(self) -> Collection[str]:
        """Those that may be left out."""
        ...


def columns_of(columns: Sequence[pb.Column], taker: Taker, max_rows: int) -> tuple[dict[str, list[Any]], int]:
    """Return the values of each column, None where null or left out, and their number.

    Raises:
        InvalidRequestError: a column is missing, surplus, double, or of another type or length.
        LimitExceededError: they are too long.
    """
    expected = taker.columns
    found: dict[str, list[Any]] = {}
    count = -1
    first = ""
    for column in columns[:]:  # a list goes faster than what protobuf has
        name = column.name
        dtype = expected.get(name)
        if dtype is None:
            raise InvalidRequestError(
                f'{taker.what} takes no "{name}".', hint=closest(name, expected), field=_field(name)
            )
        if name in found:
            raise InvalidRequestError(
                f'The request has column "{name}" twice.', hint="Send each column once.", field=_field(name)
            )
        carried = dtype.sent
        values: list[Any] = getattr(column, carried).values[:]
        if not values:  # it has no rows, or carries them as something else
            kind = column.WhichOneof("values")
            if kind == "int64s" and carried == "doubles":
                values = _as_doubles(column.int64s.values, dtype, name)
            elif kind != carried:
                raise InvalidRequestError(
                    f'Column "{name}" of the request has {kind or "no values"}; {_within(taker.what)} takes it as '
                    f"{dtype}.",
                    hint=f"Send it as {carried}.",
                    field=_field(name),
                )
        if count < 0:
            count, first = len(values), name
        elif len(values) != count:
            raise InvalidRequestError(
                f'Column "{name}" of the request has {len(values)} rows, and "{first}" has {count}.',
                hint="All columns have one value for each entity row.",
                field=_field(name),
            )
        if count > max_rows:
            raise LimitExceededError(
                f"The request has {count:,} entity rows; at most {max_rows:,} are answered at once.",
                hint="Send several requests, or raise max_rows under [serving] in featurestore.toml.",
                limit="max_rows",
            )
        plain = dtype.name in _PLAIN
        limits = None if plain else _LIMITS.get(dtype.name)
        if limits is not None and values and not limits[0] <= min(values) <= max(values) <= limits[1]:
            raise InvalidRequestError(
                f'Column "{name}" of the request has a value that {dtype} cannot hold.',
                hint=f"It lies between {limits[0]} and {limits[1]}.",
                field=_field(name),
                row=next(row for row, value in enumerate(values) if not limits[0] <= value <= limits[1]),
            )
        if column.nulls:
            mask = column.nulls
            values = [
                None if row // 8 < len(mask) and mask[row // 8] >> row % 8 & 1 else value
                for row, value in enumerate(values)
            ]
        if not plain and limits is None:
            values = _read(values, dtype, name, is_key=name in taker.keys)
        found[name] = values
    if len(found) != len(expected):
        missing = [name for name in expected if name not in found]
        # Without any column the request does not say how many rows it has, so then every field is needed.
        needed = [name for name in missing if name not in taker.optional] if found else missing
        if needed:
            raise InvalidRequestError(
                f'The request lacks "{needed[0]}" ({expected[needed[0]]}), which {_within(taker.what)} needs.',
                hint="It takes: " + ", ".join(f"{name} ({dtype})" for name, dtype in expected.items()) + ".",
                field=_field(needed[0]),
            )
        found |= {name: [None] * count for name in missing}
    return found, count


def _as_doubles(values: Sequence[int], dtype: types.DType, name: str) -> list[float]:
    """Return whole numbers as doubles: a client that knows no types sends 7 as it is.

    Raises:
        InvalidRequestError: a double cannot be one of them.
    """
    found = [float(value) for value in values]
    for row, (number, value) in enumerate(zip(found, values, strict=True)):
        if number != value:
            raise InvalidRequestError(
                f'Column "{name}" of the request has {value} in row {row}, which no {dtype} is exactly.',
                hint="Send it as doubles, rounded as you want it.",
                field=_field(name),
                row=row,
            )
    return found


#: Types whose values are taken as they are sent; those with limits are too, once they lie within them.
_PLAIN = frozenset({"Bool", "Int64", "String", "Bytes", "Timestamp"})
#: From here on, doubles round to an infinity of Float32: half a step over the greatest one.
_BEYOND_FLOAT32 = (2.0 - 2.0**-24) * 2.0**127


def _read(values: list[Any], dtype: types.DType, name: str, *, is_key: bool) -> list[Any]:
    """Return the values of a column of another type: floats, decimals of texts, lists and dicts of messages.

    Raises:
        InvalidRequestError: a value is not of the type, or NaN is a key.
    """
    found: list[Any] = []
    for row, value in enumerate(values):
        if is_key and value != value:
            raise InvalidRequestError(
                f'Column "{name}" of the request has NaN in entity row {row}, and it is a join key.',
                hint="NaN equals nothing, so it is no key; send null for one that is not known.",
                field=_field(name),
                row=row,
            )
        if dtype == types.Float32 and value is not None and _BEYOND_FLOAT32 <= abs(value) < math.inf:
            raise InvalidRequestError(
                f'Column "{name}" of the request has a value that {dtype} cannot hold.',
                hint="It would become an infinity.",
                field=_field(name),
                row=row,
            )
        try:
            if value is None or dtype.sent == "doubles":
                found.append(value)
            else:
                found.append(from_wire(value, dtype) if dtype.scalar else from_values(value, dtype, from_wire))
        except ValueError as error:
            raise InvalidRequestError(
                f'Column "{name}" of the request has in entity row {row} a value that is not {dtype}: {error}.',
                hint="A Decimal is a text such as 1.50; the Values of other types are laid out as serving.proto says.",
                field=_field(name),
                row=row,
            ) from None
    return found


def _within(what: str) -> str:
    """Return a name as it stands within a sentence."""
    return what[:1].lower() + what[1:]


def _field(column: str) -> str:
    """Return how an error names a column of the request."""
    return f"columns[{column}]"
