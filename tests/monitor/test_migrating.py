"""A database of an earlier release opens and goes on."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import inspect, select

from featurestore.errors import MonitorError
from featurestore.types import microseconds
from monitor import migrating, schema
from monitor.alerts.base import Kind
from monitor.alerts.dispatching import dispatch
from monitor.alerts.states import Alert, State, alert_key
from monitor.history import History, Watch
from monitor.pipeline import run_once
from monitor.status import status
from monitor.windows import Position
from tests.forking import Forked

#: The tables of version 1, as SQLite had them.
VERSION_1 = """
CREATE TABLE meta ("key" VARCHAR NOT NULL, value VARCHAR NOT NULL, PRIMARY KEY ("key"));
CREATE TABLE windows (policy VARCHAR NOT NULL, policy_version INTEGER NOT NULL, service VARCHAR NOT NULL,
    window_start BIGINT NOT NULL, window_end BIGINT NOT NULL, baseline VARCHAR NOT NULL, rows BIGINT NOT NULL,
    profile BLOB NOT NULL, verdict VARCHAR NOT NULL, decision TEXT NOT NULL, decided_at BIGINT NOT NULL,
    PRIMARY KEY (policy, policy_version, service, window_start));
CREATE TABLE detectors (policy VARCHAR NOT NULL, policy_version INTEGER NOT NULL, service VARCHAR NOT NULL,
    baseline VARCHAR NOT NULL, state TEXT NOT NULL, next_start BIGINT,
    PRIMARY KEY (policy, policy_version, service));
CREATE TABLE incidents ("key" VARCHAR NOT NULL, policy VARCHAR NOT NULL, service VARCHAR NOT NULL,
    state VARCHAR NOT NULL, episode INTEGER NOT NULL, onset BIGINT, span INTEGER NOT NULL, quiet INTEGER NOT NULL,
    PRIMARY KEY ("key"));
CREATE TABLE outbox (id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, "key" VARCHAR NOT NULL, channel VARCHAR NOT NULL,
    kind VARCHAR NOT NULL, project VARCHAR NOT NULL, service VARCHAR NOT NULL, incident VARCHAR NOT NULL,
    episode INTEGER NOT NULL, payload TEXT NOT NULL, created_at BIGINT NOT NULL, attempts INTEGER NOT NULL,
    next_at BIGINT NOT NULL, delivered_at BIGINT, dead_at BIGINT, last_error VARCHAR NOT NULL, UNIQUE ("key"));
CREATE INDEX outbox_open ON outbox (delivered_at, dead_at, id);
CREATE TABLE signals (id VARCHAR NOT NULL, policy VARCHAR NOT NULL, service VARCHAR NOT NULL,
    baseline VARCHAR NOT NULL, incident VARCHAR NOT NULL, payload TEXT NOT NULL, created_at BIGINT NOT NULL,
    PRIMARY KEY (id));
CREATE TABLE heartbeats (id INTEGER NOT NULL, host VARCHAR NOT NULL, pid INTEGER NOT NULL,
    started_at BIGINT NOT NULL, beat_at BIGINT NOT NULL, PRIMARY KEY (id));
INSERT INTO meta VALUES ('schema_version', '1'), ('instance', 'old');
"""

#: The tables of version 2 that differ from those of version 1, as SQLite had them.
VERSION_2 = """
DROP TABLE windows;
DROP TABLE detectors;
DROP TABLE incidents;
CREATE TABLE windows (policy VARCHAR NOT NULL, policy_version INTEGER NOT NULL, service VARCHAR NOT NULL,
    slice VARCHAR NOT NULL, window_start BIGINT NOT NULL, window_offset BIGINT NOT NULL, window_end BIGINT NOT NULL,
    stop_at BIGINT NOT NULL, stop_offset BIGINT NOT NULL, baseline VARCHAR NOT NULL, rows BIGINT NOT NULL,
    late_rows BIGINT NOT NULL, profile BLOB NOT NULL, verdict VARCHAR NOT NULL, decision TEXT NOT NULL,
    decided_at BIGINT NOT NULL,
    PRIMARY KEY (policy, policy_version, service, slice, window_start, window_offset));
CREATE TABLE streams (policy VARCHAR NOT NULL, policy_version INTEGER NOT NULL, service VARCHAR NOT NULL,
    baseline VARCHAR NOT NULL, next_start BIGINT, next_offset BIGINT NOT NULL,
    PRIMARY KEY (policy, policy_version, service));
CREATE TABLE detectors (policy VARCHAR NOT NULL, policy_version INTEGER NOT NULL, service VARCHAR NOT NULL,
    slice VARCHAR NOT NULL, subject VARCHAR NOT NULL, baseline VARCHAR NOT NULL, state TEXT NOT NULL,
    PRIMARY KEY (policy, policy_version, service, slice, subject));
