"""Column lineage through SQL: by hand, and against what DuckDB gives when columns are changed."""

from __future__ import annotations

from collections import Counter
from typing import Any

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from featurestore import FileSource, SqlSource
from featurestore.lineage.queries import QueryLineage, query_lineage

FILES = {"t": ("k", "a", "b", "l", "at"), "u": ("k", "x", "y", "at")}


def read(query: str, *wanted: str, files: dict[str, tuple[str, ...]] | None = None) -> QueryLineage:
    sources = [FileSource(name=name, path=f"{name}.parquet") for name in FILES]
    known = FILES if files is None else files
    return query_lineage(SqlSource(query=query, sources=sources), wanted, known.get)


def columns(query: str, *wanted: str, files: dict[str, tuple[str, ...]] | None = None) -> dict[str, str]:
    found = read(query, *wanted, files=files).columns
    return {name: " ".join(f"{one.table}.{one.column}/{one.how}" for one in sorted(found[name])) for name in wanted}


def rows(query: str) -> str:
    return " ".join(f"{one.table}.{one.column}/{one.how}" for one in sorted(read(query).rows))


@pytest.mark.parametrize(
    ("query", "origins"),
    [
        ("SELECT a FROM t", "t.a/identity"),
        ("SELECT b AS a FROM t", "t.b/identity"),
        ("SELECT t2.b + k AS a FROM t t2", "t.b/transformation t.k/transformation"),
        ("SELECT sum(b) AS a FROM t GROUP BY k", "t.b/aggregation"),
        ("SELECT count(*) AS a FROM t", "t./aggregation"),
        ("SELECT 1 AS a FROM t", ""),
        ("SELECT * FROM t", "t.a/identity"),
        ("SELECT *, x AS a FROM (SELECT k, x FROM u)", "u.x/identity"),
        ("SELECT t.*, u.x FROM t JOIN u USING (k)", "t.a/identity"),
        ("SELECT * EXCLUDE (a), b AS a FROM t", "t.b/identity"),
        ("SELECT * REPLACE (a + b AS a) FROM t", "t.a/transformation t.b/transformation"),
        ("WITH c AS (SELECT max(b) AS m FROM t), d AS (SELECT m + 1 AS a FROM c) SELECT a FROM d", "t.b/aggregation"),
        ("SELECT a FROM t UNION ALL SELECT x FROM u", "t.a/identity u.x/identity"),
        ("SELECT k, a FROM t UNION BY NAME SELECT x AS a, k FROM u", "t.a/identity u.x/identity"),
        ("SELECT x AS a FROM t ASOF JOIN u ON t.k = u.k AND t.at >= u.at", "u.x/identity"),
        (
            "SELECT sum(b) OVER (PARTITION BY k ORDER BY at) AS a FROM t",
            "t.at/window t.b/aggregation t.k/window",
        ),
        ("SELECT sum(b) OVER w AS a FROM t WINDOW w AS (ORDER BY at)", "t.at/window t.b/aggregation"),
        (
            "SELECT (SELECT max(x) FROM u WHERE u.k = t.k) AS a FROM t",
            "t.k/transformation u.k/transformation u.x/aggregation",
        ),
        ("SELECT unnest(l) AS a FROM t", "t.l/transformation"),
        ("SELECT i AS a FROM t, unnest(t.l) AS q(i)", "t.l/transformation"),
        ("SELECT i AS a FROM t, generate_series(1, t.b) AS q(i)", "t.b/transformation"),
        ("SELECT [y + b FOR y IN l] AS a FROM t", "t.b/transformation t.l/transformation"),
        ("SELECT list_transform(l, lambda y: y + b) AS a FROM t", "t.b/transformation t.l/transformation"),
        ("SELECT k.field AS a FROM t", "t.k/transformation"),
        ("SELECT a + 1 AS b2, b2 * 2 AS a FROM t", "t.a/transformation"),
        ("FROM t SELECT a", "t.a/identity"),
        ('SELECT T."A" FROM t', "t.A/identity"),
    ],
)
def test_a_column_comes_from_the_columns_that_its_expression_names(query: str, origins: str) -> None:
    assert columns(query, "a")["a"] == origins


