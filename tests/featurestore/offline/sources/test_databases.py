"""Queries in a user's database: a real PostgreSQL through its ADBC driver, and DuckDB's driver as another one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal as Digits
from pathlib import Path
from typing import Any

import adbc_driver_duckdb
import psycopg
import pytest
from pydantic import SecretStr

from featurestore.config import Config, ConnectionConfig, SourceConfig
from featurestore.definitions import Entity, FeatureView, Field, QuerySource
from featurestore.errors import ConfigError, DataError, SchemaError, TimestampError
from featurestore.offline.sources import databases
from featurestore.offline.store import OfflineStore
from featurestore.registry import Registry
from featurestore.types import Bool, Bytes, Date, DType, Float64, Int32, Int64, String, Timestamp, by_name
from tests import forking

START = datetime(2013, 1, 1, tzinfo=UTC)

Execute = Callable[..., None]


@pytest.fixture
def execute(postgresql: str) -> Iterator[Execute]:
    """Run a statement in the database, and commit it."""
    with psycopg.connect(postgresql, autocommit=True) as connection:
        yield lambda statement, *values: connection.execute(statement, values or None)


@pytest.fixture
def store(config: Config, registry: Registry, postgresql: str) -> OfflineStore:
    return warehouse(config, registry, postgresql)


def warehouse(config: Config, registry: Registry, uri: str, driver: str = "postgresql", **more: Any) -> OfflineStore:
    section = ConnectionConfig(driver=driver, uri=SecretStr(uri), **more)
    return OfflineStore(config.model_copy(update={"connections": {"warehouse": section}}), registry)


def view(query: str = "SELECT * FROM weather", schema: Any = None, **source: Any) -> FeatureView:
    return FeatureView(
        name="weather",
        entities=[Entity(name="airport", join_keys=["origin"])],
        schema=schema or [Field(name="temp", dtype=Float64)],
        source=QuerySource(query=query, connection="warehouse", **source),
    )


def one_value(sql: str, dtype: DType) -> FeatureView:
    return view(
        f"SELECT 'JFK'::text AS origin, TIMESTAMPTZ '2013-01-01 00:00Z' AS event_timestamp, {sql} AS value",
        [Field(name="value", dtype=dtype)],
    )


def stored(store: OfflineStore, view: FeatureView, column: str = "temp") -> list[Any]:
    values: list[Any] = store.rows_by_event_time(view, after=None).read_all()[column].to_pylist()
    return values


def make_weather(execute: Execute) -> None:
    execute("CREATE TABLE weather (origin text, temp float8, event_timestamp timestamptz, updated_at timestamptz)")


def add_weather(execute: Execute, *hours: int, updated: datetime | None = None, temp: float | None = None) -> None:
    for hour in hours:
        at = START + timedelta(hours=hour)
        value = float(hour) if temp is None else temp
        execute("INSERT INTO weather VALUES ('JFK', %s, %s, %s)", value, at, updated or at)


# One load a run


def test_the_rows_of_a_query_become_one_load(store: OfflineStore, execute: Execute) -> None:
    make_weather(execute)
    add_weather(execute, 0, 1, 2)
    report = store.ingest_source(view(), who="ada")
    assert (report.written, report.skipped, len(report.loads)) == (3, 0, 1)
    assert stored(store, view()) == [0.0, 1.0, 2.0]


def test_without_a_column_to_go_by_each_run_reads_all(store: OfflineStore, execute: Execute) -> None:
    make_weather(execute)
    add_weather(execute, 0, 1)
    assert store.ingest_source(view(), who="ada").read == 2
    add_weather(execute, 2)
    assert store.ingest_source(view(), who="ada").read == 3
    newest = store.newest_rows(view(), until=datetime.now(UTC)).read_all()
    assert newest["temp"].to_pylist() == [2.0]


def test_rows_are_streamed_and_never_whole_in_memory(store: OfflineStore) -> None:
    """The query would give a trillion rows; the first of them come at once, and what is left is dropped."""
    endless = view(
        "SELECT 'JFK'::text AS origin, 1.0::float8 AS temp, TIMESTAMPTZ '2013-01-01 00:00Z' AS event_timestamp, "
        "generate_series(1, 1000000000000) AS number"
    )

    def enough(_: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.ingest_source(endless, who="ada", progress=enough)
    assert store.table_version(endless) is None


def test_a_query_writes_nothing_into_the_database(store: OfflineStore, execute: Execute) -> None:
    make_weather(execute)
    add_weather(execute, 0, 1)
    hostile = view("INSERT INTO weather SELECT * FROM weather RETURNING *")
    assert store.ingest_source(hostile, who="ada").read == 2
    assert store.ingest_source(view(), who="ada").read == 2


# Only what is new


def incremental(**changes: Any) -> FeatureView:
    return view(**{"incremental_by": "updated_at", "name": "w", **changes})


def test_a_run_reads_from_the_last_value_on_and_rows_at_it_come_again(store: OfflineStore, execute: Execute) -> None:
    make_weather(execute)
    add_weather(execute, 0, 1, 2)
    first = store.ingest_source(incremental(), who="ada")
    assert (first.read, first.notes) == (3, ())
    add_weather(execute, 3, 4)
    add_weather(execute, 10, updated=START + timedelta(hours=2))  # the same instant as the last one that was read
    second = store.ingest_source(incremental(), who="ada")
    assert second.read == 4
    assert [load.rows_written for load in store.loads(incremental())] == [3, 4]
    assert sorted(set(stored(store, incremental()))) == [0.0, 1.0, 2.0, 3.0, 4.0, 10.0]
    keys = store.newest_rows(incremental(), until=datetime.now(UTC)).read_all()
    assert keys["temp"].to_pylist() == [10.0]


def test_rows_that_come_late_within_the_lookback_are_not_lost(store: OfflineStore, execute: Execute) -> None:
    late = incremental(lookback=timedelta(hours=2))
    make_weather(execute)
    add_weather(execute, 0, 1, 2, 3, 4)
    assert store.ingest_source(late, who="ada").read == 5
    add_weather(execute, 20, updated=START + timedelta(hours=2))
    add_weather(execute, 21, updated=START + timedelta(hours=1))  # too late: what the lookback is for
    again = store.ingest_source(late, who="ada")
    assert again.read == 4  # 2, 3, 4 again, and the late one
    assert set(stored(store, late)) == {0.0, 1.0, 2.0, 3.0, 4.0, 20.0}


def test_a_run_without_new_rows_keeps_the_watermark(store: OfflineStore, execute: Execute) -> None:
    make_weather(execute)
    add_weather(execute, 0, 1)
    store.ingest_source(incremental(), who="ada")
    execute("DELETE FROM weather")
    assert store.ingest_source(incremental(), who="ada").read == 0
    add_weather(execute, 0, 1)
    assert store.ingest_source(incremental(), who="ada").read == 1


def test_a_row_without_a_value_to_go_by_comes_each_time(store: OfflineStore, execute: Execute) -> None:
    make_weather(execute)
    add_weather(execute, 0)
    execute("INSERT INTO weather VALUES ('LGA', 7, %s, NULL)", START)
    store.ingest_source(incremental(), who="ada")
    assert store.ingest_source(incremental(), who="ada").read == 2


@pytest.mark.parametrize("value", ["2999-01-01", "infinity", "-infinity"])
def test_a_row_from_the_future_does_not_hide_the_rows_to_come(
    store: OfflineStore, execute: Execute, value: str
) -> None:
    make_weather(execute)
    add_weather(execute, 0)
    execute("INSERT INTO weather VALUES ('LGA', 7, %s, %s)", START, value)
    store.ingest_source(incremental(), who="ada")
    add_weather(execute, 1)
    store.ingest_source(incremental(), who="ada")
    assert set(stored(store, incremental())) == {0.0, 1.0, 7.0}


@pytest.mark.parametrize(
    ("column", "values", "lookback", "read"),
    [
        ("bigint", [2**40, 2**40 + 5, 2**40 + 6], None, [2, 2]),
        ("bigint", [1, 5, 6], 4, [2, 3]),
        ("date", ["2013-01-01", "2013-01-02", "2013-01-03"], None, [2, 2]),
        ("date", ["2013-01-01", "2013-01-02", "2013-01-03"], timedelta(hours=1), [2, 3]),
    ],
)
def test_integers_and_dates_can_be_gone_by_too(
    store: OfflineStore, execute: Execute, column: str, values: list[Any], lookback: Any, read: list[int]
) -> None:
    made = incremental(lookback=lookback)
    execute(f"CREATE TABLE weather (origin text, temp float8, event_timestamp timestamptz, updated_at {column})")
    for number, value in enumerate(values):
        if number == 2:
            assert store.ingest_source(made, who="ada").read == read[0]
        execute("INSERT INTO weather VALUES ('JFK', %s, %s, %s)", number, START + timedelta(hours=number), value)
    assert store.ingest_source(made, who="ada").read == read[1]


def test_the_column_to_go_by_may_be_a_feature_or_the_event_time(store: OfflineStore, execute: Execute) -> None:
    make_weather(execute)
    add_weather(execute, 0, 1)
    for made in (
        incremental(schema=[Field(name="updated_at", dtype=Timestamp)]),
        incremental(incremental_by="event_timestamp"),
        incremental(created_timestamp_column="updated_at"),
    ):
        assert [store.ingest_source(made, who="ada").written for _ in range(2)] == [2, 1]


def test_a_lookback_of_another_kind_than_the_column_is_refused(store: OfflineStore, execute: Execute) -> None:
    make_weather(execute)
    add_weather(execute, 0)
    wrong = incremental(lookback=3)
    store.ingest_source(wrong, who="ada")
    with pytest.raises(DataError, match=r'by "updated_at", whose values are like 2013-01-01 .* a lookback of 3'):
        store.ingest_source(wrong, who="ada")


def test_a_query_may_end_in_a_semicolon_or_a_comment(store: OfflineStore, execute: Execute) -> None:
    make_weather(execute)
    add_weather(execute, 0)
    for end in (" ; ", " -- all of it", " ORDER BY temp LIMIT 5;\n"):
        made = incremental(query=f"SELECT * FROM weather{end}")
        assert [store.ingest_source(made, who="ada").read for _ in range(2)] == [1, 1]


def test_a_load_that_dies_before_its_commit_loses_nothing(
    store: OfflineStore, execute: Execute, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_weather(execute)
    add_weather(execute, 0, 1)
    store.ingest_source(incremental(), who="ada")
    add_weather(execute, 2, 3)
    with monkeypatch.context() as crash:
        crash.setattr("featurestore.offline.tables.table.OfflineTable.publish", lambda *_: pytest.fail("killed here"))
        with pytest.raises(pytest.fail.Exception):
            store.ingest_source(incremental(), who="ada")
    assert store.ingest_source(incremental(), who="ada").read == 3
    assert set(stored(store, incremental())) == {0.0, 1.0, 2.0, 3.0}


#: Loads the source again and again until it is killed.
WRITER = """
import sys
from pathlib import Path
from featurestore.config import Config, ConnectionConfig
from featurestore.settings.sections import OfflineConfig
from featurestore.definitions import Entity, FeatureView, Field, QuerySource
from featurestore.offline.store import OfflineStore
from featurestore.registry import open_registry
from featurestore.types import Float64

