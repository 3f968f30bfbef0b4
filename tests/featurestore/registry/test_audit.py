"""The audit log: complete, and any hand laid on it shows."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest

from featurestore.definitions import MonitorPolicy
from featurestore.errors import RegistryError
from featurestore.registry import Registry

Build = Callable[..., MonitorPolicy]


#: Entries 3 and 4 change places, by way of numbers that are free.
SWAP = """
UPDATE audit SET sequence = -sequence WHERE sequence IN (3, 4);
UPDATE audit SET sequence = 7 + sequence WHERE sequence < 0;
"""


@pytest.fixture
def used(registry: Registry, policy: Build) -> Registry:
    """Return a registry in which each kind of change was made once."""
    registry.apply([policy()], who="ada")
    registry.promote("flight_delay", who="bob")
    registry.apply([policy(ttl=None)], who="ada")
    registry.promote("flight_delay", who="bob")
    registry.rollback("flight_delay", who="bob")
    registry.record_load(
        load_id="a", storage_id="weather-1", table_version=1, rows_read=1, rows_written=1, author="ada"
    )
    registry.record_materialization("weather-1", 1, datetime(2013, 1, 1, tzinfo=UTC), {"read": 1}, who="ada")
    registry.record_dataset("delays", {}, who="ada")
    registry.record_model("ridge", service="flight_delay", dataset="delays", who="ada")
    return registry


def test_every_change_is_in_the_log(used: Registry) -> None:
    actions = [entry.action for entry in used.audit()]
    assert actions == ["apply"] * 5 + ["promote"] + ["apply"] * 3 + ["promote", "rollback"] + [
        "ingest",
        "materialize",
        "dataset",
        "model",
    ]
    assert [entry.sequence for entry in used.audit()] == list(range(1, len(actions) + 1))
    assert used.verify_audit() == []


def test_the_log_can_be_filtered(used: Registry) -> None:
    assert [entry.object for entry in used.audit(object="weather", action="apply")] == ["weather@1", "weather@2"]
    assert [entry.object for entry in used.audit(object="weather@2")] == ["weather@2"]
    assert [entry.who for entry in used.audit(action="promote")] == ["bob", "bob"]
    assert len(used.audit(since=datetime.now(UTC) - timedelta(hours=1))) == len(used.audit())
    assert used.audit(since=datetime.now(UTC) + timedelta(hours=1)) == []


@pytest.mark.parametrize(
    ("tampering", "problem"),
    [
        ("UPDATE audit SET who = 'eve' WHERE sequence = 3", "Entry 3 was edited."),
        ("UPDATE audit SET at = at + 1 WHERE sequence = 3", "Entry 3 was edited."),
        ("UPDATE audit SET details = '{}' WHERE sequence = 3", "Entry 3 was edited."),
        ("UPDATE audit SET hash = previous_hash WHERE sequence = 3", "Entry 3 was edited."),
        ("DELETE FROM audit WHERE sequence = 3", "Entry 3 is missing."),
        ("DELETE FROM audit WHERE sequence < 3", "Entries 1 to 2 are missing."),
        ("DELETE FROM audit WHERE sequence > 13", "Entries 14 to 15 are missing."),
        ("DELETE FROM audit", "Entries 1 to 15 are missing."),
        ("DELETE FROM projects", "The head of the log is missing."),
        ("UPDATE projects SET audit_hash = 'x'", "The log ends in entry 15, which is not the head"),
        (
            SWAP,
            "Entry 3 does not follow entry 2",
        ),
    ],
)
def test_tampering_is_found(used: Registry, url: str, tampering: str, problem: str) -> None:
    with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection:
        connection.executescript(tampering)
    assert any(found.startswith(problem) for found in used.verify_audit())


def test_a_change_that_fails_leaves_no_entry(used: Registry) -> None:
    before = used.audit()
    with pytest.raises(RegistryError, match="cannot be kept as JSON"):
        used.record_dataset("delays", {"x": {1}}, who="ada")
    assert used.audit() == before