@pytest.mark.parametrize(
    ("query", "origins"),
    [
        ("SELECT a FROM t", ""),
        ("SELECT a FROM t WHERE b > 1", "t.b/filter"),
        ("SELECT a FROM t JOIN u ON t.k = u.k AND y > 1", "t.k/join u.k/join u.y/join"),
        ("SELECT a FROM t, u", "u./join"),
        ("SELECT max(a) AS a FROM t GROUP BY k HAVING min(b) > 1", "t.b/filter t.k/group_by"),
        ("SELECT k, max(a) AS a FROM t GROUP BY ALL", "t.k/group_by"),
        ("SELECT DISTINCT a FROM t", "t.a/group_by"),
        ("SELECT a AS z FROM t ORDER BY z, b LIMIT 3", "t.a/sort t.b/sort"),
        ("SELECT a FROM t QUALIFY row_number() OVER (ORDER BY b) = 1", "t.b/filter"),
        ("SELECT a FROM t WHERE EXISTS (SELECT 1 FROM u WHERE u.k = t.k)", "t.k/filter u.k/filter"),
        ("SELECT a FROM t SEMI JOIN u USING (k)", "t.k/join u.k/join"),
        ("SELECT a FROM (SELECT a FROM t WHERE b > 1) ORDER BY a", "t.a/sort t.b/filter"),
        ("SELECT a FROM t EXCEPT SELECT x FROM u", "t.a/filter u.x/filter"),
    ],
)
def test_what_decides_over_rows_is_told_apart(query: str, origins: str) -> None:
    assert sorted(rows(query).split()) == sorted(origins.split())


@pytest.mark.parametrize(
    "query",
    [
        "SELECT COLUMNS('a') FROM t",
        "SELECT * FROM t PIVOT (sum(b) FOR k IN (1, 2))",
        "WITH RECURSIVE r AS (SELECT a FROM t UNION SELECT a + 1 FROM r WHERE a < 3) SELECT a FROM r",
        "SELECT a FROM t AS named(a, b)",
        "SELECT FROM WHERE",
    ],
)
def test_what_cannot_be_followed_comes_from_somewhere_and_from_no_wrong_column(query: str) -> None:
    assert "t./unresolved" in columns(query, "a")["a"].split()


def test_what_the_text_leaves_open_is_asked_of_the_files_and_only_that() -> None:
    asked = []

    def files(name: str) -> tuple[str, ...]:
        asked.append(name)
        return FILES[name]

    sources = [FileSource(name=name, path=f"{name}.parquet") for name in FILES]
    query_lineage(SqlSource(query="SELECT a FROM t WHERE b > 1", sources=sources), ["a"], files)
    assert asked == []
    found = query_lineage(SqlSource(query="SELECT a, x FROM t JOIN u ON true", sources=sources), ["a", "x"], files)
    assert asked == ["t", "u"]
    assert {(one.table, one.column) for one in found.columns["x"]} == {("u", "x")}


def test_without_the_files_a_column_of_one_of_two_tables_comes_from_somewhere_in_both() -> None:
    query = "SELECT a, t.b FROM t JOIN u ON t.k = u.k"
    assert columns(query, "a", "b", files={}) == {"a": "t./unresolved u./unresolved", "b": "t.b/identity"}
    assert columns("SELECT * FROM t NATURAL JOIN u", "a", files={})["a"] == "t./unresolved u./unresolved"


# Against DuckDB: what a column does not come from cannot change it.

TABLES = {"t": ("k", "a", "b", "c"), "u": ("k", "x", "y")}
DATABASE = duckdb.connect(config={"threads": 1})


