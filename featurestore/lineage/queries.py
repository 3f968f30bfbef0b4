"""Which columns of its sources each column of a query comes from, by its text.

The text is read as DuckDB's SQL. What it does not tell (which table has a column that is named without one, what a star
stands for) is asked of the files where they are there. What stays open is not guessed: the column then comes from
somewhere in each table that it may come from.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError
from sqlglot.optimizer.qualify import qualify
from sqlglot.optimizer.scope import Scope, build_scope

from featurestore.definitions import SqlSource
from featurestore.lineage.graph import ROWS
from featurestore.lineage.origins import NONE, Origin, Origins, Relation, tables_of, through, whole

#: Returns the columns of a declared source, or None where they are not known.
Columns = Callable[[str], "tuple[str, ...] | None"]

#: What a part of a SELECT does to its rows; any other part chooses among them.
_PARTS = {"group": "group_by", "distinct": "group_by", "order": "sort"}

#: Parts that are no conditions: what is selected, from where, and names for windows.
_NO_CONDITIONS = frozenset({"expressions", "from", "from_", "joins", "laterals", "with", "with_", "windows", "hint"})


@dataclass(frozen=True)
class QueryLineage:
    """What a query's result is made from.

    Attributes:
        columns: the origins of each column that was asked for.
        rows: what decides which rows there are.
    """

    columns: Mapping[str, Origins]
    rows: Origins


def query_lineage(source: SqlSource, wanted: Iterable[str], columns: Columns) -> QueryLineage:
    """Return where the columns of a query come from.

    Args:
        source: the query and its sources.
        wanted: the columns of its result.
        columns: tells the columns of a source; asked only if the text alone leaves something open.
    """
    names = list(wanted)
    read, certain = _tried(source, {})
    if not certain or any(one.how == "unresolved" for name in names for one in read.column(name)):
        known = {one.name: found for one in source.sources if (found := columns(one.name)) is not None}
        read, _ = _tried(source, known) if known else (read, certain)
    return QueryLineage({name: read.column(name) for name in names}, read.rows)


def _tried(source: SqlSource, known: Mapping[str, tuple[str, ...]]) -> tuple[Relation, bool]:
    try:
        return _read(source, known)
    except (SqlglotError, RecursionError, _BeyondUsError):
        tables = frozenset(one.name for one in source.sources)
        return Relation(rows=whole(tables, "unresolved"), tables=tables), False


class _BeyondUsError(Exception):
    """A query that cannot be followed column by column."""


def _read(source: SqlSource, known: Mapping[str, tuple[str, ...]]) -> tuple[Relation, bool]:
    tree = sqlglot.parse_one(source.query, read="duckdb")
    recursive = any(one.args.get("recursive") for one in tree.find_all(exp.With))
    if not isinstance(tree, exp.Query) or recursive or tree.find(exp.Pivot):
        raise _BeyondUsError
    spelled = {one.name.casefold(): str(one.name) for one in tree.find_all(exp.Identifier)}
    spelled |= {name.casefold(): name for found in known.values() for name in found}
    logger = logging.getLogger("sqlglot")
    level = logger.level
    logger.setLevel(logging.CRITICAL)  # it warns of what it does not know, which is our affair
    try:
        qualified = qualify(
            tree,
            dialect="duckdb",
            schema={table: dict.fromkeys(found, "VARCHAR") for table, found in known.items()},
            validate_qualify_columns=False,
            quote_identifiers=False,
            identify=False,
        )
        scope = build_scope(qualified)
    finally:
        logger.setLevel(level)
    if scope is None:
        raise _BeyondUsError
    reader = _Reader({one.name.casefold(): one.name for one in source.sources}, spelled, known)
    return reader.relation(scope), reader.certain


class _Reader:
    """Follows the columns of one query.

    Attributes:
        certain: whether nothing was met yet that the files' columns could settle.
    """

    def __init__(
        self, declared: Mapping[str, str], spelled: Mapping[str, str], known: Mapping[str, tuple[str, ...]]
    ) -> None:
        self.certain = True
        self._declared = declared
        self._spelled = spelled
        self._known = {table: [name.casefold() for name in found] for table, found in known.items()}
        self._relations: dict[int, Relation] = {}

    def relation(self, scope: Scope) -> Relation:
        if id(scope) not in self._relations:
            self._relations[id(scope)] = self._relation(scope)
        return self._relations[id(scope)]

    def _relation(self, scope: Scope) -> Relation:
        if isinstance(scope.expression, exp.SetOperation):
            return self._set_operation(scope)
        if isinstance(scope.expression, exp.Select):
            return _Select(self, scope).relation()
        return self._rows_of_values(scope, scope.expression)

    def source(self, scope: Scope, source: Any) -> Relation:
        """Return what a name in FROM stands for."""
        if isinstance(source, Scope):
            return self.relation(source)
        if not isinstance(source.this, exp.Identifier):
            return self._rows_of_values(scope, source)
        table = self._declared.get(source.name.casefold())
        if table is None:
            raise _BeyondUsError
        alone = frozenset({table})
        if source.alias_column_names:
            return Relation(rest=lambda _: whole(alone, "unresolved"), tables=alone)

        def column(name: str) -> Origins:
            return frozenset({Origin(table, self._spelled.get(name, name), "identity")})

        if table in self._known:
            return Relation(named={name: column(name) for name in self._known[table]}, tables=alone)
        return Relation(rest=column, tables=alone)

    def _rows_of_values(self, scope: Scope, node: exp.Expr) -> Relation:
        """Return the rows that a function or a list of values makes: all of them from all that it names."""
        read = _Select(self, scope)
        origins = read.origins(node, "transformation")
        tables = frozenset(one.table for one in origins)
        return Relation(rest=lambda _: origins, rows=through("join", origins), tables=tables)

    def _set_operation(self, scope: Scope) -> Relation:
        node = scope.expression
        left, right = (self.relation(one) for one in scope.set_operation_scopes)
        tables = left.tables | right.tables
        both = Relation(rows=left.rows | right.rows, tables=tables)
        if left.rest is not None or right.rest is not None:
            self.certain = False
            both.rest = lambda _: both.somewhere
        elif node.args.get("by_name"):
            both.named = {
                name: left.named.get(name, NONE) | right.named.get(name, NONE) for name in left.named | right.named
            }
        elif len(left.named) != len(right.named):
            raise _BeyondUsError
        else:
            pairs = zip(left.named.items(), right.named.values(), strict=True)
            both.named = {name: one | other for (name, one), other in pairs}
        if not isinstance(node, exp.Union):
            both.rows |= through("filter", left.everything | right.everything)
        elif node.args.get("distinct"):
            both.rows |= through("group_by", left.everything | right.everything)
        if node.args.get("order") or node.args.get("limit"):
            both.rows |= through("sort", both.everything)
        return both


class _Select:
    """One SELECT, or one source that computes its rows, read part by part."""

    def __init__(self, reader: _Reader, scope: Scope) -> None:
        self._reader = reader
        self._scope = scope
        self._node = scope.expression
        self._inner = {id(one.expression): one for one in scope.subquery_scopes}
        self._named: dict[str, Origins] = {}

    @cached_property
    def _selected(self) -> dict[str, Relation]:
        found = self._scope.selected_sources.items()
        return {name: self._reader.source(self._scope, source) for name, (_, source) in found}

    @cached_property
    def _tables(self) -> frozenset[str]:
        return tables_of(self._selected.values())

    def relation(self) -> Relation:
        """Return what the SELECT gives."""
        stars: list[Relation] = []
        for projection in self._node.expressions:
            if projection.is_star:
                stars += self._star(projection)
            elif projection.find(exp.Columns):
                stars.append(self._unknown(self._tables))
            else:
                self._named[projection.alias_or_name.casefold()] = self._projection(projection)
        for one in stars:
            self._named = one.named | self._named
        open_ended = [one for one in stars if one.rest is not None]
        read = Relation(named=self._named, rows=self._rows(), tables=self._tables)
        if len(open_ended) == 1:
            read.rest = open_ended[0].rest
        elif open_ended:
            read.rest = self._unknown(tables_of(open_ended)).rest
        return read

    def origins(self, node: exp.Expr, how: str, windowed: frozenset[int] = frozenset()) -> Origins:
        """Return what the value of an expression hangs on; columns of window definitions have their ids given."""
        found: set[Origin] = set()
        bound = {str(one.expression.name) for one in node.find_all(exp.Comprehension)}
        for part in node.walk(prune=lambda one: isinstance(one, (exp.Query, exp.Column))):
            if isinstance(part, exp.Column) and not (part.name in bound and not part.table):
                found |= through("window" if id(part) in windowed else how, self._column(part))
            elif isinstance(part, exp.TableColumn):  # the row as a whole
                row = self._visible(part.name)
                found |= whole(self._tables if row is None else row.tables, how)
            elif isinstance(part, exp.Query):
                inner = self._inner.get(id(part.unnest()))
                if inner is None:
                    raise _BeyondUsError
                found |= through(how, self._reader.relation(inner).everything, keep=False)
        return frozenset(found)

    def _star(self, projection: exp.Expr) -> list[Relation]:
        star = projection if isinstance(projection, exp.Star) else projection.this
        if star.args.get("replace") or star.args.get("rename"):
            return [self._unknown(self._tables)]
        table = projection.args.get("table")
        if table is None:
            return list(self._selected.values())
        if table.name not in self._selected:
            raise _BeyondUsError
        return [self._selected[table.name]]

    def _projection(self, projection: exp.Expr) -> Origins:
        value = projection.unalias()
        if isinstance(value, exp.Column):
            return self.origins(value, "identity")
        windows = list(value.find_all(exp.Window))
        clauses = [one for window in windows for one in _clauses(window)]
        named = [one for window in self._node.args.get("windows") or () for one in _clauses(window)] if windows else []
        windowed = frozenset(id(column) for one in clauses for column in one.find_all(exp.Column))
        aggregate = _aggregates(value)
        found = self.origins(value, "aggregation" if aggregate else "transformation", windowed)
        if (aggregate or windows) and ROWS.issuperset(one.how for one in found):  # count(*)
            found |= whole(self._tables, "aggregation")
        return found.union(*(self.origins(one, "window") for one in named))

    def _rows(self) -> Origins:
        found: set[Origin] = set().union(*(one.rows for one in self._selected.values()))
        for name, value in self._node.args.items():
            if name not in _NO_CONDITIONS:
                how = _PARTS.get(name, "filter")
                for part in value if isinstance(value, list) else [value]:
                    if isinstance(part, exp.Expr):
                        found |= self._sort(part) if name == "order" else self.origins(part, how)
        for join in self._node.args.get("joins") or ():
            found |= self._join(join)
        distinct, group = self._node.args.get("distinct"), self._node.args.get("group")
        if distinct and not distinct.args.get("on"):
            found = found.union(*(through("group_by", one) for one in self._named.values()))
        if group and group.args.get("all"):
            kept = (one for one in self._node.expressions if not one.is_star and not _aggregates(one))
            found = found.union(*(through("group_by", self._named[one.alias_or_name.casefold()]) for one in kept))
        return frozenset(found)

    def _sort(self, order: exp.Expr) -> Origins:
        # Here the names of results come before those of columns.
        found: set[Origin] = set()
        for one in order.expressions:
            name = one.this.name.casefold() if isinstance(one.this, exp.Column) and not one.this.table else ""
            found |= through("sort", self._named[name]) if name in self._named else self.origins(one, "sort")
        return frozenset(found)

    def _join(self, join: exp.Join) -> Origins:
        conditions = [one for name in ("on", "match_condition") if (one := join.args.get(name)) is not None]
        if join.args.get("using") or join.args.get("method") == "NATURAL":
            self._reader.certain = False
            return whole(self._tables, "join")
        found = NONE.union(*(self.origins(one, "join") for one in conditions))
        if found:
            return found
        joined = self._selected.get(join.this.alias_or_name)
        if joined is None:
            return whole(self._tables, "join")
        return joined.rows or whole(joined.tables, "join")

    def _column(self, column: exp.Column) -> Origins:
        first, *rest = [part.name for part in column.parts]
        table = self._visible(first) if rest else None
        if table is not None:
            return table.column(rest[0])
        found = self._unqualified(first)
        return through("transformation", found) if rest else found  # the rest names a field of a struct

    def _visible(self, name: str) -> Relation | None:
        """Return what a name stands for here, or in the query around a subquery."""
        scope: Scope | None = self._scope
        while scope is not None:
            if name in scope.sources:
                return self._reader.source(scope, scope.sources[name])
            scope = scope.parent
        return None

    def _unqualified(self, name: str) -> Origins:
        """Return the origins of a column whose table is not named; of a struct, where a field of it is meant."""
        near = list(self._selected.values())
        having = [one for one in near if name.casefold() in one.named]
        if having:
            return NONE.union(*(one.column(name) for one in having))
        row = self._visible(name)
        if row is not None:
            return self._unknown(row.tables).column(name)
        # In a subquery the column may be one of the query around it.
        may = [one for one in [*near, *self._around()] if one.rest is not None or name.casefold() in one.named]
        return may[0].column(name) if len(may) == 1 else self._unknown(tables_of(may) or self._tables).column(name)

    def _around(self) -> Iterator[Relation]:
        scope = self._scope
        while (scope.is_subquery or scope.is_udtf) and scope.parent is not None:
            scope = scope.parent
            yield from (self._reader.source(scope, one) for one in scope.sources.values())

    def _unknown(self, tables: frozenset[str]) -> Relation:
        self._reader.certain = False
        return Relation(rest=lambda _: whole(tables, "unresolved"), tables=tables)


def _aggregates(value: exp.Expr) -> bool:
    parts = value.walk(prune=lambda one: isinstance(one, exp.Query))  # what a subquery does is its own affair
    return any(isinstance(part, exp.AggFunc) for part in parts)


def _clauses(window: exp.Expr) -> Iterator[exp.Expr]:
    yield from window.args.get("partition_by") or ()
    if window.args.get("order") is not None:
        yield window.args["order"]
