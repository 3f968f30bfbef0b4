"""Rows, or profiles of them -> a baseline."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import groupby

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from featurestore.definitions import Field
from featurestore.errors import DataError, SchemaError
from featurestore.profiles.baseline import Baseline
from featurestore.profiles.bins import Bins, FeatureBins, column_of, fit_bins, texts_of
from featurestore.profiles.counting import pieces, place
from featurestore.profiles.rereading import Opener, RereadRows, held_at_once
from featurestore.profiles.rhythms import Rhythm, find_rhythm
from featurestore.profiles.summary import Profile, merge, profile, source_type

#: Weights are kept as whole units of the largest: this many of them. Whole numbers up to it are kept as they are.
UNITS = 1 << 20
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_HOUR = timedelta(hours=1) // _MICROSECOND


def fit_baseline(
    rows: pa.Table | Opener,
    fields: Sequence[Field],
    *,
    time_column: str = "event_timestamp",
    block: timedelta = timedelta(days=1),
    weight: str | None = None,
    filter: pa.Array | pa.ChunkedArray | pc.Expression | None = None,  # noqa: A002 -- as Arrow calls it
    bins: Bins | None = None,
) -> Baseline:
    """Return the baseline of a training set, or of the rows of a time of serving.

    A callable may stand for more rows than memory holds: it is called once for the times (and weights), once for as
    many fields as go into 256 MB, whose columns are held while their quantiles are found, and once for all together.

    Args:
        rows: the training rows; has a column for each field, and the time of each row. Or what opens a stream of them.
        fields: what to watch.
        time_column: a column of timestamps with a zone, none of them null.
        block: rows of one block may depend on each other; blocks are what is compared to learn how much. A day suits
            what people and weather do. It should be long enough that two neighbouring blocks say different things.
        weight: a column of non-negative numbers: how many rows of the traffic each row stands for, such as the inverse
            of the chance that it was kept. Rows of weight 0 do not count.
        filter: which rows count: a mask as long as a table, or an expression over the columns.
        bins: cells that are frozen already, such as those of an older baseline, whose profiles can then go on being
            compared; cut from the rows when None. Weights do not move cuts, only what falls between them.

    Raises:
        DataError: no row is left, a block has no length, or a weight is negative, null or no number.
        SchemaError: a column is missing or cannot be read as the field's type, or ``bins`` are of other fields.
        TimestampError: a time is null or names no zone.
    """
    length = block // _MICROSECOND
    if length <= 0:
        raise DataError(f"A block of the baseline lasts {block!r}.", hint="It lasts a microsecond or more.")
    if bins is not None and bins.columns != tuple(one.name for one in fields):
        raise SchemaError(
            "The bins are of other fields.", hint="Give those of a baseline of the same fields, in order."
        )
    source = RereadRows(rows, time_column, weight, filter)
    grid = _survey(source, length)
    if bins is None:
        made = [fit_bins(source.whole([one.name for one in some]), some) for some in held_at_once(fields, grid.rows)]
        bins = Bins(tuple(one for part in made for one in part.features))
    fit = _Fit(bins, grid)
    for part in source.parts(list(bins.columns)):
        fit.add(part, source.times(part), source.weights(part), length)
    return fit.baseline(block)


def baseline_of_profiles(
    parts: Iterable[tuple[datetime, Profile]], *, block: timedelta = timedelta(days=1)
) -> Baseline:
    """Return the baseline of a time of which only profiles are kept, such as the windows of a monitor.

    Rhythms are found if the profiles are of an hour or less each. Values of categorical fields that the bins do not
    know stay unseen, whatever number of blocks has them.

    Args:
        parts: the start of each window, and its profile.
        block: as for :func:`fit_baseline`; a window belongs to the block that it starts in.

    Raises:
        DataError: there is no row, or profiles are over different bins.
    """
    given = sorted(((start, one) for start, one in parts if one.rows), key=lambda part: part[0])
    if not given:
        raise DataError("The baseline has no rows.", hint="Give profiles of windows that have some.")
    bins, length = given[0][1].bins, block // _MICROSECOND
    times = np.array([(start - _EPOCH) // _MICROSECOND for start, _ in given], np.int64)
    numbers = times // length
    blocks = [
        (_EPOCH + int(number) * block, merge(given[at][1] for at in np.flatnonzero(numbers == number)))
        for number in np.unique(numbers)
    ]
    # Of longer windows the hour is not known: those of a day all start at midnight, and none is covered.
    hours, at = np.unique(times // _HOUR, return_inverse=True)
    rhythms = {}
    for one in bins.features:
        coarse = np.array([one.readable(part.cells(one.name)) for _, part in given])
        counts = np.zeros((len(hours), coarse.shape[1]), np.int64)
        np.add.at(counts, at, coarse)
        rhythm = _rhythm(one, counts, hours, length, scale=1.0)
        if rhythm is not None:
            rhythms[one.name] = rhythm
    return Baseline(bins, block, tuple(blocks), rhythms=rhythms)


@dataclass(frozen=True)
class _Grid:
    """Hours and blocks that have rows, the largest weight and how many units it is, and Kish's sizes."""

    hours: NDArray[np.int64]
    blocks: NDArray[np.int64]
    largest: float
    parts: float
    worths: tuple[float, ...]
    rows: int


