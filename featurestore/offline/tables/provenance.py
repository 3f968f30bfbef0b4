"""Which load each row of a carried load came from originally, and when it came to be known.

A load that brings rows of an older version says both in its commit, by the number of the first row from which they
hold. By the one, no row reaches a table twice, however many versions it went through; by the other, ``as_of`` and
``known_at`` see of the new version's table what they saw of the old one's.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import pyarrow as pa
import pyarrow.compute as pc

from featurestore.offline.tables.arrivals import Run
from featurestore.offline.tables.carry_over import PREFIX, STRETCH
from featurestore.offline.tables.delta_log import read_commit
from featurestore.offline.tables.table import OfflineTable
from featurestore.registry.records import Load


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Rows of a load that came from one load originally.

    Attributes:
        load: the load whose rows they are.
        first: the number of the first row.
        rows: how many rows the load published of it; 0 where checks let none pass.
        load_id: the load from which they came: of rows from outside, the load itself.
    """

    load: Load
    first: int
    rows: int
    load_id: str


@dataclass(frozen=True, kw_only=True)
class Origins:
    """From where the rows of a load came.

    Attributes:
        load: the load.
        parts: its rows, in their order; those of a load from outside, or of one that does not say, are one part.
        traced: whether it says so; what an earlier release carried over does not.
        counted_in: the loads that count as loaded with it.
    """

    load: Load
    parts: tuple[Origin, ...]
    traced: bool = False
    counted_in: frozenset[str] = frozenset()


def origins(table: OfflineTable, loads: Iterable[Load]) -> list[Origins]:
    """Return from where the rows of each load came.

    Raises:
        OfflineStoreError: the table's log cannot be read.
    """
    return [_origins(table, load) for load in loads]


def _origins(table: OfflineTable, load: Load) -> Origins:
    commit = read_commit(table.path, load.table_version) if load.load_id.startswith(PREFIX) else None
    said = None if commit is None else commit.load
    known = [(0, load.load_id)] if said is None or not said.origins else said.origins
    ends = [*(first for first, _ in known[1:]), load.rows_written]
    return Origins(
        load=load,
        parts=tuple(
            Origin(load=load, first=first, rows=end - first, load_id=load_id)
            for (first, load_id), end in zip(known, ends, strict=True)
        ),
        traced=said is not None and bool(said.origins),
        counted_in=frozenset(() if said is None else said.carried),
    )


@dataclass(frozen=True, kw_only=True)
class Stretch:
    """Rows of a load that have one origin and one instant.

    Attributes:
        load: the load.
        first: the number of the first row for which this holds; it does up to the load's next stretch.
        at: when they came to be known, in microseconds since 1970.
        origin: the load from which they came originally; empty if they are not carried over.
    """

    load: Load
    first: int
    at: int
    origin: str


def stretches(runs: Iterable[Run], found: Iterable[Origins], wanted: Collection[Origin]) -> list[Stretch]:
    """Return the rows of loads parted by both, in their order.

    Args:
        runs: when the rows of the loads came to be known.
        found: from where they came, all of them.
        wanted: those that are carried over.
    """
    taken = {(one.load.order, one.first, one.load_id) for one in wanted}
    instants = {order: list(those) for order, those in groupby(runs, key=lambda one: one.load.order)}
    parts: list[Stretch] = []
    for one in (part for each in found for part in each.parts):
        origin = one.load_id if (one.load.order, one.first, one.load_id) in taken else ""
        known = instants[one.load.order]
        before = [run for run in known if run.first <= one.first][-1]
        within = [run for run in known if one.first < run.first < one.first + one.rows]
        parts += [
            Stretch(load=one.load, first=max(run.first, one.first), at=run.at, origin=origin)
            for run in (before, *within)
        ]
    return parts


class Provenance:
    """Takes the column :data:`STRETCH` from rows that are loaded, and notes what it says of those that are published.

    Args:
        parts: what its numbers mean; the rows come in this order.
    """

    def __init__(self, parts: Sequence[Stretch]) -> None:
        self._parts = parts
        self._firsts: dict[int, int] = {}
        self._at = 0

    def rest(self, schema: pa.Schema) -> pa.Schema:
        """Return the other columns."""
        return schema.remove(schema.get_field_index(STRETCH))

    def parted(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Yield the rows without the column, in batches of one stretch each."""
        for batch in batches:
            runs = pc.run_end_encode(batch.column(STRETCH))
            rest = batch.drop_columns([STRETCH])
            start = 0
            for end, number in zip(runs.run_ends.to_pylist(), runs.values.to_pylist(), strict=True):
                self._at = number
                yield rest.slice(start, end - start)
                start = end

    def note(self, first: int) -> None:
        """Say that rows of the batch yielded last are published, from that number on."""
        self._firsts.setdefault(self._at, first)

    def arrivals(self) -> list[tuple[int, int]]:
        """Return the number of the first row and the instant from when on it and those after it were known."""
        runs: list[tuple[int, int]] = []
        for number, first in sorted(self._firsts.items()):
            at = self._parts[number].at
            if not runs or runs[-1][1] != at:
                runs.append((first, at))
        return runs

    def origins(self, rows: int) -> list[tuple[int, str]]:
        """Return the number of the first row and the load from which it and those after it came originally.

        A load is named even if no row of it was published: it was brought, and nothing of it passed.

        Args:
            rows: how many were published.
        """
        runs: list[tuple[int, str]] = []
        first = rows
        for number in range(len(self._parts) - 1, -1, -1):
            first, origin = self._firsts.get(number, first), self._parts[number].origin
            if not origin:
                continue
            if runs and runs[-1][1] == origin:
                runs.pop()
            runs.append((first, origin))
        return runs[::-1]
