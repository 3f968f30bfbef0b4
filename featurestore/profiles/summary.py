"""Profiles: counts over frozen bins, and moments; they add up."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from featurestore.errors import DataError, SchemaError
from featurestore.profiles.bins import Bins, FeatureBins, column_of
from featurestore.profiles.counting import Counted, count
from featurestore.profiles.moments import Moments, merge_moments
from featurestore.types import DType

_LAYOUT = b"2"
#: Layout 1 had neither rests of means nor counts of absent and mistyped columns; it is read as if these were none.
_READ = (b"1", _LAYOUT)
_KEY = b"featurestore.profile"
_SUMS = ("infinite", "absent", "mistyped")
#: What a profile has one value of for each feature.
ARRAYS = (*_SUMS, *Moments._fields)
#: Values under which another thread costs more than it brings.
_VALUES_A_THREAD = 1 << 18
#: Profiles of a stream that are kept until they are merged.
_PENDING = 64

OnTypeError = Literal["raise", "null"]


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
        absent: rows in which the feature's column was missing; each counts as null too.
        mistyped: rows in which it had a type that cannot be read as the field's; each counts as null too.
        finite: finite numbers.
        mean: their mean.
        mean_rest: what the float of the mean lacks of it, so that merges lose no digit.
        squares: the sum of squared distances from the mean.
        minimum: the smallest, or infinity where there is none.
        maximum: the largest, or minus infinity.
    """

    bins: Bins
    rows: int
    counts: NDArray[np.int64]
    infinite: NDArray[np.int64]
    absent: NDArray[np.int64]
    mistyped: NDArray[np.int64]
    finite: NDArray[np.int64]
    mean: NDArray[np.float64]
    mean_rest: NDArray[np.float64]
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
            and all(np.array_equal(getattr(self, name), getattr(other, name), equal_nan=True) for name in ARRAYS)
        )

    __hash__ = None  # type: ignore[assignment]

    @classmethod
    def empty(cls, bins: Bins) -> Profile:
        """Return the profile of no rows."""
        no = [False] * len(bins.features)
        return assemble(bins, 0, [Counted.nulls(one, 0) for one in bins.features], absent=no, mistyped=no)

    def cells(self, feature: str) -> NDArray[np.int64]:
        """Return the rows in each cell of one field, in the order of the bins: values, NaN for numbers, null."""
        return self.counts[self.bins.slices[feature]]

    def nulls(self, feature: str) -> int:
        """Return the rows where a field is null."""
        return int(self.cells(feature)[-1])

    def mean_of(self, feature: str) -> float | None:
        """Return the mean of a field's finite numbers; None when it has none."""
        position = self.bins.positions[feature]
        return float(self.mean[position]) if self.finite[position] else None

    @property
    def absent_columns(self) -> tuple[str, ...]:
        """The columns that were missing in some rows."""
        return self._columns_of(self.absent)

    @property
    def mistyped_columns(self) -> tuple[str, ...]:
        """The columns that had, in some rows, a type that cannot be read as the field's: a type change."""
        return self._columns_of(self.mistyped)

    def _columns_of(self, rows: NDArray[np.int64]) -> tuple[str, ...]:
        return tuple(dict.fromkeys(self.bins.features[place].column for place in np.flatnonzero(rows)))

    def to_arrow(self) -> pa.Table:
        """Return one row a field; :meth:`from_arrow` reads it back exactly."""
        width = len(self.bins.features)
        offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(self.bins.widths)]).astype(np.int32)
        columns = {
            "feature": self.bins.name_column,
            "rows": pa.array(np.full(width, self.rows, np.int64)),
            "counts": pa.ListArray.from_arrays(offsets, self.counts),
        } | {name: pa.array(getattr(self, name)) for name in ARRAYS}
        return pa.table(columns).replace_schema_metadata({_KEY: _LAYOUT})

    @classmethod
    def from_arrow(cls, table: pa.Table, bins: Bins) -> Profile:
        """Return the profile that :meth:`to_arrow` came from.

        Raises:
            DataError: the table is of another layout, or of other bins.
        """
        check_layout(table, _KEY, *_READ)
        return cls.from_rows(table, bins)

    @classmethod
    def from_rows(cls, table: pa.Table, bins: Bins) -> Profile:
        """Return the profile from the columns of :meth:`to_arrow`, whatever its metadata.

        Raises:
            DataError: the rows are of other bins.
        """
        counts, names = _one_chunk(table.column("counts")), _one_chunk(table.column("feature"))
        widths = pc.list_value_length(counts).to_numpy(zero_copy_only=False)
        if not names.equals(bins.name_column) or not np.array_equal(widths, bins.widths):
            raise DataError("The profile was made over other bins.", hint="Read it with the bins of its baseline.")
        # What a profile of layout 1 has not is zero.
        zeros, known = np.zeros(len(widths), np.int64), set(table.schema.names)
        arrays: dict[str, Any] = {name: table.column(name).to_numpy() if name in known else zeros for name in ARRAYS}
        rows = table.column("rows")[0].as_py() if table.num_rows else 0
        return cls(bins, rows, counts.flatten().to_numpy(), **arrays)


