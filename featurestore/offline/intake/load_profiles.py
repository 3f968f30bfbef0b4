"""What each load looked like: a thin file, with which the next loads are compared."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, cast

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from featurestore import types
from featurestore.definitions import Field
from featurestore.offline.intake.conform import extremes
from featurestore.profiles import Bins, Profile, fit_bins
from featurestore.storage import StoragePath
from featurestore.storage.places import write_whole

#: Rows that shares and distributions are taken from; a share of them is known to within 0.7 %.
SAMPLED_ROWS = 20_000
#: Rows that share a value before it is kept: no value that only a few people have gets into a profile.
_LEAST_ALIKE = 20

_LAYOUT = 1


def watched(fields: Iterable[Field]) -> tuple[Field, ...]:
    """Return the fields whose values are profiled.

    Not those of personal data, whose values stay where they are; nor instants, which move on with every load; nor
    nested ones and bytes, of which only nulls are counted.
    """
    plain = (one for one in fields if one.dtype.scalar and not one.pii)
    return tuple(one for one in plain if one.dtype not in (types.Bytes, types.Date, types.Timestamp))


@dataclass(frozen=True, kw_only=True)
class LoadProfile:
    """A load, as the next ones see it.

    Attributes:
        rows: rows that were published.
        missing: by feature, the share of nulls and NaN among all rows that came.
        values: by profiled feature, how many values the sample has.
        extremes: by numeric feature, the least and the greatest of all its values.
        beyond: by numeric feature, the share of values that lay outside of the range of the loads before.
        moved: by feature, the population stability index against the load before.
        cells: a sample of the published rows, counted in bins of this very sample, as JSON: most loads are compared by
            the numbers above alone.
    """

    rows: int
    missing: Mapping[str, float]
    values: Mapping[str, int]
    extremes: Mapping[str, tuple[float, float]]
    beyond: Mapping[str, float]
    moved: Mapping[str, float]
    cells: str

    @cached_property
    def bins(self) -> Bins:
        """The bins of the sample."""
        return Bins.from_json(json.dumps(self._cells["bins"]))

    def values_in_bins(self, feature: str) -> NDArray[np.int64]:
        """Return the sampled values of a feature in each of its readable cells, without NaN and null."""
        return value_cells(self.bins, np.array(self._cells["counts"], np.int64), feature)

    @cached_property
    def _cells(self) -> dict[str, Any]:
        return cast("dict[str, Any]", json.loads(self.cells))

    def write(self, path: StoragePath) -> None:
        """Keep it in a file; :func:`read` reads it back.

        Raises:
            OSError: the disk refuses.
        """
        said = {name: value for name, value in asdict(self).items() if name != "cells"} | {"layout": _LAYOUT}
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, f"{json.dumps(said)}\n{self.cells}\n", f".{uuid.uuid4().hex}.{os.getpid()}")


def read(path: StoragePath) -> LoadProfile | None:
    """Return the profile in a file; None if there is none, or none that this release can read."""
    try:
        said, cells = path.read_text(encoding="utf-8").splitlines()
        values = json.loads(said)
        if values.pop("layout") != _LAYOUT:
            return None
        values["extremes"] = {name: (low, high) for name, (low, high) in values["extremes"].items()}
        return LoadProfile(**values, cells=cells)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        # It is a memory of what loads looked like: without it a load is compared with fewer others.
        return None


def cells_of(sample: Profile) -> str:
    """Return a profile as :attr:`LoadProfile.cells` keeps it."""
    return f'{{"bins": {sample.bins.to_json()}, "counts": {json.dumps(sample.counts.tolist())}}}'


def value_cells(bins: Bins, counts: NDArray[np.int64], feature: str) -> NDArray[np.int64]:
    """Return the rows in each readable cell of a feature, without NaN and null; none if the bins have it not."""
    mine = next((one for one in bins.features if one.name == feature), None)
    if mine is None:
        return np.zeros(0, np.int64)
    return mine.readable(counts[bins.slices[feature]])[: -2 if mine.kind == "numeric" else -1]


class Sample:
    """Rows drawn by chance from a stream of unknown length, each with the same probability; and the extremes of all.

    Each row gets a random number, and stays while that lies under a bound, which is halved whenever too many stay. The
    numbers are the same in each run, so that a load of the same rows has the same profile.

    Args:
        fields: the columns.
        size: at least this many rows stay, of a stream that has them, and at most about twice as many.
    """

    def __init__(self, fields: Sequence[Field], *, size: int = SAMPLED_ROWS) -> None:
        self._fields = tuple(fields)
        self._size = size
        self._random = np.random.default_rng(0)
        self._bound = 1.0
        self._parts: list[tuple[NDArray[np.float64], pa.RecordBatch]] = []
        self._extremes: dict[str, tuple[float, float]] = {}

    def add(self, rows: pa.RecordBatch) -> None:
        """Take the next rows of the stream."""
        numbers = self._random.random(rows.num_rows)
        chosen = np.flatnonzero(numbers < self._bound)
        while sum(len(part) for part, _ in self._parts) + len(chosen) > 2 * self._size:
            self._bound /= 2
            self._parts = [
                (part[part < self._bound], kept.filter(pa.array(part < self._bound))) for part, kept in self._parts
            ]
            chosen = np.flatnonzero(numbers < self._bound)
        if len(chosen):
            drawn = pa.RecordBatch.from_pydict({one.name: rows.column(one.name) for one in self._fields})
            self._parts.append((numbers[chosen], drawn.take(pa.array(chosen))))
        for one in self._fields:
            if one.dtype.numeric:
                self._look_at(one.name, rows.column(one.name))

    def _look_at(self, name: str, column: pa.Array) -> None:
        low, high, _ = extremes(column)
        if low is not None:
            known = self._extremes.get(name, (float(low), float(high)))
            self._extremes[name] = (min(float(low), known[0]), max(float(high), known[1]))

    @property
    def extremes(self) -> dict[str, tuple[float, float]]:
        """By numeric field, the least and the greatest of all values but NaN."""
        return dict(self._extremes)

    def table(self) -> pa.Table:
        """Return the rows that stayed, in their order."""
        schema = pa.schema([(one.name, one.dtype.to_arrow()) for one in self._fields])
        return pa.Table.from_batches([kept for _, kept in self._parts], schema)

    def bins(self) -> Bins:
        """Return cells of about equal shares of them."""
        return fit_bins(self.table(), self._fields, least=_LEAST_ALIKE)
