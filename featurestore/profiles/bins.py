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
    """The frozen cells of one field.

    Attributes:
        name: the field.
        dtype: its type.
        cuts: numeric fields: ascending; cell i holds ``cuts[i-1] < x <= cuts[i]``. The first lies just under the
            reference's minimum and the last is its maximum, so values out of range have cells of their own.
        events: positions in ``cuts`` of those that evidence is gathered on.
        categories: categorical fields: values with a cell of their own, the most frequent first.
        others: further values that the reference has; they share the cell OTHER.
        complete: whether ``categories`` and ``others`` are all that the reference has. When they are not, values
            beyond them count as OTHER.
    """

    name: str
    dtype: types.DType
    cuts: tuple[float, ...] = ()
    events: tuple[int, ...] = ()
    categories: tuple[str, ...] = ()
    others: tuple[str, ...] = ()
    complete: bool = True

    @property
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
        shown[0] = self._show(float(np.nextafter(self.cuts[0], np.inf)))
        between = [low if low == high else f"{low} to {high}" for low, high in pairwise(shown)]
        return (f"under {shown[0]}", *between, f"over {shown[-1]}", "NaN", "null")

    def readable(self, counts: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the rows for each of :attr:`labels`: fine cells of a numeric field merge to those of its events."""
        if self.kind != "numeric":
            return counts
        starts = [0, *(event + 1 for event in self.events)]
        return np.concatenate([np.add.reduceat(counts[: self.values], starts), counts[self.values :]])

    @property
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
        return f"{value:.6g}"

    @cached_property
    def _edges(self) -> NDArray[np.float64]:
        return np.asarray(self.cuts, dtype=np.float64)

    @cached_property
    def _known(self) -> pa.Array:
        return pa.array([*self.categories, *self.others], pa.string())

    def count(self, column: pa.Array | pa.ChunkedArray) -> Counted:
        """Return the counts and moments of a column that has the field's type."""
        counts = np.zeros(self.cells, np.int64)
        counts[-1] = column.null_count
        if self.kind == "opaque":
            counts[0] = len(column) - column.null_count
            return Counted(counts)
        if self.kind == "categorical":
            counts[:-1] = self._count_categories(column.drop_null())
            return Counted(counts)
        numbers = numbers_of(column)
        present = numbers[~np.isnan(numbers)]
        counts[-2] = len(numbers) - len(present)
        cells = np.searchsorted(self._edges, present, side="left")
        counts[:-2] = np.bincount(cells, minlength=len(self.cuts) + 1)
        return Counted(counts, *_moments(present))

    def _count_categories(self, column: pa.Array | pa.ChunkedArray) -> NDArray[np.int64]:
        top = len(self.categories)
        found = pc.index_in(texts_of(column), value_set=self._known)
        positions = np.minimum(_numpy(found.drop_null()), top)
        counts = np.bincount(positions, minlength=top + 2).astype(np.int64)
        counts[top + 1 if self.complete else top] += found.null_count
        return counts

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values; :meth:`from_json` reads them back exactly."""
        return {
            "name": self.name,
            "dtype": self.dtype.name,
            "cuts": self.cuts,
            "events": self.events,
            "categories": self.categories,
            "others": self.others,
            "complete": self.complete,
        }

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> FeatureBins:
        """Return the bins that :meth:`to_json` came from."""
        sequences = {key: tuple(values[key]) for key in ("cuts", "events", "categories", "others")}
        return cls(values["name"], types.by_name(values["dtype"]), complete=values["complete"], **sequences)


@dataclass(frozen=True)
class Bins:
    """The frozen cells of several fields, in order; a profile's counts are theirs, end to end.

    Attributes:
        features: one for each field.
    """

    features: tuple[FeatureBins, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The fields, in order."""
        return tuple(one.name for one in self.features)

    @cached_property
    def slices(self) -> dict[str, slice]:
        """Where each field's counts lie in :attr:`Profile.counts`."""
        ends = np.cumsum([one.cells for one in self.features]).tolist()
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


@dataclass(frozen=True)
class Counted:
    """One field's share of a profile; the moments are over finite numbers."""

    counts: NDArray[np.int64]
    infinite: int = 0
    finite: int = 0
    mean: float = 0.0
    squares: float = 0.0
    minimum: float = np.inf
    maximum: float = -np.inf


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
        if kind == "numeric":
            cuts, events = _quantile_cuts(numbers_of(column))
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


def numbers_of(column: pa.Array | pa.ChunkedArray) -> NDArray[np.float64]:
    """Return the values of a numeric field that are not null; what floats cannot hold is rounded, on all sides."""
    column = column.drop_null()
    if pa.types.is_date32(column.type):
        column = column.cast(pa.int32())
    elif pa.types.is_timestamp(column.type):
        column = column.cast(pa.int64())
    elif pa.types.is_decimal(column.type):
        column = column.cast(pa.float64())
    return _numpy(column).astype(np.float64)


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
    # Of a list or a struct only the nulls count, and files keep lists of a fixed size as any others.
    if column.type == wanted or not dtype.scalar:
        return column
    try:
        return column.cast(wanted)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise SchemaError(
            f'Column "{name}" is {column.type} and cannot be read as {dtype}.', hint="Cast it to the field's type."
        ) from error


def _quantile_cuts(numbers: NDArray[np.float64]) -> tuple[tuple[float, ...], tuple[int, ...]]:
    """Return the cuts, and the positions of those for evidence; quantiles are values of the reference."""
    # Adding zero makes minus zero zero, which equals it and would still make other bins.
    ordered = np.sort(numbers[np.isfinite(numbers)]) + 0.0
    if not len(ordered):
        return (), ()
    cells = (EVENT_CUTS + 1) * REFINEMENT
    ranks = np.ceil(np.arange(1, cells) * len(ordered) / cells).astype(np.int64) - 1
    quantiles = ordered[ranks]
    with np.errstate(over="ignore"):  # nothing but minus infinity lies under the lowest float
        below = np.nextafter(ordered[0], -np.inf)
    ends = np.array([below, ordered[-1]]) if np.isfinite(below) else ordered[-1:]
    cuts = np.unique(np.concatenate([ends, quantiles]))
    marked = np.unique(np.concatenate([ends, quantiles[REFINEMENT - 1 :: REFINEMENT]]))
    return tuple(cuts.tolist()), tuple(np.searchsorted(cuts, marked).tolist())


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


def _moments(numbers: NDArray[np.float64]) -> tuple[int, int, float, float, float, float]:
    """Return infinities, finite numbers, their mean, sum of squared distances, minimum and maximum."""
    finite = numbers[np.isfinite(numbers)]
    infinite = len(numbers) - len(finite)
    if not len(finite):
        return infinite, 0, 0.0, 0.0, np.inf, -np.inf
    low, high = float(finite.min()), float(finite.max())
    # The mean of numbers near the largest float would overflow as a sum; as a sum of shares it cannot.
    scale = max(abs(low), abs(high)) or 1.0
    mean = float(np.mean(finite / scale)) * scale
    with np.errstate(over="ignore"):
        squares = float(np.sum(np.square(finite - mean)))
    return infinite, len(finite), mean, squares, low, high