def profile(
    rows: pa.Table | pa.RecordBatch, bins: Bins, *, on_type_error: OnTypeError = "raise", threads: int | None = None
) -> Profile:
    """Return the profile of rows.

    Args:
        rows: has a column for each field; one that is missing counts as null, and as absent, in every row.
        bins: the frozen cells.
        on_type_error: what becomes of a column that cannot be read as the field's type. "raise" refuses the rows, and
            "null" goes on: the column counts as null, and as mistyped, in every row (:attr:`Profile.mistyped_columns`).
        threads: at most so many work on columns side by side; None for one on each core. The result is the same, bit
            for bit.

    Raises:
        SchemaError: a column cannot be read as the field's type, and ``on_type_error`` is "raise".
    """
    columns = [(name, list(group)) for name, group in groupby(bins.features, lambda one: one.column)]
    known = set(rows.schema.names)

    def counted(name: str, features: list[FeatureBins]) -> tuple[list[Counted], bool]:
        nulls = [Counted.nulls(one, rows.num_rows) for one in features]
        if name not in known:
            return nulls, False
        try:
            return count(features, column_of(rows, name, source_type(features[0]))), False
        except SchemaError:
            if on_type_error == "raise":
                raise
            return nulls, True

    width = min(threads or _cores(), len(columns), 1 + rows.num_rows * len(columns) // _VALUES_A_THREAD)
    if width > 1:
        with ThreadPoolExecutor(width) as pool:
            found = list(pool.map(lambda column: counted(*column), columns))
    else:
        found = [counted(*column) for column in columns]
    mistyped = [wrong for (_, features), (_, wrong) in zip(columns, found, strict=True) for _ in features]
    absent = [name not in known for name, features in columns for _ in features]
    shares = [one for found_shares, _ in found for one in found_shares]
    return assemble(bins, rows.num_rows, shares, absent=absent, mistyped=mistyped)


def profile_stream(
    batches: Iterable[pa.Table | pa.RecordBatch],
    bins: Bins,
    *,
    on_type_error: OnTypeError = "raise",
    threads: int | None = None,
) -> Profile:
    """Return the profile of all rows of a stream, of which one batch is in memory at a time.

    The other arguments and errors are those of :func:`profile`.
    """
    pending = [Profile.empty(bins)]
    for batch in batches:
        pending.append(profile(batch, bins, on_type_error=on_type_error, threads=threads))
        if len(pending) > _PENDING:
            pending = [merge(pending)]
    return merge(pending)


def merge(profiles: Iterable[Profile]) -> Profile:
    """Return the profile of all rows of several: counts are exact, moments up to rounding, in any order.

    The moments follow Chan, Golub and LeVeque (1979), so a mean far from zero costs the variance few digits.

    Raises:
        DataError: there is no profile, or their bins differ.
    """
    parts = list(profiles)
    if not parts:
        raise DataError("There is no profile to merge.", hint="Profile.empty(bins) is the profile of no rows.")
    first = parts[0]
    if any(part.bins is not first.bins and part.bins != first.bins for part in parts):
        raise DataError("Profiles over different bins cannot be merged.", hint="Use the bins of one baseline.")
    if len(parts) == 1:
        return first
    counts = first.counts.copy()
    for part in parts[1:]:
        counts += part.counts
    stacked = Moments(*(np.array([getattr(part, name) for part in parts]) for name in Moments._fields))
    infinite, absent, mistyped = (np.sum([getattr(part, name) for part in parts], axis=0) for name in _SUMS)
    rows = sum(part.rows for part in parts)
    return Profile(first.bins, rows, counts, infinite, absent, mistyped, *merge_moments(stacked))


def side_by_side(parts: Sequence[Profile]) -> Profile:
    """Return the profile of all features from those of some each, over the same rows.

    Raises:
        DataError: there is no profile, or they are not of as many rows.
    """
    if len({part.rows for part in parts}) != 1:
        raise DataError("Profiles side by side are of one set of rows.", hint="Pass at least one, of equal rows.")
    bins = Bins(tuple(one for part in parts for one in part.bins.features))
    arrays = {name: np.concatenate([getattr(part, name) for part in parts]) for name in ("counts", *ARRAYS)}
    return Profile(bins, parts[0].rows, **arrays)


def check_layout(table: pa.Table, key: bytes, *layouts: bytes) -> None:
    """Raise a DataError unless the table's metadata names one of the layouts."""
    found = (table.schema.metadata or {}).get(key)
    if found not in layouts:
        what = key.decode().rpartition(".")[2]
        known = " or ".join(layout.decode() for layout in layouts)
        raise DataError(
            f"The table is no {what} of layout {known}: it says {found and found.decode()!r}.",
            hint="Read it with the release that wrote it, or make it anew.",
        )


def assemble(
    bins: Bins, rows: int, counted: Sequence[Counted], *, absent: Sequence[bool], mistyped: Sequence[bool]
) -> Profile:
    """Return the profile that the features' shares make up; all arguments are in the order of the bins.

    Args:
        bins: the cells.
        rows: how many rows.
        counted: what is counted of each feature.
        absent: whether its column is missing.
        mistyped: whether its column cannot be read as the field's type.
    """
    moments = [np.array([one.moments[place] for one in counted], np.float64) for place in range(len(Moments._fields))]
    finite, mean, mean_rest, squares, minimum, maximum = moments
    return Profile(
        bins=bins,
        rows=rows,
        counts=np.concatenate([np.zeros(0, np.int64), *(one.counts for one in counted)]),
        infinite=np.array([one.infinite for one in counted], np.int64),
        absent=np.array(absent, np.int64) * rows,
        mistyped=np.array(mistyped, np.int64) * rows,
        finite=finite.astype(np.int64),
        mean=mean,
        mean_rest=mean_rest,
        squares=squares,
        minimum=minimum,
        maximum=maximum,
    )


def _one_chunk(column: pa.ChunkedArray) -> pa.Array:
    # Combining copies a lone chunk too, and a day has many profiles.
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def source_type(one: FeatureBins) -> DType:
    """Return the type of the column that a feature is read from."""
    return one.derivation.dtype if one.derivation else one.dtype


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
