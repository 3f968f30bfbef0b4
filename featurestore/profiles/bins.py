"""Frozen bins: where the values of a field are cut, once, from a reference."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from itertools import pairwise
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from featurestore import types
from featurestore.definitions import Field
from featurestore.errors import SchemaError
from featurestore.profiles.buckets import Buckets
from featurestore.profiles.vectors import Derivation, derivations, is_vector, measured

Kind = Literal["numeric", "categorical", "opaque"]

#: Equi-probable cuts on which evidence is gathered: few, because evidence is averaged over them.
EVENT_CUTS = 20
#: Cells between two of them, for distances: 21 * 7 cells have 146 inner cuts.
REFINEMENT = 7
#: Values of a categorical field with a cell of their own.
TOP_CATEGORIES = 50
#: Values of a categorical field that are known at all; with more, an unseen value cannot be told from another one.
KNOWN_CATEGORIES = 10_000

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class FeatureBins:
    """The frozen cells of one field, or of one number that is taken from a field of vectors.

    Attributes:
        name: the field; ``vector.norm`` and the like for what is taken from vectors.
        dtype: its type; Float64 for what is taken from vectors.
        cuts: numeric fields: ascending; cell i holds ``cuts[i-1] < x <= cuts[i]``. The first lies just under the
            reference's minimum and the last is its maximum, so values out of range have cells of their own. They are
            of type int for integers and instants, which are compared as such: no two are one, also beyond 2^53.
        events: positions in ``cuts`` of those that evidence is gathered on.
        categories: categorical fields: values with a cell of their own, the most frequent first.
        others: further values that the reference has; they share the cell OTHER.
        complete: whether ``categories`` and ``others`` are all that the reference has. When they are not, values
            beyond them count as OTHER.
        derivation: how the number is taken from a vector; None for a field as it is.
    """

    name: str
    dtype: types.DType
    cuts: tuple[float, ...] = ()
    events: tuple[int, ...] = ()
    categories: tuple[str, ...] = ()
    others: tuple[str, ...] = ()
    complete: bool = True
    derivation: Derivation | None = None

    @property
    def column(self) -> str:
        """The column that is read: the field's."""
        return self.derivation.column if self.derivation else self.name

    @cached_property
    def kind(self) -> Kind:
        """Whether it has cuts, categories, or neither."""
        return kind_of(self.dtype)

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """What people read for the cells that :meth:`readable` merges, in order; null is last."""
        if self.kind == "opaque":
            return ("not null", "null")
        if self.kind == "categorical":
            return (*(f'"{value}"' for value in self.categories), "other values", "unseen values", "null")
        shown = [self._show(self.cuts[event]) for event in self.events]
        if not shown:
            return ("any value", "NaN", "null")
        # The first cut lies just under the minimum; people read the minimum.
        lowest = self.cuts[0]
        shown[0] = self._show(lowest + 1 if isinstance(lowest, int) else float(np.nextafter(lowest, np.inf)))
        between = [low if low == high else f"{low} to {high}" for low, high in pairwise(shown)]
        return (f"under {shown[0]}", *between, f"over {shown[-1]}", "NaN", "null")

    def readable(self, counts: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the rows for each of :attr:`labels`: fine cells of a numeric field merge to those of its events."""
        if self.kind != "numeric":
            return counts
        starts = [0, *(event + 1 for event in self.events)]
        return np.concatenate([np.add.reduceat(counts[: self.values], starts), counts[self.values :]])

    @cached_property
    def cells(self) -> int:
        """The number of cells: all rows fall into exactly one."""
        if self.kind == "opaque":
            return 2
        return len(self.categories) + 3 if self.kind == "categorical" else len(self.cuts) + 3

    @property
    def values(self) -> int:
        """The number of leading cells that hold values: those that are neither NaN nor null."""
        return self.cells - 2 if self.kind == "numeric" else self.cells - 1

    def _show(self, value: float) -> str:
        try:
            if self.dtype is types.Date:
                return (_EPOCH + timedelta(days=value)).strftime("%Y-%m-%d")
            if self.dtype is types.Timestamp:
                return (_EPOCH + timedelta(microseconds=value)).strftime("%Y-%m-%dT%H:%M:%SZ")
        except OverflowError:  # Arrow's instants reach further than Python's years 1 to 9999
            pass
        return str(value) if isinstance(value, int) else f"{value + 0.0:.6g}"  # -0.0 is 0 to a reader

    @cached_property
    def buckets(self) -> Buckets:
        """The cuts of a numeric field, ready to look values up."""
        return Buckets(self.cuts)

    @cached_property
    def known(self) -> pa.Array:
        """The values of a categorical field that have a cell, those of OTHER behind the others."""
        return pa.array([*self.categories, *self.others], pa.string())

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values; :meth:`from_json` reads them back exactly."""
        values = {
            "name": self.name,
            "dtype": self.dtype.name,
            "cuts": self.cuts,
            "events": self.events,
            "categories": self.categories,
            "others": self.others,
            "complete": self.complete,
        }
        # Left out where there is none: bins that were made before vectors were measured keep their id.
        return values | ({"derivation": self.derivation.to_json()} if self.derivation else {})

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> FeatureBins:
        """Return the bins that :meth:`to_json` came from."""
        sequences = {key: tuple(values[key]) for key in ("cuts", "events", "categories", "others")}
        made = Derivation.from_json(values["derivation"]) if "derivation" in values else None
        dtype = types.by_name(values["dtype"])
        return cls(values["name"], dtype, complete=values["complete"], derivation=made, **sequences)


@dataclass(frozen=True)
class Bins:
    """The frozen cells of several fields, in order; a profile's counts are theirs, end to end.

    Attributes:
        features: one for each field, and several for a field of vectors.
    """

    features: tuple[FeatureBins, ...]

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The features, in order."""
        return tuple(one.name for one in self.features)

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """The columns to read, each once, in order: the fields."""
        return tuple(dict.fromkeys(one.column for one in self.features))

    @cached_property
    def positions(self) -> dict[str, int]:
        """Where each feature stands in :attr:`names`."""
        return {name: place for place, name in enumerate(self.names)}

    @cached_property
    def name_column(self) -> pa.Array:
        """The features, as a profile on disk names them."""
        return pa.array(self.names, pa.string())

    @cached_property
    def widths(self) -> NDArray[np.int64]:
        """How many cells each feature has."""
        return np.array([one.cells for one in self.features], np.int64)

    @cached_property
    def slices(self) -> dict[str, slice]:
        """Where each field's counts lie in :attr:`Profile.counts`."""
        ends = np.cumsum(self.widths).tolist()
        return {one.name: slice(end - one.cells, end) for one, end in zip(self.features, ends, strict=True)}

    @cached_property
    def id(self) -> str:
        """Sixteen hexadecimal digits; profiles and limits with the same id belong together."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()[:16]

    def to_json(self) -> str:
        """Return a text; :meth:`from_json` reads it back exactly."""
        return json.dumps([one.to_json() for one in self.features], separators=(",", ":"), allow_nan=False)

    @classmethod
    def from_json(cls, text: str | bytes) -> Bins:
        """Return the bins that :meth:`to_json` came from."""
        return cls(tuple(FeatureBins.from_json(values) for values in json.loads(text)))


def fit_bins(table: pa.Table, fields: Sequence[Field], *, least: int = 1) -> Bins:
    """Return the frozen cells for fields, from exact quantiles and counts of a reference.

    Args:
        table: the reference; has a column for each field.
        fields: what to watch.
        least: values of a categorical field that fewer rows have are not kept; they count as OTHER.

    Raises:
        SchemaError: a column is missing or cannot be read as the field's type.
    """
    made = []
    for field in fields:
        if field.name not in table.schema.names:
            raise SchemaError(
                f'The baseline has no column "{field.name}".', hint="It needs one for each feature of the service."
            )
        column = column_of(table, field.name, field.dtype)
        kind = kind_of(field.dtype)
        if is_vector(field.dtype):
            made += _vector_bins(field, column)
        elif kind == "numeric":
            cuts, events = _quantile_cuts(values_of(column))
            made.append(FeatureBins(field.name, field.dtype, cuts=cuts, events=events))
        elif kind == "categorical":
            made.append(_category_bins(field, column, least))
        else:
            made.append(FeatureBins(field.name, field.dtype))
    return Bins(tuple(made))


def kind_of(dtype: types.DType) -> Kind:
    """Return how values of a type are summarised."""
    if dtype.numeric or dtype in (types.Date, types.Timestamp):
        return "numeric"
    return "opaque" if dtype == types.Bytes or not dtype.scalar else "categorical"


def values_of(column: pa.Array | pa.ChunkedArray) -> NDArray[np.float64] | NDArray[np.int64]:
    """Return the values of a numeric field that are not null: integers, days and microseconds as int64.

    A Decimal is rounded to the nearest float, on all sides: two that differ behind their sixteenth digit may be one.
    """
    column = column.drop_null()
    if pa.types.is_date32(column.type):
        column = column.cast(pa.int32())
    elif pa.types.is_timestamp(column.type):
        column = column.cast(pa.int64())
    elif pa.types.is_decimal(column.type):
        column = column.cast(pa.float64())
    numbers = _numpy(column)
    if pa.types.is_integer(column.type):
        return numbers.astype(np.int64, copy=False)
    return numbers.astype(np.float64, copy=False)


def numbers_of(column: pa.Array | pa.ChunkedArray) -> NDArray[np.float64]:
    """Return the values of a numeric field that are not null, as floats; what these cannot hold is rounded."""
    return values_of(column).astype(np.float64, copy=False)


def texts_of(column: pa.Array | pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
    """Return the values of a categorical field as text: ``true`` and ``false`` for Bool."""
    return column.cast(pa.string())


def _numpy(column: pa.Array | pa.ChunkedArray) -> NDArray[Any]:
    array: NDArray[Any] = (
        column.to_numpy() if isinstance(column, pa.ChunkedArray) else column.to_numpy(zero_copy_only=False)
    )
    return array


def column_of(rows: pa.Table | pa.RecordBatch, name: str, dtype: types.DType) -> pa.Array | pa.ChunkedArray:
    """Return a column as the field's type.

    Raises:
        SchemaError: it cannot be read so.
    """
    column, wanted = rows.column(name), dtype.to_arrow()
    if column.type == wanted or _reads_as_it_is(column.type, dtype):
        return column
    try:
        if not dtype.scalar and not pa.types.is_null(column.type):
            raise pa.ArrowNotImplementedError
        return column.cast(wanted)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise SchemaError(
            f'Column "{name}" is {column.type} and cannot be read as {dtype}.', hint="Cast it to the field's type."
        ) from error


def _reads_as_it_is(found: pa.DataType, dtype: types.DType) -> bool:
    """Whether a column may stay as a file holds it: lists of a fixed size as any others, texts as a dictionary."""
    if dtype.fields:
        return bool(pa.types.is_struct(found))
    if dtype.element is None:
        return dtype is types.String and pa.types.is_dictionary(found) and pa.types.is_string(found.value_type)
    if not (pa.types.is_list(found) or pa.types.is_large_list(found) or pa.types.is_fixed_size_list(found)):
        return False
    element = found.value_type
    numbers = (pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal, pa.types.is_null)
    return not is_vector(dtype) or any(fits(element) for fits in numbers)


def _quantile_cuts(
    numbers: NDArray[np.float64] | NDArray[np.int64],
) -> tuple[tuple[float, ...], tuple[int, ...]]:
    """Return the cuts, and the positions of those for evidence; quantiles are values of the reference."""
    # Adding zero makes minus zero zero, which equals it and would still make other bins.
    ordered = np.sort(numbers[np.isfinite(numbers)]) + numbers.dtype.type(0)
    if not len(ordered):
        return (), ()
    cells = (EVENT_CUTS + 1) * REFINEMENT
    # As Python's numbers: a product of two large counts does not overflow.
    ranks = [-(-place * len(ordered) // cells) - 1 for place in range(1, cells)]
    quantiles = ordered[ranks]
    ends = ordered[-1:]
    if numbers.dtype == np.int64:
        if ordered[0] > np.iinfo(np.int64).min:
            ends = np.array([ordered[0] - 1, ordered[-1]])
    else:
        with np.errstate(over="ignore"):  # nothing but minus infinity lies under the lowest float
            below = np.nextafter(ordered[0], -np.inf)
        ends = np.array([below, ordered[-1]]) if np.isfinite(below) else ends
    cuts = np.unique(np.concatenate([ends, quantiles]))
    marked = np.unique(np.concatenate([ends, quantiles[REFINEMENT - 1 :: REFINEMENT]]))
    return tuple(cuts.tolist()), tuple(np.searchsorted(cuts, marked).tolist())


def _vector_bins(field: Field, column: pa.Array | pa.ChunkedArray) -> list[FeatureBins]:
    made = derivations(field.name, field.dtype, column)
    chunks = column.chunks if isinstance(column, pa.ChunkedArray) else [column]
    parts = [measured(chunk, list(made.values())) for chunk in chunks]
    bins = []
    for place, (name, one) in enumerate(made.items()):
        numbers = np.concatenate([np.zeros(0), *(part[place] for part in parts)])
        cuts, events = _quantile_cuts(numbers)
        bins.append(FeatureBins(name, types.Float64, cuts=cuts, events=events, derivation=one))
    return bins


def _category_bins(field: Field, column: pa.Array | pa.ChunkedArray, least: int) -> FeatureBins:
    counted = pc.value_counts(texts_of(column.drop_null()))
    pairs = zip(counted.field("values").to_pylist(), counted.field("counts").to_pylist(), strict=True)
    ordered = [value for value, count in sorted(pairs, key=lambda pair: (-pair[1], pair[0])) if count >= least]
    return FeatureBins(
        field.name,
        field.dtype,
        categories=tuple(ordered[:TOP_CATEGORIES]),
        others=tuple(ordered[TOP_CATEGORIES:KNOWN_CATEGORIES]),
        complete=len(ordered) <= KNOWN_CATEGORIES and len(ordered) == len(counted),
    )
