"""The baseline: what training data looked like, block by block, so that its own unsteadiness is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from featurestore.definitions import Field
from featurestore.errors import DataError, SchemaError, TimestampError
from featurestore.profiles.bins import Bins, FeatureBins, column_of, fit_bins, texts_of
from featurestore.profiles.summary import Profile, check_layout, merge, profile

_LAYOUT = b"1"
_KEY = b"featurestore.baseline"
_BINS_KEY = b"featurestore.bins"
_BLOCK_KEY = b"featurestore.block_us"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True)
class Baseline:
    """The training data's bins, and one profile for each block of time that has rows.

    A value of a categorical field that only one block has counts there as unseen: that is what it was to all others,
    and so the blocks say how often a day brings something new. (Counted as known, the baseline's own rate of unseen
    values would be zero whatever the data, and every day would break it.)

    Attributes:
        bins: the frozen cells.
        block: the length of a block.
        blocks: the start of each block, a multiple of ``block`` since 1970 in UTC, and the profile of its rows;
            ascending.
    """

    bins: Bins
    block: timedelta
    blocks: tuple[tuple[datetime, Profile], ...]

    @cached_property
    def whole(self) -> Profile:
        """The profile of all blocks together."""
        return merge([Profile.empty(self.bins), *(one for _, one in self.blocks)])

    def to_arrow(self) -> pa.Table:
        """Return one row for each block and field, with the bins beside; :meth:`from_arrow` reads it back exactly."""
        empty = Profile.empty(self.bins).to_arrow().slice(0, 0)
        parts = [_with_block(empty, _EPOCH)] + [_with_block(one.to_arrow(), start) for start, one in self.blocks]
        block = str(self.block // _MICROSECOND).encode()
        metadata = {_KEY: _LAYOUT, _BINS_KEY: self.bins.to_json().encode(), _BLOCK_KEY: block}
        return pa.concat_tables(parts).combine_chunks().replace_schema_metadata(metadata)

    @classmethod
    def from_arrow(cls, table: pa.Table) -> Baseline:
        """Return the baseline that :meth:`to_arrow` came from.

        Raises:
            DataError: the table is no baseline, or one of another layout.
        """
        check_layout(table, _KEY, _LAYOUT)
        metadata = table.schema.metadata
        bins = Bins.from_json(metadata[_BINS_KEY])
        block = int(metadata[_BLOCK_KEY]) * _MICROSECOND
        width = len(bins.features)
        starts = table.column("block").to_pylist()[:: width or 1]
        blocks = [
            (start.astimezone(UTC), Profile.from_rows(table.slice(position * width, width), bins))
            for position, start in enumerate(starts)
        ]
        return cls(bins, block, tuple(blocks))


def fit_baseline(
    table: pa.Table,
    fields: Sequence[Field],
    *,
    time_column: str = "event_timestamp",
    block: timedelta = timedelta(days=1),
) -> Baseline:
    """Return the baseline of a training set.

    Args:
        table: the training rows; has a column for each field, and the time of each row.
        fields: what to watch.
        time_column: a column of timestamps with a zone, none of them null.
        block: rows of one block may depend on each other; blocks are what is compared to learn how much. A day suits
            what people and weather do. It should be long enough that two neighbouring blocks say different things.

    Raises:
        DataError: the table has no rows, or a block has no length.
        SchemaError: a column is missing or cannot be read as the field's type.
        TimestampError: a time is null or names no zone.
    """
    length = block // _MICROSECOND
    if length <= 0:
        raise DataError(f"A block of the baseline lasts {block!r}.", hint="It lasts a microsecond or more.")
    if not table.num_rows:
        raise DataError("The baseline has no rows.", hint="Fit it on a training set that has some.")
    bins = fit_bins(table, fields)
    numbers = _times(table, time_column) // length
    order = np.argsort(numbers, kind="stable")
    found, first = np.unique(numbers[order], return_index=True)
    rows = table.select(list(bins.names)).take(pa.array(order))
    ends = [*first[1:].tolist(), table.num_rows]
    slices = [rows.slice(start, end - start) for start, end in zip(first.tolist(), ends, strict=True)]
    profiles = [profile(part, bins) for part in slices]
    if len(found) > 1:
        block_of_row = np.repeat(np.arange(len(found)), np.diff([*first, table.num_rows]))
        for one in bins.features:
            if one.kind == "categorical" and one.complete:
                moved = _seen_in_one_block(column_of(rows, one.name, one.dtype), block_of_row, one, len(found))
                profiles = [replace(part, counts=_add(part, one.name, moved[at])) for at, part in enumerate(profiles)]
    starts = [_EPOCH + int(number) * block for number in found]
    return Baseline(bins, block, tuple(zip(starts, profiles, strict=True)))


def _times(table: pa.Table, name: str) -> NDArray[np.int64]:
    if name not in table.schema.names:
        raise SchemaError(f'The baseline has no column "{name}".', hint="It holds the time of each row.")
    column = table.column(name)
    if not pa.types.is_timestamp(column.type) or column.type.tz is None:
        raise TimestampError(
            f'Column "{name}" of the baseline is {column.type}.', hint="It holds timestamps with a zone."
        )
    if column.null_count:
        raise TimestampError(
            f'Column "{name}" of the baseline is null in {column.null_count} rows.', hint="Every row has a time."
        )
    times: NDArray[np.int64] = column.cast(pa.timestamp("us", "UTC"), safe=False).cast(pa.int64()).to_numpy()
    return times


def _seen_in_one_block(
    column: pa.ChunkedArray, block_of_row: NDArray[np.int64], one: FeatureBins, blocks: int
) -> NDArray[np.int64]:
    """Return, for each block and cell, the change of counts that makes values known to one block only unseen."""
    rows = pa.table({"value": texts_of(column), "block": pa.array(block_of_row)})
    rows = rows.filter(pc.is_valid(rows.column("value")))
    by_block = rows.group_by(["value", "block"]).aggregate([([], "count_all")])
    alone = by_block.group_by("value").aggregate([("block", "count"), ("block", "max"), ("count_all", "max")])
    alone = alone.filter(pc.equal(alone.column("block_count"), 1))
    top = len(one.categories)
    cell = pc.index_in(alone.column("value"), value_set=pa.array(one.categories, pa.string()))
    cells = pc.fill_null(cell, top).to_numpy()
    counts = alone.column("count_all_max").to_numpy()
    block = alone.column("block_max").to_numpy()
    moved = np.zeros((blocks, one.cells), np.int64)
    np.subtract.at(moved, (block, cells), counts)
    np.add.at(moved, (block, top + 1), counts)
    return moved


def _add(part: Profile, name: str, moved: NDArray[np.int64]) -> NDArray[np.int64]:
    counts = part.counts.copy()
    counts[part.bins.slices[name]] += moved
    return counts


def _with_block(table: pa.Table, start: datetime) -> pa.Table:
    column = pa.array([start] * table.num_rows, pa.timestamp("us", "UTC"))
    return table.replace_schema_metadata(None).add_column(0, "block", column)
