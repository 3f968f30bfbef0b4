"""What the doctor says of the monitor: its database is always called on, and opened only if that changes nothing."""

from __future__ import annotations

import os
import socket
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest

from featurestore import Entity, FeatureService, FeatureStore, FeatureView, Field, MonitorPolicy
from featurestore.doctor import Finding, State, examine
from featurestore.doctor.probes import PROBES
from featurestore.types import Int64
from monitor import schema
from monitor.doctor import probes
from monitor.history import History

VIEW = FeatureView(
    name="clicks",
    entities=[Entity(name="user", join_keys=["user_id"], dtypes=[Int64])],
    schema=[Field(name="seen", dtype=Int64)],
)
SERVICE = FeatureService(name="scoring", features=[VIEW])
POLICY = MonitorPolicy(name="watch", service=SERVICE)


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    folder = tmp_path / "shop"
    with FeatureStore.init(folder, project="shop") as store:
        store.apply([VIEW, SERVICE])
    return folder


def watched(shop: Path) -> None:
    with FeatureStore(shop) as store:
        store.apply([POLICY])


def kept_at(shop: Path, url: str) -> None:
    settings = shop / "featurestore.toml"
    settings.write_text(settings.read_text().replace("sqlite:///data/monitor.db", url))


def found(shop: Path, *, now: datetime | None = None) -> dict[str, Finding]:
    looked = examine(shop, probes={"registry": PROBES["registry"], **probes()}, now=now)
    return {one.about: one for one in looked}


def tables(url: str) -> list[str]:
    with psycopg.connect(url) as connection:
        rows = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
    return sorted(str(row[0]) for row in rows)


@pytest.mark.parametrize("policies", [False, True])
def test_a_database_that_is_away_is_a_fault_with_and_without_policies_and_channels_are_looked_at_all_the_same(
    shop: Path, *, policies: bool
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as bound:
        port = bound.getsockname()[1]
    kept_at(shop, f"postgresql+psycopg://ada:hidden-7e1a@127.0.0.1:{port}/monitor")
    with (shop / "featurestore.toml").open("a") as file:
        file.write('[channels.ops]\nkind = "webhook"\nurl = "nowhere"\n')
    if policies:
        watched(shop)
    said = found(shop)
    assert said["monitor"].state is State.fault
    assert said["monitor"].what.endswith(f"port {port} failed: Connection refused.")
    assert said["monitor"].hint.startswith("Is the server running?")
    assert said["channel ops"].state is State.fault
    assert "hidden" not in str(said)


def test_no_file_of_sqlite_is_made(shop: Path) -> None:
    assert "monitor" not in found(shop)
    watched(shop)
    assert found(shop)["monitor"].what == "There are policies, and no monitor has ever run."
    assert not (shop / "data" / "monitor.db").exists()


def test_an_empty_database_on_a_server_is_left_empty(shop: Path, postgresql: str) -> None:
    kept_at(shop, postgresql.replace("://", "+psycopg://"))
    assert "monitor" not in found(shop)
    watched(shop)
    assert found(shop)["monitor"].what == "There are policies, and no monitor has ever run."
    assert tables(postgresql) == []


def test_a_daemon_that_works_and_one_that_does_no_more_are_told_of(shop: Path) -> None:
    now = datetime.now(UTC)
    with History(f"sqlite:///{shop}/data/monitor.db") as history:
        history.beat(host="here", pid=os.getpid(), started_at=now, now=now)
    assert (found(shop)["monitor"].state, found(shop)["monitor"].what) == (State.well, "there is no policy yet")
    watched(shop)
    assert found(shop, now=now)["monitor"].what == f"it works at here, process {os.getpid()}"
    late = found(shop, now=now + timedelta(days=1))["monitor"]
    assert (late.state, "No daemon works" in late.what) == (State.warning, True)


def test_a_database_of_an_older_release_is_told_of_and_left_as_it_is(shop: Path) -> None:
    watched(shop)
    file = shop / "data" / "monitor.db"
    History(f"sqlite:///{file}").close()
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute("UPDATE meta SET value = ? WHERE key = 'schema_version'", (str(schema.VERSION - 1),))
    said = found(shop)["monitor"]
    assert (said.state, f"has format {schema.VERSION - 1}" in said.what) == (State.warning, True)
    assert "featurestore upgrade" in said.hint
    with closing(sqlite3.connect(file)) as connection:
        (left,) = connection.execute("SELECT value FROM meta WHERE key = 'schema_version'").fetchone()
    assert left == str(schema.VERSION - 1)
