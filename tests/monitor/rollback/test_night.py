"""A source breaks at night: the load, the windows, the incident, what is done about it, and the morning after."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from featurestore import FeatureStore
from featurestore.errors import FeatureStoreError, MonitorError
from monitor.cli import app
from monitor.history import History
from monitor.pipeline import run_once
from monitor.rollback import ActionState
from monitor.rollback.ledger import newest

from .conftest import POLICY, PORTS, SERVICE, WEATHER, Night

HOUR = timedelta(hours=1)
TOML = """
project = "shop"
[push]
flush_seconds = 1e6
[actions]
enabled = {enabled}
[channels.ops]
kind = "file"
path = "said.jsonl"
"""


def logged(store: FeatureStore, end: datetime, *, hours: int, missing: float, rows: int = 200) -> None:
    """Write what servers would have logged in some hours up to an instant."""
    random = np.random.default_rng(hours)
    instant = pa.timestamp("us", tz="UTC")
    count = hours * rows
    at = [end - hours * HOUR + hours * HOUR * (number / count) for number in range(count)]
    table = pa.table(
        {
            "request_id": [f"{end:%d%H}-{number}" for number in range(count)],
            "row": pa.array([0] * count, pa.int32()),
            "served_at": pa.array(at, instant),
            "service": ["flight_delay@1"] * count,
            "origin": random.choice(PORTS, count).tolist(),
            "temp": pa.array(random.normal(10, 3, count), mask=random.random(count) < missing),
            "wind": pa.array(random.exponential(5, count)),
            "weather__status": pa.array([1] * count, pa.int8()),
            "weather__event_timestamp": pa.array([one - HOUR for one in at], instant),
            "replay": [False] * count,
        }
    )
    log = store.config.path(store.config.serving.log_path)
    (log / "flight_delay").mkdir(parents=True, exist_ok=True)
    (log / "watermarks").mkdir(exist_ok=True)
    pq.write_table(table, log / "flight_delay" / f"w0-{end:%Y%m%d%H}.parquet")
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    mark = {"watermark": (end - epoch) // timedelta(microseconds=1), "closed": False}
    (log / "watermarks" / "w0.json").write_text(json.dumps(mark))


def trained(store: FeatureStore) -> None:
    """Make training data of a month, and its baseline."""
    random, start = np.random.default_rng(0), datetime(2026, 1, 1, tzinfo=UTC)
    rows = [
        {"origin": PORTS[number % 3], "temp": temp, "wind": wind, "event_timestamp": start + number * HOUR / 4}
        for number, (temp, wind) in enumerate(
            zip(random.normal(10, 3, 3000).tolist(), random.exponential(5, 3000).tolist(), strict=True)
        )
    ]
    store.ingest("weather", rows, load_id="history")
    asked = [{"origin": one["origin"], "event_timestamp": one["event_timestamp"]} for one in rows]
    store.create_training_dataset("delays", entity_df=asked, features="flight_delay")


@pytest.fixture
def broken(tmp_path: Path) -> Iterator[Night]:
    """Twenty good hours, a load without temperatures, and ten hours in which they were missing."""
    root = tmp_path / "shop"
    FeatureStore.init(root, project="shop").close()
    (root / "featurestore.toml").write_text(TOML.format(enabled="true"))
    policy = replace(POLICY, quality=False, skew=False, prediction_drift=False, average_run_length=2160)
    with FeatureStore(root) as store:
        store.apply([WEATHER, SERVICE, policy])
        trained(store)
        now = datetime.now(UTC)
        end = now.replace(minute=0, second=0, microsecond=0)
        with History(store.config.database_url(store.config.monitor.database)) as history:
            night = Night(store, history, now)
            night.bad_night()
            logged(store, end - 10 * HOUR, hours=20, missing=0.0)
            logged(store, end, hours=10, missing=0.6)
            yield night


def said(night: Night) -> list[str]:
    """Return the actions' messages by state."""
    with night.history.read() as connection:
        return [str(one.state) for one in newest(connection, 10)]


def call(night: Night, *arguments: str) -> str:
    result = CliRunner().invoke(app, [*arguments, "--repo", str(night.store.config.root)])
    if isinstance(result.exception, FeatureStoreError):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output


def test_a_source_breaks_at_night_and_in_the_morning_all_is_well(broken: Night) -> None:
    night = broken
    assert night.served() == [None, None, 99.0]
    run_once(night.store, night.history, night.policy, now=datetime.now(UTC))
    with night.history.read() as connection:
        (incident,) = night.history.open_incidents(connection)
        (action,) = newest(connection, 10)
    assert [one.rule for one in incident.members][:1] == ["null spike"]
    assert (action.state, action.target, action.incident_number) == (ActionState.DONE, "view weather", incident.number)
    assert action.details["steps"] == [{"view": "weather", "last_good": "good", "loads": ["bad"]}]
    # As of the last good load, with what was pushed since.
    assert night.served() == [10.0, 10.01, 99.0]
    assert [what for what, _ in night.told(incident.number)].count("action") == 1

    run_once(night.store, night.history, night.policy, now=datetime.now(UTC))
    assert said(night) == ["done"]

    listed = call(night, "actions")
    assert "done  view weather" in listed
    assert "take it back: featurestore monitor undo 1" in listed
    assert "it has action 1, which is done, and gets no other" in call(night, "actions", "--dry-run")
    undone = call(night, "undo", "1", "--reason", "it was right")
    assert "The monitor will not do the same again by itself." in undone
    assert night.served() == [None, None, 99.0]
    assert said(night) == ["undone"]
    with pytest.raises(MonitorError, match="Action 1 is undone"):
        call(night, "undo", "1")


def test_without_leave_the_night_is_told_and_nothing_is_done(broken: Night) -> None:
    night = broken
    night.allow(enabled=False)
    root = night.store.config.root
    (root / "featurestore.toml").write_text(TOML.format(enabled="false"))
    assert "No incident is open" in call(night, "actions", "--dry-run")
    assert "has done nothing by itself" in call(night, "actions")
    run_once(night.store, night.history, night.policy, now=datetime.now(UTC))
    assert night.served() == [None, None, 99.0]
    assert said(night) == ["proposed"]
    found = json.loads(call(night, "actions", "--format", "json"))
    assert [(one["state"], one["held"]) for one in found] == [
        ("proposed", "featurestore.toml does not allow it: [actions] enabled = true")
    ]


def test_a_dry_run_says_what_would_be_done_and_changes_nothing(broken: Night) -> None:
    night = broken
    night.store.registry.apply([replace(night.policy.definition, actions=[])], who="tests")
    run_once(night.store, night.history, night.policy, now=datetime.now(UTC))
    assert said(night) == ["proposed"]
    with night.history.write() as connection:  # as if the run had died before it came to actions
        connection.exec_driver_sql("DELETE FROM actions")
    held = call(night, "actions", "--dry-run")
    assert 'would be said, not done, as the policy does not allow it: actions=["restore_load"]: load bad' in held
    night.store.registry.apply([replace(night.policy.definition, actions=["restore_load"])], who="tests")
    found = call(night, "actions", "--dry-run", "--format", "json")
    (row,) = [one for one in json.loads(found) if one["rule"] == "null spike"]
    assert (row["action"], row["held"]) == ("restore_load", "")
    assert row["text"].startswith("would be done: load bad of view weather")
    assert night.served() == [None, None, 99.0]
    assert said(night) == []
