"""When rows came to be known that a new version takes over from an older one: before the load that brings them.

Such a load says in its commit from which of its rows on which instant holds, so that ``as_of`` and ``known_at`` see of
the new version's table what they saw of the old one's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from featurestore.definitions.names import LOAD_ID, ROW_NUMBER
from featurestore.offline.engine import literal
from featurestore.offline.tables.carry_over import PREFIX
from featurestore.offline.tables.delta_log import read_commit
from featurestore.offline.tables.table import OfflineTable
from featurestore.registry.records import Load
from featurestore.types import microseconds

#: Rows of a load, by their numbers: the first, and the first after them; None where there is none after them.
Rows = tuple[int, int | None]


@dataclass(frozen=True, kw_only=True)
class Run:
    """Rows of a load that came to be known at one instant.

    Attributes:
        load: the load.
        first: the number of its first row for which this holds; it does up to the load's next run.
        at: when, in microseconds since 1970.
    """

    load: Load
    first: int
    at: int


def arrivals(table: OfflineTable, loads: Iterable[Load]) -> list[Run]:
    """Return when the rows of loads came to be known: as these were published, or as their commits say.

    What was taken over before commits said so counts from when it was taken over.

    Raises:
        OfflineStoreError: the table's log cannot be read.
    """
    found = []
    for load in loads:
        commit = read_commit(table.path, load.table_version) if load.load_id.startswith(PREFIX) else None
        said = () if commit is None or commit.load is None else commit.load.arrivals
        runs = said or ((0, microseconds(load.published_at)),)
        found += [Run(load=load, first=first, at=at) for first, at in runs]
    return found


def rows_until(runs: Iterable[tuple[str, int, int]], until: int) -> dict[str, list[Rows]]:
    """Return which rows of each load were known at an instant; a load without such rows is not in it.

    Args:
        runs: load id, first row and instant of each run; those of a load stand together, in the order of its rows.
        until: the instant, in microseconds since 1970.
    """
    found: dict[str, list[Rows]] = {}
    last: tuple[str, bool] | None = None
    for load_id, first, at in runs:
        known = at <= until
        if known and last != (load_id, True):
            found.setdefault(load_id, []).append((first, None))
        elif not known and last == (load_id, True):
            found[load_id][-1] = (found[load_id][-1][0], first)
        last = (load_id, known)
    return found


def whole(rows: Sequence[Rows]) -> bool:
    """Return whether these are all rows of a load."""
    return list(rows) == [(0, None)]


def among(rows: Mapping[str, Sequence[Rows]], of: str = "") -> list[str]:
    """Return conditions of which one holds for each of these rows; ``of`` stands before the names of columns."""
    complete = [literal(load_id) for load_id, ranges in rows.items() if whole(ranges)]
    return [
        *([f"{of}{LOAD_ID} IN ({', '.join(complete)})"] if complete else []),
        *(
            f"({of}{LOAD_ID} = {literal(load_id)} AND ({' OR '.join(_between(of, *each) for each in ranges)}))"
            for load_id, ranges in rows.items()
            if not whole(ranges)
        ),
    ]


def _between(of: str, first: int, after: int | None) -> str:
    number = f"{of}{ROW_NUMBER}"
    return f"{number} >= {first}" + ("" if after is None else f" AND {number} < {after}")
