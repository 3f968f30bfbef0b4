"""The query of a SqlSource: one SELECT over what it declares, the same each time."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import duckdb
import pytest

from featurestore.definitions import FileSource, SqlSource
from featurestore.errors import DefinitionError
from featurestore.queries import check_query, named_columns

FLIGHTS = FileSource(path="flights.parquet", name="flights")
PLANES = FileSource(path="planes.parquet", name="planes")


def source(query: str) -> SqlSource:
    return SqlSource(query=query, sources=[FLIGHTS, PLANES], name="delays")


@pytest.mark.parametrize(
    "query",
    [
        "SELECT * FROM flights",
        "SELECT * FROM flights;",
        "FROM flights SELECT tail, count(*) GROUP BY ALL ORDER BY ALL",
        "(SELECT tail FROM flights UNION ALL BY NAME SELECT tail FROM planes)",
        "WITH late AS (SELECT * FROM flights WHERE delay > 15) SELECT * FROM late JOIN Planes USING (tail)",
        "WITH flights AS (SELECT * FROM planes) SELECT * FROM flights",
        "WITH RECURSIVE n AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM n WHERE i < 5) SELECT * FROM n, flights",
        "SELECT * FROM flights f, LATERAL (SELECT max(year) AS year FROM planes p WHERE p.tail = f.tail)",
        "SELECT * FROM flights WHERE EXISTS (SELECT 1 FROM planes WHERE planes.tail = flights.tail)",
        "SELECT * EXCLUDE (a) REPLACE (b AS c) FROM flights QUALIFY rank() OVER (PARTITION BY tail ORDER BY at) = 1",
        "SELECT * FROM flights ASOF JOIN planes ON flights.tail = planes.tail AND flights.at >= planes.at",
        "SELECT {'a': 1}.a, [x + 1 FOR x IN delays], delay // 2, now, uuid FROM flights",
        "SELECT f.*, i FROM flights f, generate_series(1, 3) s(i), unnest(f.delays) u(d)",
        "SELECT age(landed, departed), date_trunc('day', at AT TIME ZONE 'UTC'), 'now()' FROM flights -- random()",
        "SELECT sum(x) OVER w FROM flights WINDOW w AS (ORDER BY at RANGE INTERVAL 1 DAY PRECEDING)",
        "SELECT * FROM flights PIVOT (avg(delay) FOR carrier IN ('AA', 'UA') GROUP BY tail)",
    ],
)
def test_a_select_over_declared_sources_passes(query: str) -> None:
    check_query(source(query))


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("SELEC * FROM flights", "is not valid SQL"),
        ("SELECT * FROM flights WHERE (", "is not valid SQL.* Line 1"),
        ("SELECT 'a", "is not valid SQL"),
        ("SELECT 1; SELECT 2", "is not one SELECT"),
        ("DELETE FROM flights", "is not one SELECT"),
        ("CREATE TABLE x AS SELECT * FROM flights", "is not one SELECT"),
        ("COPY (SELECT * FROM flights) TO 'out.csv'", "is not one SELECT"),
        ("VALUES (1)", "is not one SELECT"),
        ("DESCRIBE flights", "is not one SELECT"),
        ("-- nothing", "is not one SELECT"),
        ("SELECT * FROM fligths", 'names the table "fligths", which is none of its sources'),
        ("SELECT * FROM flights JOIN airlines USING (carrier)", 'names the table "airlines"'),
        ("SELECT * FROM flights WHERE tail IN (SELECT tail FROM jets)", 'names the table "jets"'),
        ("SELECT * FROM flights, LATERAL (SELECT * FROM jets WHERE jets.tail = flights.tail)", 'the table "jets"'),
        ("WITH a AS (SELECT * FROM flights), b AS (SELECT * FROM jets) SELECT * FROM a", 'names the table "jets"'),
        ("SELECT (WITH late AS (FROM flights) SELECT max(x) FROM late) FROM late", 'names the table "late"'),
        ("SELECT * FROM 'flights.parquet'", "flights.parquet"),
        ("SELECT * FROM other.flights", "other.flights"),
        ("SELECT * FROM information_schema.tables", "information_schema.tables"),
        ("SELECT * FROM read_parquet('x.parquet')", r"reads read_parquet\(...\), which is none"),
        ("SELECT * FROM flights, read_csv_auto('x.csv')", r"reads read_csv"),
        ("SELECT * FROM glob('*')", r"reads glob\(...\)"),
        ("SELECT * FROM query('SELECT 1')", r"reads query\(...\)"),
        ("SELECT now() FROM flights", r"uses NOW\(\), whose result changes from run to run"),
        ("SELECT * FROM flights WHERE at > current_date - 7", "uses CURRENT_DATE"),
        ("WITH r AS (SELECT random() AS r FROM flights) SELECT * FROM r", r"uses RANDOM\(\)"),
        ("SELECT * FROM flights ORDER BY uuid()", r"uses .*\(\)"),
        ("SELECT age(born) FROM planes", r"uses AGE\(born\), which is up to today"),
        ("SELECT * FROM flights USING SAMPLE 10", "uses a sample"),
        ("SELECT * FROM flights TABLESAMPLE 10%", "uses a sample"),
    ],
)
def test_any_other_query_is_refused_and_says_why(query: str, says: str) -> None:
    with pytest.raises(DefinitionError, match=says) as raised:
        check_query(source(query))
    assert raised.value.message.startswith('The query of SqlSource "delays" ')
    assert raised.value.hint
    assert "\x1b" not in raised.value.message


def test_every_function_that_duckdb_calls_changing_is_refused() -> None:
    """DuckDB's own catalogue is the oracle; error() never gives a value, and a feature's type is no function's.

    Functions of instants with a zone change with the zone of the session only, and the engine sets that.
    """
    with duckdb.connect() as connection:
        found = connection.sql(
            "SELECT function_name, max(len(parameters)) FROM duckdb_functions() "
            "WHERE stability IS NOT NULL AND stability <> 'CONSISTENT' AND function_name <> 'make_timestamptz' "
            "GROUP BY ALL HAVING NOT bool_or(list_contains(parameter_types, 'TIMESTAMP WITH TIME ZONE'))"
        ).fetchall()
    assert len(found) > 20
    for name, parameters in found:
        if name == "error":
            continue
        arguments = ", ".join(["tail"] * parameters)
        with pytest.raises(DefinitionError, match="whose result changes from run to run"):
            check_query(source(f"SELECT {name}({arguments}) FROM flights"))


def test_a_hint_names_what_was_meant() -> None:
    with pytest.raises(DefinitionError) as raised:
        check_query(source("SELECT * FROM fligths"))
    assert raised.value.hint.startswith('Did you mean "flights"?')


@pytest.mark.parametrize("tail", ["LIMIT 3", "LIMIT 3 OFFSET 1", "OFFSET 1", "FETCH FIRST 3 ROWS ONLY"])
def test_a_query_that_runs_over_intervals_has_no_limit(tail: str) -> None:
    whole = source(f"SELECT * FROM flights ORDER BY tail {tail}")
    check_query(whole)
    with pytest.raises(DefinitionError, match="has a LIMIT, and a lookback"):
        check_query(replace(whole, lookback=timedelta(0)))
    check_query(replace(source(f"SELECT * FROM (FROM flights {tail})"), lookback=timedelta(0)))


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("SELECT tail, count(*) AS n FROM flights GROUP BY ALL", {"tail", "n", "flights"}),
        ("SELECT F.Tail FROM flights f JOIN planes USING (Code)", {"f", "tail", "flights", "planes", "code"}),
        ("FROM flights", None),
        ("SELECT f.* FROM flights f", None),
        ("SELECT f FROM flights f", None),
        ("SELECT COLUMNS('t.*') FROM flights", None),
        ("SELECT tail FROM flights NATURAL JOIN planes", None),
        ("PIVOT flights ON month USING sum(delay)", None),
        ("SELECT (", None),
    ],
)
def test_a_query_says_which_columns_it_may_read_unless_it_may_be_any(query: str, named: set[str] | None) -> None:
    assert named_columns(query) == named