CREATE TABLE checks (policy VARCHAR NOT NULL, policy_version INTEGER NOT NULL, service VARCHAR NOT NULL,
    subject VARCHAR NOT NULL, at BIGINT NOT NULL, verdict VARCHAR NOT NULL, findings TEXT NOT NULL,
    decided_at BIGINT NOT NULL, PRIMARY KEY (policy, policy_version, service, subject, at));
CREATE TABLE incidents ("key" VARCHAR NOT NULL, policy VARCHAR NOT NULL, service VARCHAR NOT NULL,
    rule VARCHAR NOT NULL, slice VARCHAR NOT NULL, state VARCHAR NOT NULL, episode INTEGER NOT NULL, onset BIGINT,
    span INTEGER NOT NULL, held INTEGER NOT NULL, quiet INTEGER NOT NULL, PRIMARY KEY ("key"));
UPDATE meta SET value = '2' WHERE "key" = 'schema_version';
"""

_START = datetime(2013, 7, 1, tzinfo=UTC)
_KEY = alert_key("default", "", "flight_delay@1", "flight_drift/drift")


def told_of(connection: sqlite3.Connection, episode: int) -> None:
    """Write that channel ops was told of an alert, as the releases before version 3 did."""
    payload = json.dumps(
        {"incident": _KEY, "service": "flight_delay@1", "summary": "it drifted", "severity": "ticket", "features": []}
    )
    connection.execute(
        "INSERT INTO outbox VALUES (NULL, 'msg_1', 'ops', 'featurestore.v1.alert.firing', 'default', "
        "'flight_delay@1', ?, ?, ?, ?, 1, ?, ?, NULL, '')",
        (_KEY, episode, payload, microseconds(_START), microseconds(_START), microseconds(_START)),
    )


def made_by_the_first_release(file: Path) -> sqlite3.Connection:
    file.parent.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(file)
    connection.executescript(VERSION_1)
    return connection


@pytest.fixture
def old(scene: Any) -> Any:
    """A scene that the first release watched for three days, with an alert that fires."""
    dataset = scene.train()
    scene.serve_days(0, 3)
    with made_by_the_first_release(scene.config.path("data/monitor.db")) as connection:
        for day in range(3):
            start = _START + timedelta(days=day)
            connection.execute(
                "INSERT INTO windows VALUES ('flight_drift', 1, 'flight_delay@1', ?, ?, ?, 200, ?, 'drift', ?, 0)",
                (
                    microseconds(start),
                    microseconds(start + timedelta(days=1)),
                    dataset,
                    b"PAR1",
                    json.dumps({"evidence": None, "findings": []}),
                ),
            )
        connection.execute(
            "INSERT INTO detectors VALUES ('flight_drift', 1, 'flight_delay@1', ?, ?, ?)",
            (dataset, json.dumps({"limits": "0" * 16, "windows": 3}), microseconds(_START + timedelta(days=3))),
        )
        connection.execute(
            "INSERT INTO incidents VALUES (?, 'flight_drift', 'flight_delay@1', 'firing', 1, ?, 1, 0)",
            (_KEY, microseconds(_START)),
        )
        told_of(connection, 1)
    connection.close()
    return scene


@pytest.fixture
def second(scene: Any) -> Any:
    """A scene that the second release watched, with an alert that fires for the third time and has been quiet once."""
    scene.train()
    with made_by_the_first_release(scene.config.path("data/monitor.db")) as connection:
        connection.executescript(VERSION_2)
        connection.execute(
            "INSERT INTO incidents VALUES (?, 'flight_drift', 'flight_delay@1', 'drift', '', 'firing', 3, ?, 2, 0, 1)",
            (_KEY, microseconds(_START)),
        )
        connection.execute(
            "INSERT INTO incidents VALUES ('over', 'flight_drift', 'flight_delay@1', 'null spike', '', 'resolved', 1, "
            "NULL, 1, 0, 3)",
        )
        told_of(connection, 3)
    connection.close()
    return scene


def test_an_alert_that_fires_gets_the_incident_that_people_were_told_of(second: Any) -> None:
    with second.history() as history, history.read() as connection:
        (incident,) = history.open_incidents(connection)
        assert (incident.number, incident.key, incident.severity) == (1, f"{_KEY}-3", "ticket")
        (member,) = incident.members
        assert (member.alert, member.episode, member.rule, member.state) == (_KEY, 3, "drift", State.RECOVERING)
        assert [one.channel for one in incident.told] == ["ops"]
        assert history.alerts(connection, Watch(policy="flight_drift", policy_version=1, service="flight_delay@1"))[
            "drift"
        ] == Alert(key=_KEY, state=State.RECOVERING, episode=3, onset=_START, span=2, quiet=1)
        assert history.incident_of(connection, "over") is None


def test_who_was_told_by_the_release_before_hears_that_it_is_over(second: Any) -> None:
    second.serve_days(0, 5)
    now = datetime(2026, 5, 1, tzinfo=UTC)
    with second.history() as history:
        run_once(second, history, second.policy, now=now)
        dispatch(history, second.config, now=now)
        with history.read() as connection:
            rows = connection.execute(select(schema.outbox).order_by(schema.outbox.c.id)).all()
    assert [(row.incident, row.channel, row.kind) for row in rows] == [
        (f"{_KEY}-3", "ops", Kind.FIRING),
        (f"{_KEY}-3", "ops", Kind.RESOLVED),
    ]
    assert "is back" in json.loads(rows[1].payload)["summary"]


def test_the_monitor_goes_on_where_the_first_release_stood(old: Any) -> None:
    old.serve_days(3, 4)
    with old.history() as history:
        assert history.instance == "old"
        (report,) = run_once(old, history, old.policy, now=datetime(2026, 5, 1, tzinfo=UTC)).services
        # The old detector's state cannot be read: it begins anew. The alert goes on, and ends.
        assert (report.windows, report.state, report.resolved) == (4, State.RESOLVED, 1)
        (found,) = status(history, [old.policy], watermark=None, replay="")["policies"][0]["services"]
        assert (found["windows"], found["rows"], found["last_window"]) == (7, 1400, "2013-07-07T00:00:00+00:00")


def test_every_row_is_there_after_it(old: Any) -> None:
    with old.history() as history, history.read() as connection:
        assert migrating.found_tables(connection).version == schema.VERSION
        rows = connection.execute(select(schema.windows).order_by(schema.windows.c.window_start)).all()
        assert [(row.slice, row.window_offset, row.late_rows) for row in rows] == [("", 0, 0)] * 3
        assert all(row.stop_at == row.window_end for row in rows)
        (detector,) = connection.execute(select(schema.detectors)).all()
        assert (detector.slice, detector.subject) == ("", "features")
        (stream,) = connection.execute(select(schema.streams)).all()
        assert Position(_START + timedelta(days=3)) == Position(
            datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=stream.next_start), stream.next_offset
        )
        (alert,) = connection.execute(select(schema.alerts)).all()
        assert (alert.rule, alert.slice, alert.held) == ("drift", "", 0)


@pytest.mark.parametrize("release", ["old", "second"])
def test_a_migrated_database_has_the_tables_of_a_new_one(
    release: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    scene = request.getfixturevalue(release)

    def shape(history: History) -> dict[str, Any]:
        with history.read() as connection:
            found = inspect(connection)
            return {
                name: (
                    {column["name"]: column["nullable"] for column in found.get_columns(name)},
                    found.get_pk_constraint(name)["constrained_columns"],
                )
                for name in sorted(found.get_table_names())
                if not name.startswith("sqlite_")
            }

    with scene.history() as migrated, History(f"sqlite:///{tmp_path}/new.db") as new:
        assert shape(migrated) == shape(new)


#: What version 4 added to those of version 3, the first that was on servers too, taken away again.
VERSION_3 = """
DROP INDEX signals_state;
DROP INDEX signals_sent;
DROP INDEX signals_noted;
CREATE INDEX signals_state ON signals (state, service);
UPDATE meta SET value = '3' WHERE "key" = 'schema_version';
"""


def test_a_database_on_a_server_is_brought_up_to_date_by_the_upgrade_alone(postgresql: str) -> None:
    url = postgresql.replace("postgresql://", "postgresql+psycopg://")

    def indexes(history: History) -> list[tuple[str, list[str]]]:
        with history.read() as connection:
            return sorted((one["name"], one["column_names"]) for one in inspect(connection).get_indexes("signals"))

    with History(url) as new:
        expected, instance = indexes(new), new.instance
    with psycopg.connect(postgresql) as server:
        server.execute(VERSION_3)
    with pytest.raises(MonitorError, match="featurestore upgrade"):
        History(url)
    with History(url, upgrade=True) as upgraded:
        assert (indexes(upgraded), upgraded.instance) == (expected, instance)
    with History(url) as again, again.read() as connection:
        assert migrating.found_tables(connection).version == schema.VERSION


def test_it_is_migrated_once_by_several_processes(old: Any) -> None:
    code = "import sys; from monitor.history import History; print(History(sys.argv[1]).instance)"
    url = old.config.database_url(old.config.monitor.database)
    started = [
        Forked([sys.executable, "-c", code, url], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    said = [process.communicate(timeout=120) for process in started]
    assert [out.strip() for out, _ in said] == ["old"] * 3, said


def test_every_version_has_a_step() -> None:
    assert sorted(migrating._STEPS) == list(range(2, schema.VERSION + 1))
