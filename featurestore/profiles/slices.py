"""Profiles of slices, of each carrier or each country, in the pass that makes the profile of the whole.

A slice is a value of a named column: one of the few that the baseline has most, or "other", which takes all the rest,
null among it. So the slices of one column hold every row once, and their sum is the whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from featurestore.errors import DataError, SchemaError
from featurestore.profiles.bins import Bins, FeatureBins, column_of, texts_of
from featurestore.profiles.counting import Counted, numbers_counted, pieces, place, sum_of
from featurestore.profiles.summary import OnTypeError, Profile, assemble, check_layout, merge, source_type

#: Values of a column that have a slice of their own.
MOST = 10

_LAYOUT = b"1"
_KEY = b"featurestore.slices"


class Slice(NamedTuple):
    """The rows that have one value in one column.

    Attributes:
        column: its name.
        value: as text; None for all values that have no slice of their own, and for null.
    """

    column: str
    value: str | None


@dataclass(frozen=True)
class Slicing:
    """Which values of a column have a slice of their own.

    Attributes:
        column: its name.
        values: as text, the most frequent of the baseline first.
    """

    column: str
    values: tuple[str, ...]

    @property
    def slices(self) -> tuple[Slice, ...]:
        """The slices, "other" last."""
        return tuple(Slice(self.column, value) for value in (*self.values, None))

    def groups(self, rows: pa.Table | pa.RecordBatch) -> NDArray[np.intp]:
        """Return where in :attr:`slices` each row belongs; without the column, all to "other".

        Raises:
            SchemaError: the column's values cannot be written as text.
        """
        if self.column not in rows.schema.names:
            return np.full(rows.num_rows, len(self.values), np.intp)
        found = pc.index_in(_texts(rows, self.column), value_set=pa.array(self.values, pa.string()))
        known = found.fill_null(len(self.values))
        groups = known.to_numpy() if isinstance(known, pa.ChunkedArray) else known.to_numpy(zero_copy_only=False)
        positions: NDArray[np.intp] = groups.astype(np.intp)
        return positions


@dataclass(frozen=True)
class Sliced:
    """The profile of rows, and those of their slices.

    Attributes:
        whole: of all rows.
        slices: by slice, also of those without rows; the slices of each column sum up to the whole.
    """

    whole: Profile
    slices: Mapping[Slice, Profile]

    def to_arrow(self) -> pa.Table:
        """Return the rows of every profile, the whole's first, beside their slice."""
        whole = self.whole.to_arrow()
        parts = [_beside(whole, None), *(_beside(one.to_arrow(), key) for key, one in self.slices.items())]
        return pa.concat_tables(parts).combine_chunks().replace_schema_metadata({_KEY: _LAYOUT})

    @classmethod
    def from_arrow(cls, table: pa.Table, bins: Bins) -> Sliced:
        """Return what :meth:`to_arrow` came from.

        Raises:
            DataError: the table is of another layout, or of other bins.
        """
        check_layout(table, _KEY, _LAYOUT)
        width = len(bins.features)
        if not width or table.num_rows % width:
            raise DataError("The profiles were made over other bins.", hint="Read them with the bins of the baseline.")
        found = [Profile.from_rows(table.slice(start, width), bins) for start in range(0, table.num_rows, width)]
        columns, values = (table.column(name)[width::width].to_pylist() for name in ("slice_column", "slice_value"))
        keys = [Slice(column, value) for column, value in zip(columns, values, strict=True)]
        return cls(found[0], dict(zip(keys, found[1:], strict=True)))


def fit_slices(table: pa.Table, columns: Sequence[str], *, most: int = MOST) -> tuple[Slicing, ...]:
    """Return, for each column, the values that a reference has most, of equals those that come first as text.

    Args:
        table: the reference.
        columns: each makes slices of its own; slices of two columns together are a column that holds both.
        most: so many values have a slice of their own.

    Raises:
        SchemaError: a column is missing, or its values cannot be written as text.
    """
    made = []
    for column in columns:
        if column not in table.schema.names:
            raise SchemaError(f'The baseline has no column "{column}" to slice by.', hint="Name one that it has.")
        counted = pc.value_counts(_texts(table, column).drop_null())
        pairs = zip(counted.field("values").to_pylist(), counted.field("counts").to_pylist(), strict=True)
        ordered = sorted(pairs, key=lambda pair: (-pair[1], pair[0]))
        made.append(Slicing(column, tuple(value for value, _ in ordered[:most])))
    return tuple(made)


