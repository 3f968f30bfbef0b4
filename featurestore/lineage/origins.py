"""Where columns come from, step by step through a query: origins, and rows with columns that have them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from featurestore.lineage.graph import HOW, ROWS


class Origin(NamedTuple):
    """A column of a table; the table as a whole where ``column`` is empty. ``how`` is one of :data:`HOW`."""

    table: str
    column: str
    how: str


Origins = frozenset[Origin]
NONE: Origins = frozenset()


@dataclass
class Relation:
    """Rows with columns, on the way through a query.

    Attributes:
        named: the columns that are named, in order; by lower-case name.
        rest: gives the origins of any other column; None where there is no other.
        rows: what decides which rows there are.
        tables: the tables that it reads.
    """

    named: dict[str, Origins] = field(default_factory=dict)
    rest: Callable[[str], Origins] | None = None
    rows: Origins = NONE
    tables: frozenset[str] = frozenset()

    def column(self, name: str) -> Origins:
        """Return the origins of a column, whose name is the same in upper and lower case."""
        found = self.named.get(name.casefold())
        if found is not None:
            return found
        return self.rest(name.casefold()) if self.rest is not None else self.somewhere

    @property
    def somewhere(self) -> Origins:
        """The origins of a column of which nothing better is known."""
        return whole(self.tables, "unresolved")

    @property
    def everything(self) -> Origins:
        """All that it is made from: what a subquery's value, or a test for its rows, hangs on."""
        found = self.rows.union(*self.named.values())
        return found if found and self.rest is None else found | whole(self.tables, "transformation")


def tables_of(relations: Iterable[Relation]) -> frozenset[str]:
    """Return the tables that any of them reads."""
    return frozenset().union(*(one.tables for one in relations))


def whole(tables: Iterable[str], how: str) -> Origins:
    """Return tables, each as a whole, as origins."""
    return frozenset(Origin(table, "", how) for table in tables)


def through(how: str, origins: Origins, *, keep: bool = True) -> Origins:
    """Return the origins of what is made from something in one more step.

    Args:
        how: what the step does.
        origins: those of what it takes.
        keep: whether what decided over the rows of that does no more than this.
    """
    if how in ROWS:
        return frozenset(one._replace(how=how) for one in origins)

    def step(one: Origin) -> Origin:
        if one.how in ROWS:
            return one if keep else one._replace(how=how)
        return one._replace(how=max(one.how, how, key=HOW.index))

    return frozenset(step(one) for one in origins)
