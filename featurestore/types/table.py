"""What a type is, and each of them; the table is drawn in :mod:`featurestore.types`."""

from __future__ import annotations

import decimal
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from dataclasses import fields as members
from typing import TYPE_CHECKING, Any

from featurestore.errors import DefinitionError

if TYPE_CHECKING:
    import polars as pl
    import pyarrow as pa

#: Digits that Arrow's, DuckDB's and Polars' decimals hold.
MAX_PRECISION = 38
#: Numbers of one embedding.
MAX_EMBEDDING = 65_536
#: Types within types: protobuf's parsers stop at a hundred messages within each other, JSON's and SQL's vary.
MAX_DEPTH = 16


@dataclass(frozen=True, slots=True, repr=False)
class DType:
    """One type; two of one name are equal.

    Attributes:
        name: ours; it stands in definitions, in the registry and in schemas sent to clients. :func:`by_name` reads it.
        arrow: the name that :func:`pyarrow.type_for_alias` knows, or how Arrow prints it.
        duckdb: the SQL type.
        polars: the attribute of the ``polars`` module.
        wire: the repeated field of ``FeatureRow``, and of ``Values``, that carries it.
        sent: the member of ``Column.values`` that carries it in a request.
        width: bytes of one value in the wire's field when packed, or 0 when the width varies.
        numpy: little-endian NumPy type of the packed field, or "" when the width varies.
        numeric: whether distances between values mean anything.
        precision: of a Decimal: how many digits it has.
        scale: of a Decimal: how many of them stand behind the point.
        size: of an Embedding: how many numbers it has.
        element: what an Array or an Embedding consists of; None for other types.
        fields: names and types of a Struct's fields, in order.
    """

    name: str
    arrow: str = field(compare=False)
    duckdb: str = field(compare=False)
    polars: str = field(compare=False)
    wire: str = field(compare=False)
    sent: str = field(compare=False)
    width: int = field(default=0, compare=False)
    numpy: str = field(default="", compare=False)
    numeric: bool = field(default=False, compare=False)
    precision: int = field(default=0, compare=False)
    scale: int = field(default=0, compare=False)
    size: int = field(default=0, compare=False)
    element: DType | None = field(default=None, compare=False)
    fields: tuple[tuple[str, DType], ...] = field(default=(), compare=False)

    def __repr__(self) -> str:
        return self.name

    def __reduce__(self) -> tuple[Any, ...]:
        """Come out of a pickle, in another process or in this one, as the one object that a plain type is."""
        if self.name in BY_NAME:
            return _plain, (self.name,)
        return DType, tuple(getattr(self, one.name) for one in members(self))

    @property
    def kind(self) -> str:
        """The name without its parameters: ``Decimal`` for ``Decimal(10, 2)``."""
        return self.name.partition("(")[0]

    @property
    def scalar(self) -> bool:
        """Whether a value is one thing: an Array, an Embedding and a Struct are several, and none of these is a key."""
        return self.element is None and not self.fields

    def parts(self) -> Iterator[DType]:
        """Yield the type itself and every type within it."""
        yield self
        if self.element is not None:
            yield from self.element.parts()
        for _, dtype in self.fields:
            yield from dtype.parts()

    def to_arrow(self) -> pa.DataType:
        """Return the :class:`pyarrow.DataType`."""
        import pyarrow

        if self.fields:
            return pyarrow.struct([(name, dtype.to_arrow()) for name, dtype in self.fields])
        if self.element is not None:
            return pyarrow.list_(self.element.to_arrow(), self.size or -1)
        if self.precision:
            return pyarrow.decimal128(self.precision, self.scale)
        if self is Timestamp:
            return pyarrow.timestamp("us", tz="UTC")
        return pyarrow.type_for_alias(self.arrow)

    def to_polars(self) -> pl.DataType:
        """Return the :class:`polars.DataType`."""
        import polars

        if self.fields:
            return polars.Struct({name: dtype.to_polars() for name, dtype in self.fields})
        if self.size:
            return polars.Array(polars.Float32(), self.size)
        if self.element is not None:
            return polars.List(self.element.to_polars())
        if self.precision:
            return polars.Decimal(self.precision, self.scale)
        if self is Timestamp:
            return polars.Datetime("us", "UTC")
        dtype: pl.DataType = getattr(polars, self.polars)()
        return dtype