def profile_slices(
    rows: pa.Table | pa.RecordBatch, bins: Bins, slicings: Sequence[Slicing], *, on_type_error: OnTypeError = "raise"
) -> Sliced:
    """Return the profile of rows and of their slices; each value is placed in its cell once.

    Args:
        rows: has a column for each field, as for :func:`~featurestore.profiles.summary.profile`, and those to slice by.
        bins: the frozen cells.
        slicings: at least one.
        on_type_error: as for :func:`~featurestore.profiles.summary.profile`.

    Raises:
        DataError: there is nothing to slice by.
        SchemaError: a column cannot be read as the field's type, or written as text to slice by.
    """
    if not slicings:
        raise DataError("There is no column to slice by.", hint="Without one, profile(rows, bins) says it all.")
    groupings = [(one.groups(rows), len(one.slices)) for one in slicings]
    sizes = [np.bincount(groups, minlength=width) for groups, width in groupings]
    known = set(rows.schema.names)
    shares: list[list[list[Counted]]] = [[[] for _ in range(width)] for _, width in groupings]
    absent, mistyped = [], []
    for name, group in groupby(bins.features, lambda one: one.column):
        features = list(group)
        column, wrong = None, False
        if name in known:
            try:
                column = column_of(rows, name, source_type(features[0]))
            except SchemaError:
                if on_type_error == "raise":
                    raise
                wrong = True
        absent += [name not in known] * len(features)
        mistyped += [wrong] * len(features)
        if column is not None:
            _add_column(features, column, groupings, shares)
            continue
        for by_slice, rows_of in zip(shares, sizes, strict=True):
            for share, count in zip(by_slice, rows_of.tolist(), strict=True):
                share += [Counted.nulls(one, count) for one in features]
    slices = {
        key: assemble(bins, count, share, absent=absent, mistyped=mistyped)
        for one, by_slice, rows_of in zip(slicings, shares, sizes, strict=True)
        for key, share, count in zip(one.slices, by_slice, rows_of.tolist(), strict=True)
    }
    return Sliced(merge([slices[key] for key in slicings[0].slices]), slices)


def merge_slices(parts: Iterable[Sliced]) -> Sliced:
    """Return the profiles of all rows of several parts, whole and slices alike.

    Raises:
        DataError: there is no part, or their bins or slices differ.
    """
    found = list(parts)
    if not found or any(part.slices.keys() != found[0].slices.keys() for part in found):
        raise DataError("Slices that merge are those of one baseline.", hint="Pass at least one part, and all alike.")
    slices = {key: merge([part.slices[key] for part in found]) for key in found[0].slices}
    return Sliced(merge([part.whole for part in found]), slices)


def _add_column(
    features: Sequence[FeatureBins],
    column: pa.Array | pa.ChunkedArray,
    groupings: Sequence[tuple[NDArray[np.intp], int]],
    shares: list[list[list[Counted]]],
) -> None:
    """Append to each slice's shares what it counts of each feature of a column."""
    found: list[list[list[list[Counted]]]] = [[[[] for _ in features] for _ in range(width)] for _, width in groupings]
    start = 0
    for piece in pieces(column):
        placed = place(features, piece)
        for at, (groups, width) in enumerate(groupings):
            mine = groups[start : start + len(piece)]
            # Stable, so that a slice's numbers stand in the order of the rows.
            order = np.argsort(mine, kind="stable")
            ends = np.cumsum(np.bincount(mine, minlength=width))
            for position, (one, (cells, numbers)) in enumerate(zip(features, placed, strict=True)):
                counts = np.bincount(mine * one.cells + cells, minlength=width * one.cells).reshape(width, one.cells)
                ordered = [None] * width if numbers is None else np.split(numbers[order], ends[:-1])
                for slice_, part in enumerate(ordered):
                    found[at][slice_][position].append(Counted(counts[slice_], *numbers_counted(part)))
        start += len(piece)
    for at, by_slice in enumerate(found):
        for slice_, by_feature in enumerate(by_slice):
            shares[at][slice_] += [
                sum_of(parts) if parts else Counted.nulls(one, 0)
                for one, parts in zip(features, by_feature, strict=True)
            ]


def _texts(rows: pa.Table | pa.RecordBatch, name: str) -> pa.Array | pa.ChunkedArray:
    try:
        return texts_of(rows.column(name))
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise SchemaError(
            f'Column "{name}" is {rows.column(name).type}: rows cannot be sliced by it.',
            hint="Slice by a column of texts, numbers or booleans.",
        ) from error


def _beside(table: pa.Table, key: Slice | None) -> pa.Table:
    texts = [pa.array([text] * table.num_rows, pa.string()) for text in (key or (None, None))]
    plain = table.replace_schema_metadata(None)
    return plain.add_column(0, "slice_column", texts[0]).add_column(1, "slice_value", texts[1])
