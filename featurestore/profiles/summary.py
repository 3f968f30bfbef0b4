"""Profiles: counts over frozen bins, and moments; they add up."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from featurestore.errors import DataError
from featurestore.profiles.bins import Bins, Counted, column_of

_LAYOUT = b"1"
_KEY = b"featurestore.profile"
_DTYPES: dict[str, type] = {
    "infinite": np.int64,
    "finite": np.int64,
    "mean": np.float64,
    "squares": np.float64,
    "minimum": np.float64,
    "maximum": np.float64,
}
_MOMENTS = tuple(_DTYPES)


@dataclass(frozen=True, eq=False)
class Profile:
    """A summary of rows over frozen bins; a sum of profiles is the profile of all their rows.

    Arrays other than ``counts`` have one value for each field. Moments are over finite numbers and zero for fields
    that are not numeric.

    Attributes:
        bins: the cells.
        rows: how many rows.
        counts: rows in each cell of each field, end to end.
        infinite: infinities, of either sign.
        finite: finite numbers.
        mean: their mean.
        squares: the sum of squared distances from the mean.
        minimum: the smallest, or infinity where there is none.
        maximum: the largest, or minus infinity.
    """

    bins: Bins
    rows: int
    counts: NDArray[np.int64]
    infinite: NDArray[np.int64]
    finite: NDArray[np.int64]
    mean: NDArray[np.float64]
    squares: NDArray[np.float64]
    minimum: NDArray[np.float64]
    maximum: NDArray[np.float64]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Profile):
            return NotImplemented
        return (
            self.bins == other.bins
            and self.rows == other.rows
            and bool(np.array_equal(self.counts, other.counts))
            and all(np.array_equal(getattr(self, name), getattr(other, name), equal_nan=True) for name in _MOMENTS)
        )

    __hash__ = None  # type: ignore[assignment]

    @classmethod
    def empty(cls, bins: Bins) -> Profile:
        """Return the profile of no rows."""
        return _assemble(bins, 0, [Counted(np.zeros(one.cells, np.int64)) for one in bins.features])

    def cells(self, feature: str) -> NDArray[np.int64]:
        """Return the rows in each cell of one field, in the order of the bins: values, NaN for numbers, null."""
        return self.counts[self.bins.slices[feature]]

    def nulls(self, feature: str) -> int:
        """Return the rows where a field is null."""
        return int(self.cells(feature)[-1])

    def mean_of(self, feature: str) -> float | None:
        """Return the mean of a field's finite numbers; None when it has none."""
        position = self.bins.names.index(feature)
        return float(self.mean[position]) if self.finite[position] else None

    def to_arrow(self) -> pa.Table:
        """Return one row a field; :meth:`from_arrow` reads it back exactly."""
        cells = [self.cells(name) for name in self.bins.names]
        columns = {
            "feature": pa.array(self.bins.names, pa.string()),
            "rows": pa.array([self.rows] * len(cells), pa.int64()),
            "counts": pa.array(cells, pa.list_(pa.int64())),
        } | {name: pa.array(getattr(self, name)) for name in _MOMENTS}
        return pa.table(columns).replace_schema_metadata({_KEY: _LAYOUT})

    @classmethod
    def from_arrow(cls, table: pa.Table, bins: Bins) -> Profile:
        """Return the profile that :meth:`to_arrow` came from.

        Raises:
            DataError: the table is of another layout, or of other bins.
        """
        check_layout(table, _KEY, _LAYOUT)
        return cls.from_rows(table, bins)

    @classmethod
    def from_rows(cls, table: pa.Table, bins: Bins) -> Profile:
        """Return the profile from the columns of :meth:`to_arrow`, whatever its metadata.

        Raises:
            DataError: the rows are of other bins.
        """
        counts = table.column("counts").combine_chunks()
        lengths = [one.cells for one in bins.features]
        if (
            table.column("feature").to_pylist() != list(bins.names)
            or pc.list_value_length(counts).to_pylist() != lengths
        ):
            raise DataError("The profile was made over other bins.", hint="Read it with the bins of its baseline.")
        moments = {name: table.column(name).to_numpy() for name in _MOMENTS}
        rows = table.column("rows")[0].as_py() if table.num_rows else 0
        return cls(bins, rows, counts.flatten().to_numpy(), **moments)


def profile(rows: pa.Table | pa.RecordBatch, bins: Bins) -> Profile:
    """Return the profile of rows.

    Args:
        rows: has a column for each field; one that is missing counts as null in every row.
        bins: the frozen cells.

    Raises:
        SchemaError: a column cannot be read as the field's type.
    """
    counted = []
    for one in bins.features:
        if one.name in rows.schema.names:
            counted.append(one.count(column_of(rows, one.name, one.dtype)))
        else:
            counts = np.zeros(one.cells, np.int64)
            counts[-1] = rows.num_rows
            counted.append(Counted(counts))
    return _assemble(bins, rows.num_rows, counted)


def merge(profiles: Iterable[Profile]) -> Profile:
    """Return the profile of all rows of several: counts are exact, moments up to rounding, in any order.

    The moments follow Chan, Golub and LeVeque (1979), so a mean far from zero costs the variance few digits.

    Raises:
        DataError: there is no profile, or their bins differ.
    """
    parts = list(profiles)
    if not parts:
        raise DataError("There is no profile to merge.", hint="Profile.empty(bins) is the profile of no rows.")
    whole = parts[0]
    for part in parts[1:]:
        if part.bins is not whole.bins and part.bins != whole.bins:
            raise DataError("Profiles over different bins cannot be merged.", hint="Use the bins of one baseline.")
        whole = _merge_two(whole, part)
    return whole


def check_layout(table: pa.Table, key: bytes, layout: bytes) -> None:
    """Raise a DataError unless the table's metadata names the layout."""
    found = (table.schema.metadata or {}).get(key)
    if found != layout:
        what = key.decode().rpartition(".")[2]
        raise DataError(
            f"The table is no {what} of layout {layout.decode()}: it says {found and found.decode()!r}.",
            hint="Read it with the release that wrote it, or make it anew.",
        )


def _assemble(bins: Bins, rows: int, counted: Sequence[Counted]) -> Profile:
    counts = [one.counts for one in counted]
    moments: dict[str, NDArray[Any]] = {
        name: np.array([getattr(one, name) for one in counted], _DTYPES[name]) for name in _MOMENTS
    }
    return Profile(bins, rows, np.concatenate(counts) if counts else np.zeros(0, np.int64), **moments)


def _merge_two(one: Profile, two: Profile) -> Profile:
    finite = one.finite + two.finite
    share = np.divide(two.finite, finite, out=np.zeros(len(finite)), where=finite > 0)
    # Numbers near the largest float have an infinite variance, which is what a float can say of it.
    with np.errstate(over="ignore", invalid="ignore"):
        apart = np.square(two.mean - one.mean) * (one.finite * share)
        squares = one.squares + two.squares + np.where(one.finite * share > 0, apart, 0.0)
    return Profile(
        bins=one.bins,
        rows=one.rows + two.rows,
        counts=one.counts + two.counts,
        infinite=one.infinite + two.infinite,
        finite=finite,
        mean=one.mean * (1 - share) + two.mean * share,
        squares=squares,
        minimum=np.minimum(one.minimum, two.minimum),
        maximum=np.maximum(one.maximum, two.maximum),
    )
