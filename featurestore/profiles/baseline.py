"""The baseline: what training data looked like, block by block, so that its own unsteadiness is known."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property

import numpy as np
import pyarrow as pa

from featurestore.errors import DataError
from featurestore.profiles import summary
from featurestore.profiles.bins import Bins
from featurestore.profiles.rhythms import Rhythm
from featurestore.profiles.summary import Profile, check_layout, merge

_LAYOUT = b"2"
#: Without weights and rhythms.
_FIRST_LAYOUT = b"1"
_KEY = b"featurestore.baseline"
_BINS_KEY = b"featurestore.bins"
_BLOCK_KEY = b"featurestore.block_us"
_WEIGHTS_KEY = b"featurestore.weights"
_RHYTHMS_KEY = b"featurestore.rhythms"
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
            ascending. If rows have weights, a profile counts units of weight, not rows.
        worths: with weights, what each block's rows are worth in rows of equal weight (Kish's (sum w)^2 / sum w^2);
            empty without.
        weighted_rows: with weights, the rows that have some; None without.
        rhythms: by name, what those features are like in each hour that follow the hour of the day or the week.
    """

    bins: Bins
    block: timedelta
    blocks: tuple[tuple[datetime, Profile], ...]
    worths: tuple[float, ...] = ()
    weighted_rows: int | None = None
    rhythms: Mapping[str, Rhythm] = field(default_factory=dict)

    @cached_property
    def whole(self) -> Profile:
        """The profile of all blocks together."""
        return merge([Profile.empty(self.bins), *(one for _, one in self.blocks)])

    @property
    def rows(self) -> int:
        """How many rows it was fitted on."""
        return self.whole.rows if self.weighted_rows is None else self.weighted_rows

    @cached_property
    def sizes(self) -> tuple[float, ...]:
        """What the rows of each block are worth, in rows of equal weight: their number, without weights."""
        return self.worths or tuple(float(one.rows) for _, one in self.blocks)

    @cached_property
    def size(self) -> float:
        """What all rows are worth, in rows of equal weight."""
        totals = np.array([one.rows for _, one in self.blocks], np.float64)
        squares = np.divide(np.square(totals), self.sizes, out=np.zeros(len(totals)), where=totals > 0)
        return float(totals.sum() ** 2 / squares.sum()) if squares.sum() > 0 else 0.0

    def to_arrow(self) -> pa.Table:
        """Return one row for each block and field, then one for each hour of each rhythm, which has no block.

        The rest is beside, in the schema's metadata; :meth:`from_arrow` reads it all back exactly.
        """
        empty = Profile.empty(self.bins).to_arrow().slice(0, 0)
        parts = [_with_block(empty, _EPOCH)] + [_with_block(one.to_arrow(), start) for start, one in self.blocks]
        parts += [_rhythm_rows(name, one, parts[0].schema) for name, one in self.rhythms.items()]
        metadata = {
            _KEY: _LAYOUT,
            _BINS_KEY: self.bins.to_json().encode(),
            _BLOCK_KEY: str(self.block // _MICROSECOND).encode(),
            _WEIGHTS_KEY: json.dumps({"rows": self.weighted_rows, "worths": self.worths}).encode(),
            _RHYTHMS_KEY: json.dumps({name: one.to_json() for name, one in self.rhythms.items()}).encode(),
        }
        return pa.concat_tables(parts).combine_chunks().replace_schema_metadata(metadata)

    @classmethod
    def from_arrow(cls, table: pa.Table) -> Baseline:
        """Return the baseline that :meth:`to_arrow` came from.

        Raises:
            DataError: the table is no baseline, or one of another layout.
        """
        if (table.schema.metadata or {}).get(_KEY) != _FIRST_LAYOUT:
            check_layout(table, _KEY, _LAYOUT)
        metadata = table.schema.metadata
        bins = Bins.from_json(metadata[_BINS_KEY])
        block = int(metadata[_BLOCK_KEY]) * _MICROSECOND
        width = len(bins.features)
        of_blocks = table.num_rows - table.column("block").null_count
        starts = table.column("block").slice(0, of_blocks).to_pylist()[:: width or 1]
        blocks = [
            (start.astimezone(UTC), Profile.from_rows(table.slice(position * width, width), bins))
            for position, start in enumerate(starts)
        ]
        weights = json.loads(metadata.get(_WEIGHTS_KEY, b'{"rows": null, "worths": []}'))
        rhythms, position = {}, of_blocks
        for name, values in json.loads(metadata.get(_RHYTHMS_KEY, b"{}")).items():
            hours = len(values["visits"])
            counts = table.column("counts").slice(position, hours).combine_chunks().flatten().to_numpy()
            rhythms[name] = Rhythm.from_json(values, counts.reshape(hours, -1))
            position += hours
        return cls(bins, block, tuple(blocks), tuple(weights["worths"]), weights["rows"], rhythms)


def side_by_side(parts: Sequence[Baseline]) -> Baseline:
    """Return the baseline of all fields from those of a few each, over the same rows.

    Raises:
        DataError: they are not of the same blocks and weights.
    """
    first = parts[0]
    for part in parts[1:]:
        if [start for start, _ in part.blocks] != [start for start, _ in first.blocks] or part.worths != first.worths:
            raise DataError(
                "Baselines over different rows cannot stand side by side.", hint="Fit each on the same rows."
            )
    bins = Bins(tuple(one for part in parts for one in part.bins.features))
    blocks = [
        (profiles[0][0], replace(summary.side_by_side([one for _, one in profiles]), bins=bins))
        for profiles in zip(*(part.blocks for part in parts), strict=True)
    ]
    rhythms = {name: one for part in parts for name, one in part.rhythms.items()}
    return replace(first, bins=bins, blocks=tuple(blocks), rhythms=rhythms)


def _with_block(table: pa.Table, start: datetime) -> pa.Table:
    column = pa.array([start] * table.num_rows, pa.timestamp("us", "UTC"))
    return table.replace_schema_metadata(None).add_column(0, "block", column)


def _rhythm_rows(name: str, rhythm: Rhythm, schema: pa.Schema) -> pa.Table:
    hours = rhythm.phases
    columns = {
        "feature": pa.array([name] * hours, pa.string()),
        "rows": pa.array(rhythm.counts.sum(axis=1), pa.int64()),
        "counts": pa.array(list(rhythm.counts), pa.list_(pa.int64())),
    }
    return pa.table([columns.get(one.name, pa.nulls(hours, one.type)) for one in schema], schema=schema)