Bool = DType("Bool", "bool", "BOOLEAN", "Boolean", "bools", "bools", 1, "?")
Int32 = DType("Int32", "int32", "INTEGER", "Int32", "int32s", "int64s", 4, "<i4", numeric=True)
Int64 = DType("Int64", "int64", "BIGINT", "Int64", "int64s", "int64s", 8, "<i8", numeric=True)
Float32 = DType("Float32", "float", "FLOAT", "Float32", "floats", "doubles", 4, "<f4", numeric=True)
Float64 = DType("Float64", "double", "DOUBLE", "Float64", "doubles", "doubles", 8, "<f8", numeric=True)
String = DType("String", "string", "VARCHAR", "String", "strings", "strings")
Bytes = DType("Bytes", "binary", "BLOB", "Binary", "blobs", "blobs")
Date = DType("Date", "date32", "DATE", "Date", "int32s", "int64s", 4, "<i4")
Timestamp = DType("Timestamp", "timestamp[us]", "TIMESTAMP WITH TIME ZONE", "Datetime", "int64s", "int64s", 8, "<i8")

#: How each type with parameters is written, for hints.
MADE: Mapping[str, str] = {
    "Decimal": "Decimal(10, 2)",
    "Array": "Array(Float64)",
    "Embedding": "Embedding(128)",
    "Struct": 'Struct({"a": Int64})',
}

#: The types without parameters. The others are made by :func:`Decimal`, :func:`Array`, :func:`Embedding`,
#: :func:`Struct`.
BY_NAME: Mapping[str, DType] = {
    dtype.name: dtype for dtype in (Bool, Int32, Int64, Float32, Float64, String, Bytes, Date, Timestamp)
}


def _plain(name: str) -> DType:
    return BY_NAME[name]


# The functions below are named as the types that they make, so that a definition reads as the type's name does.


def Decimal(precision: int, scale: int) -> DType:  # noqa: N802
    """Return the type of exact decimal numbers: money, and whatever else must stay 1.11.

    Args:
        precision: digits in all, 1 to 38.
        scale: digits behind the point, 0 to ``precision``.

    Raises:
        DefinitionError: they are not such numbers.
    """
    name = f"Decimal({precision}, {scale})"
    if not _is_count(precision, 1, MAX_PRECISION):
        raise DefinitionError(
            f"{name} has a precision of {precision!r}.", hint=f"It is a number of digits: 1 to {MAX_PRECISION}."
        )
    if not _is_count(scale, 0, precision):
        raise DefinitionError(
            f"{name} has a scale of {scale!r}.",
            hint=f"It is how many of its {precision} digits stand behind the point.",
        )
    return DType(
        name,
        f"decimal128({precision}, {scale})",
        f"DECIMAL({precision},{scale})",
        "Decimal",
        "strings",
        "strings",
        numeric=True,
        precision=precision,
        scale=scale,
    )


def Array(element: DType) -> DType:  # noqa: N802
    """Return the type of lists, of any length, of values of one type, nulls among them.

    Raises:
        DefinitionError: ``element`` is no type, or types stand too deep within each other.
    """
    _check_type(element, "The elements of an Array are")
    return _nested(
        DType(
            f"Array({element.name})",
            f"list<item: {element.arrow}>",
            f"{element.duckdb}[]",
            "List",
            "nested",
            "nested",
            element=element,
        )
    )


