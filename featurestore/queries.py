"""Whether the query of a SqlSource can be what it says: one SELECT over its declared sources, the same each time."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError
from sqlglot.optimizer.scope import traverse_scope

from featurestore.definitions import SqlSource
from featurestore.errors import DefinitionError, closest

#: What DuckDB calls volatile, or the same only within one query, with other spellings of it. Rows that hang on the
#: clock, on chance or on the settings of a session cannot be made again. (error() is volatile too, but gives no value.)
_CHANGING = re.compile(
    r"current_(?:catalog|connection_id|database|date|localtime|localtimestamp|query|query_id|role|schema|schemas|setting"
    r"|time|timestamp|transaction_id|user|version)"
    r"|get_current_time|get_current_timestamp|get(?:env|variable)|in_search_path|localtime|localtimestamp|now|timeofday"
    r"|today|transaction_timestamp|txid_current|unix_timestamp|version|user|session_user"
    r"|gen_random_uuid|rand|random|setseed|uuid|uuidv4|uuidv7|currval|nextval|setval|sleep_ms|stats|vector_type|write_log"
)

#: What makes rows of its arguments alone; any other function in FROM reads something that is not declared.
_ROWS_OF_ARGUMENTS = frozenset({"generate_series", "range", "unnest", "repeat", "repeat_row", "json_each", "json_tree"})


def check_query(source: SqlSource) -> None:
    """Check the query of a source, without its data.

    Raises:
        DefinitionError: it cannot be parsed, is not one SELECT, names a table that is not among ``source.sources``, or
            its result can differ from one run to the next on the same data; or, if it runs over intervals, has a LIMIT.
    """
    what = f'The query of SqlSource "{source.name}"' if source.name else "The query of a SqlSource"
    hint = "Declare what the query reads: sources=[FileSource(name=...)]."
    check_select(source.query, [one.name for one in source.sources], what, hint)
    if source.lookback is None:
        return
    query = _parsed(source.query, what)
    if query.args.get("limit") or query.args.get("offset"):
        raise DefinitionError(
            f"{what} has a LIMIT, and a lookback: of which run would it be the limit?",
            hint="Choose rows by their values (WHERE, QUALIFY), or leave lookback out: the whole query runs then.",
        )


def check_select(text: str, declared: Sequence[str], what: str, hint: str) -> tuple[str, ...]:
    """Check a query, without its data, and return which of the declared sources it reads.

    Args:
        text: the query.
        declared: the names of the sources that it may read.
        what: whose query it is, to begin messages.
        hint: what to do about a table that is not declared.

    Raises:
        DefinitionError: as :func:`check_query`.
    """
    query = _parsed(text, what)
    # DuckDB's names are the same in upper and lower case.
    known = {name.casefold(): name for name in declared}
    read: dict[str, None] = {}
    for table in _tables(query):
        if table.name.casefold() not in known or table.args.get("db"):
            raise DefinitionError(
                f'{what} names the table "{table.sql(dialect="duckdb")}", which is none of its sources.',
                hint=f"{closest(table.name, declared)} {hint}".lstrip(),
            )
        read[known[table.name.casefold()]] = None
    _check_repeatable(query, what)
    return tuple(read)


def check_repeatable(text: str, what: str) -> None:
    """Check a query whose sources are not known yet: one SELECT, which gives the same each time on the same data.

    Args:
        text: the query.
        what: whose query it is, to begin messages.

    Raises:
        DefinitionError: it cannot be parsed, is not one SELECT, reads files by itself, or its result can differ.
    """
    _check_repeatable(_parsed(text, what), what)


def _check_repeatable(query: exp.Query, what: str) -> None:
    for function in _table_functions(query):
        raise DefinitionError(
            f"{what} reads {function}(...), which is none of its sources.",
            hint="Declare the files: sources=[FileSource(name=..., path=...)], and name them in FROM.",
        )
    for changing in _changing(query):
        raise DefinitionError(
            f"{what} uses {changing}, whose result changes from run to run.",
            hint="Take the instant from a column of the rows; what is random has to be stored with them.",
        )


def check_condition(text: str, what: str) -> None:
    """Check SQL that is to be true for the rows that count, without its data.

    Raises:
        DefinitionError: it is not one condition over the columns of a row, or can differ from one run to the next.
    """
    try:
        statements = [one for one in sqlglot.parse(f"SELECT 1 WHERE ({text}\n)", read="duckdb") if one is not None]
    except SqlglotError as error:
        raise DefinitionError(
            f'{what} ("{text}") is not valid SQL: {_first(error)}.', hint="It is read as DuckDB's SQL."
        ) from None
    query = statements[0]
    where = query.args.get("where")
    given = {name for name, part in query.args.items() if part}
    condition = len(statements) == 1 and isinstance(query, exp.Select) and given == {"expressions", "where"}
    if not condition or not isinstance(query, exp.Query) or not isinstance(where and where.this, exp.Paren):
        raise DefinitionError(
            f'{what} ("{text}") is not one condition.', hint='Write, for example, "label IS NOT NULL".'
        )
    if len(list(query.find_all(exp.Query))) > 1 or query.find(exp.AggFunc, exp.Window):
        raise DefinitionError(f'{what} ("{text}") looks at other rows.', hint="It is asked of each row by itself.")
    for changing in _changing(query):
        raise DefinitionError(
            f"{what} uses {changing}, whose result changes from run to run.", hint="Take it from a column of the rows."
        )


def named_columns(text: str) -> frozenset[str] | None:
    """Return the names of a query that may be those of columns of its sources, in lower case.

    None if it may mean columns that it does not name, by a star for one.

    Args:
        text: the query; one that cannot be parsed may mean any.
    """
    try:
        query = sqlglot.parse_one(text, read="duckdb")
    except SqlglotError:
        return None
    rows = {alias.name.casefold() for alias in query.find_all(exp.TableAlias)}
    rows |= {table.name.casefold() for table in query.find_all(exp.Table)}
    for node in query.walk():
        if isinstance(node, exp.Star) and not isinstance(node.parent, exp.Count):
            return None
        if isinstance(node, (exp.Columns, exp.Pivot, exp.Command)) or (
            isinstance(node, exp.Join) and (node.method or "").upper() == "NATURAL"
        ):
            return None
        # A row as a whole: SELECT o FROM orders o.
        if isinstance(node, exp.Column) and not node.table and node.name.casefold() in rows:
            return None
    return frozenset(one.name.casefold() for one in query.find_all(exp.Identifier))


def _parsed(text: str, what: str) -> exp.Query:
    try:
        statements = [one for one in sqlglot.parse(text, read="duckdb") if one is not None]
    except SqlglotError as error:
        raise DefinitionError(
            f"{what} is not valid SQL: {_first(error)}.", hint="It is read as DuckDB's SQL."
        ) from None
    if len(statements) != 1 or not isinstance(statements[0], exp.Query) or isinstance(statements[0], exp.Values):
        raise DefinitionError(f"{what} is not one SELECT.", hint="Write one SELECT, WITH ... before it.")
    return statements[0]


def _tables(query: exp.Query) -> Iterator[exp.Table]:
    """Yield the tables that are not defined by the query itself."""
    for scope in traverse_scope(query):
        for source in scope.sources.values():
            if isinstance(source, exp.Table) and isinstance(source.this, exp.Identifier):
                yield source


def _table_functions(query: exp.Query) -> Iterator[str]:
    for table in query.find_all(exp.Table):
        if isinstance(table.this, exp.Func):
            name = _name(table.this)
            if name not in _ROWS_OF_ARGUMENTS:
                yield name


def _changing(query: exp.Query) -> Iterator[str]:
    for node in query.walk():
        if isinstance(node, exp.Func) and _CHANGING.fullmatch(_name(node)):
            yield node.sql(dialect="duckdb")
        if isinstance(node, exp.Anonymous) and _name(node) == "age" and len(node.expressions) == 1:
            yield f"{node.sql(dialect='duckdb')}, which is up to today"
        if isinstance(node, exp.TableSample):  # with a seed too: rows come in the order in which threads read them
            yield "a sample"


def _name(function: exp.Func) -> str:
    if isinstance(function, exp.Anonymous):
        return str(function.name).casefold()
    return function.sql_name().casefold()


def _first(error: Exception) -> str:
    # sqlglot underlines the place on terminals.
    return str(error).replace("\x1b[4m", "").replace("\x1b[0m", "").strip().splitlines()[0].rstrip(".")