config = Config(
    root=Path(sys.argv[1]), project="tests", offline=OfflineConfig(threads=1, memory_limit="500MB"),
    connections={"warehouse": ConnectionConfig(driver="postgresql", uri=sys.argv[2])},
)
store = OfflineStore(config, open_registry(config.database_url("sqlite:///registry.db"), "tests"))
view = FeatureView(
    name="weather", entities=[Entity(name="airport", join_keys=["origin"])],
    schema=[Field(name="temp", dtype=Float64)],
    source=QuerySource(query="SELECT * FROM weather", connection="warehouse", incremental_by="updated_at", name="w"),
)
print("ready", flush=True)
while True:
    store.ingest_source(view, who="writer")
"""


def test_a_writer_killed_at_any_point_loses_no_row(
    config: Config, store: OfflineStore, execute: Execute, postgresql: str
) -> None:
    make_weather(execute)
    hours = 0
    for attempt in range(4):
        command = [sys.executable, "-c", textwrap.dedent(WRITER), str(config.root), postgresql]
        writer = forking.Forked(command, stdout=subprocess.PIPE, text=True)
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
        until = time.monotonic() + 0.1 + 0.083 * attempt
        while time.monotonic() < until:
            add_weather(execute, hours)
            hours += 1
        os.kill(writer.pid, signal.SIGKILL)
        writer.communicate()
    store.ingest_source(incremental(), who="ada")
    assert set(stored(store, incremental())) == {float(hour) for hour in range(hours)}


# Types


@pytest.mark.parametrize(
    ("sql", "dtype", "value"),
    [
        ("7::int2", Int32, 7),
        ("9007199254740993::int8", Int64, 9007199254740993),
        ("1.111::float8", Float64, 1.111),
        ("1.111::numeric", Float64, 1.111),
        ("42.00::numeric", Int64, 42),
        ("NULL::numeric", Float64, None),
        ("true", Bool, True),
        ("'ünï'::varchar(5)", String, "ünï"),
        ("'{\"a\": 1}'::jsonb", String, '{"a": 1}'),
        (r"'\xdead'::bytea", Bytes, b"\xde\xad"),
        ("DATE '2013-01-02'", Date, date(2013, 1, 2)),
        ("TIMESTAMPTZ '2013-01-01 05:00:00.000001+02'", Timestamp, datetime(2013, 1, 1, 3, 0, 0, 1, tzinfo=UTC)),
        ("1.111::numeric(10,3)", by_name("Decimal(10, 3)"), Digits("1.111")),
        ("99999999999999999999999999999999999999::numeric", by_name("Decimal(38, 0)"), Digits(10**38 - 1)),
        ("ARRAY['a', NULL]::text[]", by_name("Array(String)"), ["a", None]),
        ("ARRAY[]::int8[]", by_name("Array(Int64)"), []),
        ("ARRAY[1.5, NULL]::numeric[]", by_name("Array(Float64)"), [1.5, None]),
        ("NULL::numeric[]", by_name("Array(Float64)"), None),
    ],
)
def test_types_of_postgresql_become_those_declared(store: OfflineStore, sql: str, dtype: DType, value: Any) -> None:
    made = one_value(sql, dtype)
    assert store.ingest_source(made, who="ada").written == 1
    assert stored(store, made, "value") == [value]


@pytest.mark.parametrize(
    ("sql", "dtype", "kind", "says"),
    [
        ("TIMESTAMP '2013-01-01'", Timestamp, TimestampError, 'Column "value" .* name no time zone'),
        ("1.5::numeric", Int64, SchemaError, '"value" that cannot be int64 without loss'),
        ("1.555::numeric", by_name("Decimal(10, 2)"), SchemaError, "without loss"),
        ("'NaN'::numeric", by_name("Decimal(10, 2)"), SchemaError, "without loss"),
        ("1.5::numeric", String, SchemaError, 'column "value" as numeric; it is declared as String'),
        ("'c0ffee00-0000-4000-8000-000000000000'::uuid", String, SchemaError, "as arrow.uuid"),
        ("inet '127.0.0.1'", String, SchemaError, "as inet"),
        ("'7'::text", Int64, SchemaError, "is string; it is declared as Int64"),
    ],
)
def test_a_type_that_would_lose_something_is_refused_with_the_columns_name(
    store: OfflineStore, sql: str, dtype: DType, kind: type[DataError], says: str
) -> None:
    with pytest.raises(kind, match=says) as raised:
        store.ingest_source(one_value(sql, dtype), who="ada")
    assert raised.value.hint
    assert store.table_version(one_value(sql, dtype)) is None


def test_columns_of_strange_types_that_nobody_asked_for_are_ignored_and_said(store: OfflineStore) -> None:
    made = one_value("interval '1 day' AS pause, inet '127.0.0.1' AS host, 2.5::numeric AS price, 1::int8", Int64)
    report = store.ingest_source(made, who="ada")
    assert report.written == 1
    assert any("ignored columns" in note and '"pause"' in note for note in report.notes)


# What goes wrong

FAILS_LATE = """
SELECT 'JFK' AS origin, 10 / (500000 - g)::float8 AS temp, TIMESTAMPTZ '2013-01-01Z' AS event_timestamp
FROM generate_series(1, 500001) g
"""


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("SELEC 1", 'fails: syntax error at or near "SELEC"'),
        ("SELECT nope FROM pg_class", 'fails: column "nope" does not exist'),
        ("SELECT * FROM nosuch", 'fails: relation "nosuch" does not exist'),
        ("SELECT 1; SELECT 2", "fails: cannot insert multiple commands"),
        (FAILS_LATE, "cannot be read to its end: division by zero"),
    ],
)
def test_what_the_database_refuses_is_told_in_its_own_words(store: OfflineStore, query: str, says: str) -> None:
    named = view(query, name="readings")
    with pytest.raises(DataError) as raised:
        store.ingest_source(named, who="ada")
    begin = 'The source of feature view "weather": the query "readings" of connection "warehouse"'
    assert raised.value.message.startswith(f"{begin} {says}")
    assert "\n" not in raised.value.message
    assert store.table_version(named) is None


def test_a_column_that_the_query_does_not_give_is_named(store: OfflineStore, execute: Execute) -> None:
    make_weather(execute)
    with pytest.raises(SchemaError, match='have no column "wind"'):
        store.ingest_source(view(schema=[Field(name="wind", dtype=Float64)]), who="ada")
    with pytest.raises(SchemaError, match='gives no column "updated_on", by which it is incremental') as raised:
        store.ingest_source(incremental(incremental_by="updated_on"), who="ada")
    assert raised.value.hint == 'Did you mean "updated_at"?'


@pytest.mark.parametrize(
    ("column", "kind"), [("timestamp", TimestampError), ("text", SchemaError), ("numeric", SchemaError)]
)
def test_a_column_that_cannot_be_gone_by_is_refused(
    store: OfflineStore, execute: Execute, column: str, kind: type[DataError]
) -> None:
    execute(f"CREATE TABLE weather (origin text, temp float8, event_timestamp timestamptz, updated_at {column})")
    with pytest.raises(kind, match='is incremental by "updated_at"'):
        store.ingest_source(incremental(), who="ada")


def test_a_database_that_goes_away_while_it_is_read_publishes_nothing(store: OfflineStore, execute: Execute) -> None:
    endless = view(
        "SELECT 'JFK'::text AS origin, 1.0::float8 AS temp, TIMESTAMPTZ '2013-01-01 00:00Z' AS event_timestamp, "
        "generate_series(1, 1000000000000) AS number"
    )

    def cut(_: int) -> None:
        execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )

    # The server's own last words come first, where they are read before its end is seen.
    with pytest.raises(DataError, match=r"cannot be read to its end: (?s:.*)connection"):
        store.ingest_source(endless, who="ada", progress=cut)
    assert store.table_version(endless) is None


@pytest.mark.parametrize(
    ("uri", "says"),
    [
        ("postgresql://ada:hush-hush@127.0.0.1:1/shop", "Connection refused"),
        ("postgresql://ada:hush-hush@no-such-host.invalid/shop", "could not translate host name"),
        ("postgresql://ada:hush-hush@127.0.0.1:1/shop?pass=hush-hush", 'invalid URI query parameter: "pass"'),
        ("postgresql://ada:hush@hush-hush@127.0.0.1:1/shop", "its uri has not the form"),
        ("postgresql://ada:hush/hush-hush@127.0.0.1:1/shop", "its uri has not the form"),
        ("hush-hush it is", "its uri has not the form"),
    ],
)
def test_a_database_that_cannot_be_reached_is_told_without_its_secrets(
    config: Config, registry: Registry, uri: str, says: str
) -> None:
    with pytest.raises(DataError) as raised:
        warehouse(config, registry, uri).ingest_source(view(), who="ada")
    assert 'query of connection "warehouse" cannot be asked: ' in raised.value.message
    assert says in raised.value.message
    assert "[connections.warehouse]" in raised.value.hint
    assert "hush" not in str(raised.value)
    assert raised.value.__cause__ is None


def test_a_wrong_password_is_told_and_not_shown(
    config: Config, registry: Registry, postgresql: str, execute: Execute
) -> None:
    made_before = "EXCEPTION WHEN duplicate_object THEN NULL"
    execute(f"DO $$ BEGIN CREATE ROLE locked LOGIN PASSWORD 'right'; {made_before}; END $$")
    uri = postgresql.replace("postgres@", "locked:hush-hush@")
    with pytest.raises(DataError, match='password authentication failed for user "locked"') as raised:
        warehouse(config, registry, uri).ingest_source(view(), who="ada")
    assert "hush" not in str(raised.value)


def test_what_the_database_says_of_a_secret_is_masked(
    config: Config, registry: Registry, postgresql: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WAREHOUSE_USER", "hush-hush")
    from_environment = postgresql.replace("postgres@", "${WAREHOUSE_USER}@")
    parameter = f"{postgresql}?client_encoding=hush-hush"
    for uri, says in (
        (from_environment, r'role "\*\*\*" does not exist'),
        (parameter, r'invalid value for parameter "client_encoding": "\*\*\*"'),
    ):
        with pytest.raises(DataError, match=says):
            warehouse(config, registry, uri).ingest_source(view(), who="ada")


def test_no_secret_gets_into_the_table_or_the_audit(
    config: Config, registry: Registry, postgresql: str, execute: Execute, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_weather(execute)
    add_weather(execute, 0)
    monkeypatch.setenv(
        "WAREHOUSE_URL", postgresql.replace("postgres@", "postgres:hush-hush@") + "?application_name=hush"
    )
    store = warehouse(config, registry, "${WAREHOUSE_URL}")
    store.ingest_source(incremental(), who="ada")
    written = b"".join(file.read_bytes() for file in config.root.rglob("*") if file.is_file())
    assert b"hush" not in written
    assert b"connection warehouse at 127.0.0.1" in written


def test_a_connection_that_is_not_configured_is_a_config_error(config: Config, registry: Registry) -> None:
    with pytest.raises(ConfigError, match=r'no connection "warehouse" in featurestore\.toml') as raised:
        OfflineStore(config, registry).ingest_source(view(), who="ada")
    assert "[connections.warehouse]" in raised.value.hint


@pytest.mark.parametrize(
    ("driver", "hint"),
    [("snowflake", "pip install adbc-driver-snowflake"), ("./no/such/driver.so", "the path of its library")],
)
def test_a_driver_that_is_missing_says_how_to_get_it(
    config: Config, registry: Registry, driver: str, hint: str
) -> None:
    with pytest.raises(ConfigError, match=f'needs the ADBC driver "{driver}", which is not installed') as raised:
        warehouse(config, registry, "x://y", driver).ingest_source(view(), who="ada")
    assert hint in raised.value.hint


def test_without_the_extra_the_error_says_how_to_install_it(
    config: Config, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "adbc_driver_manager", None)
    with pytest.raises(ConfigError, match="needs ADBC, which is not installed") as raised:
        warehouse(config, registry, "postgresql://127.0.0.1:1/shop").ingest_source(view(), who="ada")
    assert raised.value.hint == "pip install 'featurestore[adbc]'"


# Other places, other drivers


def test_a_move_reads_all_and_is_audited_from_where_to_where(
    config: Config, registry: Registry, postgresql: str, execute: Execute
) -> None:
    make_weather(execute)
    add_weather(execute, 0, 1, 2)
    execute("CREATE SCHEMA staging")
    execute("CREATE TABLE staging.weather AS SELECT * FROM weather WHERE temp < 2")
    store = warehouse(config, registry, postgresql)
    store.ingest_source(incremental(), who="ada")
    assert store.ingest_source(incremental(), who="ada").read == 1
    connections = {"other": ConnectionConfig(driver="postgresql", uri=SecretStr(postgresql))}
    moved = config.model_copy(
        update={"connections": connections, "sources": {"w": SourceConfig(connection="other", db_schema="staging")}}
    )
    report = OfflineStore(moved, registry).ingest_source(incremental(), who="bob")
    assert report.read == 2
    here, there = (
        f"connection {name} at {postgresql.partition('@')[2]}{more}"
        for name, more in (("warehouse", ""), ("other", ", schema staging"))
    )
    assert f"the source moved from {here} to {there}" in report.notes
    assert [entry.details.get("source_moved") for entry in registry.audit(action="ingest")] == [
        None,
        None,
        {"from": here, "to": there},
    ]
    assert OfflineStore(moved, registry).ingest_source(incremental(), who="bob").read == 1


def test_a_query_source_is_not_put_into_files(config: Config, registry: Registry) -> None:
    misplaced = config.model_copy(update={"sources": {"w": SourceConfig(path="w.csv")}})
    with pytest.raises(ConfigError, match=r"\[sources\.w\] .* puts a QuerySource where it cannot be") as raised:
        OfflineStore(misplaced, registry).ingest_source(incremental(), who="ada")
    assert "connection or db_schema" in raised.value.hint


@pytest.mark.parametrize("driver", ["duckdb", adbc_driver_duckdb.driver_path()])
def test_any_driver_does_by_its_name_or_its_path(
    config: Config, registry: Registry, tmp_path: Path, driver: str
) -> None:
    store = warehouse(
        config,
        registry,
        "",
        driver,
        entrypoint="duckdb_adbc_init",
        options={"path": SecretStr(str(tmp_path / "there.duckdb"))},
    )
    made = incremental(
        query="SELECT 'JFK' AS origin, 1.5::DOUBLE AS temp, TIMESTAMPTZ '2013-01-01 00:00:00Z' AS event_timestamp, "
        "event_timestamp AS updated_at, UNNEST(RANGE(3)) AS number"
    )
    assert [store.ingest_source(made, who="ada").read for _ in range(2)] == [3, 3]
    with pytest.raises(DataError, match=r'the query "w" of connection "warehouse" fails: .*nosuch'):
        store.ingest_source(
            replace(made, source=QuerySource(query="FROM nosuch", connection="warehouse", name="w")), who="a"
        )


def test_an_address_is_shown_without_user_password_and_parameters(config: Config) -> None:
    def place(uri: str) -> str:
        section = ConnectionConfig(driver="postgresql", uri=SecretStr(uri))
        return databases.place_of("w", config.model_copy(update={"connections": {"w": section}}), "")

    assert place("postgresql://ada:hush@db.example.com:5432/shop?sslpassword=hush") == (
        "connection w at db.example.com:5432/shop"
    )
    assert place("ada:hush@account/shop/public") == "connection w at account/shop/public"
    for uri in ("postgresql://ada:h/ush@db/shop", "postgresql://ada:h?ush@db/shop", "host=db password=hush", "p?@hush"):
        assert place(uri) == "connection w"