def Embedding(size: int) -> DType:  # noqa: N802
    """Return the type of vectors of ``size`` Float32 numbers, none of which is null.

    Raises:
        DefinitionError: the size is not a number from 1 to 65,536.
    """
    if not _is_count(size, 1, MAX_EMBEDDING):
        raise DefinitionError(
            f"Embedding({size!r}) is no type.",
            hint=f"Its size is how many numbers it has: 1 to {MAX_EMBEDDING:,}. Array(Float32) has any number.",
        )
    return DType(
        f"Embedding({size})",
        f"fixed_size_list<item: float>[{size}]",
        f"FLOAT[{size}]",
        "Array",
        "floats",
        "nested",
        4 * size,
        f"({size},)<f4",
        size=size,
        element=Float32,
    )


_FIELD = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,99}")


def Struct(fields: Mapping[str, DType]) -> DType:  # noqa: N802
    """Return the type of records with these fields, each of which may be null.

    Args:
        fields: names and types, in order; a name has letters, digits and "_", a letter first.

    Raises:
        DefinitionError: there is no field, a name or a type is none, SQL takes two names for one, or types stand too
            deep within each other.
    """
    if not isinstance(fields, Mapping) or not fields:
        raise DefinitionError(
            f"Struct({fields!r}) has no fields.", hint='Write them as a dict: Struct({"a": Int64, "b": String}).'
        )
    seen: dict[str, str] = {}
    for name, dtype in fields.items():
        if not isinstance(name, str) or not _FIELD.fullmatch(name):
            raise DefinitionError(
                f"{name!r} cannot name a field of a Struct.",
                hint='A name starts with a letter, goes on with letters, digits and "_"; at most 100 of them.',
            )
        if name.lower() in seen:
            raise DefinitionError(
                f'A Struct names "{seen[name.lower()]}" and "{name}", which SQL takes for one.',
                hint="Rename one of them.",
            )
        seen[name.lower()] = name
        _check_type(dtype, f'Field "{name}" of a Struct is')
    return _nested(
        DType(
            "Struct(" + ", ".join(f"{name} {dtype.name}" for name, dtype in fields.items()) + ")",
            "struct<" + ", ".join(f"{name}: {dtype.arrow}" for name, dtype in fields.items()) + ">",
            "STRUCT(" + ", ".join(f'"{name}" {dtype.duckdb}' for name, dtype in fields.items()) + ")",
            "Struct",
            "nested",
            "nested",
            fields=tuple(fields.items()),
        )
    )


def _is_count(value: object, least: int, greatest: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= greatest


def _check_type(dtype: object, what: str) -> None:
    if not isinstance(dtype, DType):
        raise DefinitionError(
            f"{what} {dtype!r}, which is not a feature type.",
            hint="Take one from featurestore.types: " + ", ".join([*BY_NAME, *MADE]) + ".",
        )


def _nested(dtype: DType) -> DType:
    def depth(one: DType) -> int:
        return 1 + max((depth(inner) for inner in (one.element, *dict(one.fields).values()) if inner), default=0)

    if depth(dtype) > MAX_DEPTH:
        raise DefinitionError(
            f"A type has {MAX_DEPTH} or more others within each other.", hint="Flatten it, or keep it as Bytes."
        )
    return dtype


#: Wider than any two decimals multiplied; what does not fit without rounding is an error, not a rounded number.
_EXACT = decimal.Context(prec=200, traps=[decimal.Inexact, decimal.InvalidOperation, decimal.Overflow])


def exact_decimal(value: decimal.Decimal | int | str, dtype: DType) -> decimal.Decimal:
    """Return a number with just the digits behind the point that a Decimal type has.

    >>> exact_decimal("1.5", Decimal(10, 2))
    Decimal('1.50')

    Raises:
        ValueError: it is no finite number, or has more digits than the type.
    """
    try:
        number = decimal.Decimal(value).quantize(decimal.Decimal((0, (1,), -dtype.scale)), context=_EXACT)
    except decimal.DecimalException:
        raise ValueError(f"{value} is not {dtype}") from None
    if not number.is_finite() or number.adjusted() >= dtype.precision - dtype.scale:
        raise ValueError(f"{value} is not {dtype}")
    return number