def _survey(source: RereadRows, length: int) -> _Grid:
    hours: set[int] = set()
    sums: dict[int, list[float]] = defaultdict(lambda: [0.0, 0.0])
    rows, largest, whole = 0, 0.0, True
    for part in source.parts([]):
        times, weights = source.times(part), source.weights(part)
        rows += len(times)
        hours.update(np.unique(times // _HOUR).tolist())
        numbers, at = np.unique(times // length, return_inverse=True)
        if weights is not None and len(weights):
            largest = max(largest, float(weights.max()))
            whole = whole and bool(np.all(weights == np.floor(weights)))
        each = np.ones(len(times)) if weights is None else weights
        for number, total, square in zip(
            numbers.tolist(), np.bincount(at, each).tolist(), np.bincount(at, np.square(each)).tolist(), strict=True
        ):
            sums[number][0] += total
            sums[number][1] += square
    if not rows:
        raise DataError("The baseline has no rows.", hint="Fit it on a training set that has some.")
    blocks = np.array(sorted(sums), np.int64)
    worths: tuple[float, ...] = ()
    if source.weight is not None:
        # Squares of the least weights are 0 to a float; a block has one row at least.
        worths = tuple(
            max(1.0, total**2 / square) if square > 0 else 1.0
            for total, square in (sums[number] for number in blocks.tolist())
        )
    parts = largest if whole and largest <= UNITS else UNITS
    return _Grid(np.array(sorted(hours), np.int64), blocks, largest, parts, worths, rows)


class _Fit:
    """Adds rows up: a profile for each block, counts for each hour, and which values one block alone has."""

    def __init__(self, bins: Bins, grid: _Grid) -> None:
        self.bins, self.grid = bins, grid
        self.profiles: list[list[Profile]] = [[] for _ in grid.blocks]
        self.by_hour = {one.name: np.zeros((len(grid.hours), len(one.labels)), np.int64) for one in bins.features}
        self.alone = {one.name: _Alone(one) for one in bins.features if one.kind == "categorical" and one.complete}

    def add(self, rows: pa.Table, times: NDArray[np.int64], weights: NDArray[np.float64] | None, length: int) -> None:
        grid = self.grid
        units = np.ones(len(times), np.int64)
        if weights is not None:
            units = np.maximum(1, np.rint(weights / grid.largest * grid.parts)).astype(np.int64)
        block = np.searchsorted(grid.blocks, times // length)
        order = np.argsort(block, kind="stable")
        rows, block, units = rows.select(list(self.bins.columns)).take(pa.array(order)), block[order], units[order]
        hour = np.searchsorted(grid.hours, times[order] // _HOUR)
        found, first = np.unique(block, return_index=True)
        for number, start, end in zip(found.tolist(), first.tolist(), [*first[1:].tolist(), len(block)], strict=True):
            part = rows.slice(start, end - start)
            self.profiles[number].append(_weighted_profile(part, units[start:end], self.bins))
            if len(self.profiles[number]) > 1:
                self.profiles[number] = [merge(self.profiles[number])]
        for name, group in groupby(self.bins.features, lambda one: one.column):
            features = list(group)
            column = column_of(rows, name, source_type(features[0]))
            for one, cells in zip(features, _coarse_cells(features, column), strict=True):
                counts = self.by_hour[one.name]
                np.add.at(counts.reshape(-1), hour * counts.shape[1] + cells, units)
            if name in self.alone:
                self.alone[name].add(column, block, units)

    def baseline(self, block: timedelta) -> Baseline:
        length = block // _MICROSECOND
        profiles = [merge(parts) for parts in self.profiles]
        scale = 1.0
        if self.grid.worths:
            totals = np.array([one.rows for one in profiles], np.float64)
            scale = float(sum(self.grid.worths) / totals.sum())
        if len(profiles) > 1:
            for name, alone in self.alone.items():
                moved = alone.moved(len(profiles))
                profiles = [_add(part, name, moved[at]) for at, part in enumerate(profiles)]
        rhythms = {}
        for one in self.bins.features:
            rhythm = _rhythm(one, self.by_hour[one.name], self.grid.hours, length, scale=scale)
            if rhythm is not None:
                rhythms[one.name] = rhythm
        starts = [_EPOCH + int(number) * block for number in self.grid.blocks]
        weighted = self.grid.rows if self.grid.worths else None
        blocks = tuple(zip(starts, profiles, strict=True))
        return Baseline(self.bins, block, blocks, self.grid.worths, weighted, rhythms)


class _Alone:
    """Which values of a categorical field one block alone has."""

    def __init__(self, one: FeatureBins) -> None:
        self.one = one
        self.seen: dict[str, tuple[int, int]] = {}  # value -> block, units; block -1 where there are several

    def add(self, column: pa.Array | pa.ChunkedArray, block: NDArray[np.int64], units: NDArray[np.int64]) -> None:
        rows = pa.table({"value": texts_of(column), "block": pa.array(block), "units": pa.array(units)})
        rows = rows.filter(pc.is_valid(rows.column("value")))
        grouped = rows.group_by(["value", "block"]).aggregate([("units", "sum")])
        values, blocks, sums = (grouped.column(name).to_pylist() for name in ("value", "block", "units_sum"))
        for value, number, count in zip(values, blocks, sums, strict=True):
            other, before = self.seen.get(value, (number, 0))
            self.seen[value] = (number if number == other else -1, before + count)

    def moved(self, blocks: int) -> NDArray[np.int64]:
        """Return, for each block and cell, the change of counts that makes such values unseen."""
        top = len(self.one.categories)
        cell = {value: position for position, value in enumerate(self.one.categories)}
        known = {*cell, *self.one.others}
        moved = np.zeros((blocks, self.one.cells), np.int64)
        for value, (number, count) in self.seen.items():
            if number >= 0 and value in known:
                moved[number, cell.get(value, top)] -= count
                moved[number, top + 1] += count
        return moved


def _add(part: Profile, name: str, moved: NDArray[np.int64]) -> Profile:
    counts = part.counts.copy()
    counts[part.bins.slices[name]] += moved
    return replace(part, counts=counts)


def _weighted_profile(rows: pa.Table, units: NDArray[np.int64], bins: Bins) -> Profile:
    """Return the profile of rows of which each counts so many times.

    Whole numbers are sums of powers of two, so it is a sum of a few plain profiles.
    """
    if np.all(units == 1):
        return profile(rows, bins)
    parts = []
    for bit in range(int(units.max()).bit_length()):
        chosen = (units >> bit) & 1 == 1
        if chosen.any():
            parts.append(_times(profile(rows.filter(pa.array(chosen)), bins), 1 << bit))
    return merge(parts)


def _times(part: Profile, number: int) -> Profile:
    return replace(
        part,
        rows=part.rows * number,
        counts=part.counts * number,
        infinite=part.infinite * number,
        absent=part.absent * number,
        mistyped=part.mistyped * number,
        finite=part.finite * number,
        squares=part.squares * number,
    )


def _coarse_cells(features: Sequence[FeatureBins], column: pa.Array | pa.ChunkedArray) -> list[NDArray[np.int64]]:
    """Return, for each feature of a column, the cell of each row among those that readable counts have."""
    coarse = [_coarse(one) for one in features]
    parts = [
        [cells[placed.cells] for cells, placed in zip(coarse, place(features, piece), strict=True)]
        for piece in pieces(column)
    ]
    return [np.concatenate([np.zeros(0, np.int64), *found]) for found in zip(*parts, strict=True)]


def _coarse(one: FeatureBins) -> NDArray[np.int64]:
    """Return, for each cell, the one that :meth:`FeatureBins.readable` merges it into."""
    cells = np.arange(one.cells)
    if one.kind != "numeric":
        return cells
    values = np.searchsorted(np.array([0, *(event + 1 for event in one.events)]), cells[: one.values], side="right") - 1
    return np.concatenate([values, len(one.labels) - 2 + np.arange(2)])


def _rhythm(
    one: FeatureBins, counts: NDArray[np.int64], hours: NDArray[np.int64], length: int, *, scale: float
) -> Rhythm | None:
    rows = counts.sum(axis=1) > 0
    values = counts.shape[1] - (2 if one.kind == "numeric" else 1)
    return find_rhythm(
        counts[rows],
        hours[rows],
        np.unique(hours[rows] * _HOUR // length, return_inverse=True)[1],
        values=values,
        ordered=one.kind == "numeric",
        scale=scale,
    )