@st.composite
def relations(draw: Any, depth: int = 2) -> tuple[str, list[str]]:
    """Return a query whose result is the same whatever the order of rows, and its columns."""
    kind = draw(st.sampled_from(["table", "select", "join", "group", "union", "window", "sub"] if depth else ["table"]))
    if kind == "table":
        name = draw(st.sampled_from(sorted(TABLES)))
        star = draw(st.booleans())
        return f"SELECT {'*' if star else ', '.join(TABLES[name])} FROM {name}", list(TABLES[name])
    inner, given_columns = draw(relations(depth=depth - 1))
    column = st.sampled_from(given_columns)
    one, two, three = draw(column), draw(column), draw(column)
    if kind == "select":
        where = draw(st.sampled_from(["", f" WHERE {three} > 2", f" WHERE {three} IN (SELECT x FROM u WHERE y > 1)"]))
        return f"SELECT {one} AS p, {one} + {two} AS q FROM ({inner}){where}", ["p", "q"]
    if kind == "group":
        by = draw(st.sampled_from([f"GROUP BY {one}", "GROUP BY ALL"]))
        return f"SELECT {one} AS p, sum({two}) AS q, count(*) AS r FROM ({inner}) {by} HAVING max({three}) > 1", [
            "p",
            "q",
            "r",
        ]
    if kind == "window":
        query = f"SELECT {one} AS p, sum({two}) OVER w AS q FROM ({inner}) WINDOW w AS (PARTITION BY {three})"
        return query, ["p", "q"]
    if kind == "sub":
        query = f"SELECT {one} AS p, (SELECT max(y) FROM u WHERE u.x > s.{two}) AS q FROM ({inner}) s"
        return query, ["p", "q"]
    other, others = draw(relations(depth=depth - 1))
    first, second = draw(st.sampled_from(others)), draw(st.sampled_from(others))
    if kind == "union":
        how = draw(st.sampled_from(["UNION ALL", "UNION", "EXCEPT", "INTERSECT"]))
        return f"SELECT {one} AS p, {two} AS q FROM ({inner}) {how} SELECT {first}, {second} FROM ({other})", ["p", "q"]
    how = draw(st.sampled_from(["JOIN", "LEFT JOIN"]))
    query = (
        f"WITH v AS ({other}) SELECT s.{one} AS p, v.{second} AS q FROM ({inner}) s {how} v ON s.{three} = v.{first}"
    )
    return query, ["p", "q"]


@settings(max_examples=40, deadline=None)
@given(relations(), st.booleans(), st.randoms(use_true_random=False))
def test_a_column_that_is_not_named_as_an_origin_cannot_change_the_result(
    relation: tuple[str, list[str]], known: bool, random: Any
) -> None:
    query, result = relation
    sources = [FileSource(name=name, path=f"{name}.parquet") for name in TABLES]
    found = query_lineage(SqlSource(query=query, sources=sources), result, TABLES.get if known else lambda _: None)
    data = {name: [[random.randrange(5) for _ in have] for _ in range(12)] for name, have in TABLES.items()}
    before = _run(query, data)
    for table, have in TABLES.items():
        for position, column in enumerate(have):
            changed = {name: [list(row) for row in rows] for name, rows in data.items()}
            for row in changed[table]:
                row[position] = random.randrange(5)
            after = _run(query, changed)
            for at, name in enumerate(result):
                origins = found.columns[name] | found.rows
                if not any(one.table == table and one.column in ("", column) for one in origins):
                    assert Counter(row[at] for row in before) == Counter(row[at] for row in after), (
                        query,
                        name,
                        column,
                    )


def _run(query: str, data: dict[str, list[list[int]]]) -> list[tuple[Any, ...]]:
    for name, have in TABLES.items():
        values = ", ".join(f"({', '.join(map(str, row))})" for row in data[name])
        DATABASE.execute(f"CREATE OR REPLACE TABLE {name} AS SELECT * FROM (VALUES {values}) v({', '.join(have)})")
    return DATABASE.execute(query).fetchall()
