"""The audit log: complete, and any hand laid on it shows."""

from __future__ import annotations

import ast
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import featurestore
from featurestore.definitions import Model, MonitorPolicy
from featurestore.errors import RegistryError
from featurestore.registry import Registry
from featurestore.registry.audit import ACTIONS
from featurestore.registry.migrating import open_database

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
    registry.record_model(Model(name="ridge", service="flight_delay", dataset="delays"), who="ada")
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


def test_what_was_done_to_an_object_is_also_what_was_done_with_its_rows(used: Registry) -> None:
    for table in ("weather-0f3a91c2b4d5", "Weather-0f3a91c2b4d5", "weather_2-0f3a91c2b4d5"):
        used.record_load(load_id="b", storage_id=table, table_version=1, rows_read=1, rows_written=1, author="ada")
    told = [(entry.action, entry.object) for entry in used.audit(object="weather")]
    assert told == [("apply", "weather@1"), ("apply", "weather@2"), ("ingest", "weather-0f3a91c2b4d5")]
    assert used.audit(object="Weather@1") == []


def test_the_log_can_be_filtered(used: Registry) -> None:
    assert [entry.object for entry in used.audit(object="weather", action="apply")] == ["weather@1", "weather@2"]
    assert [entry.object for entry in used.audit(object="weather@2")] == ["weather@2"]
    assert [entry.who for entry in used.audit(action="promote")] == ["bob", "bob"]
    assert len(used.audit(since=datetime.now(UTC) - timedelta(hours=1))) == len(used.audit())
    assert used.audit(since=datetime.now(UTC) + timedelta(hours=1)) == []
    third = used.audit()[2]
    assert [entry.sequence for entry in used.audit(until=third.at)] == []  # the first three are of one transaction
    assert [entry.sequence for entry in used.audit(since=third.at, limit=2)] == [14, 15]
    with pytest.raises(RegistryError, match='knows no action "promotes"') as raised:
        used.audit(action="promotes")
    assert raised.value.hint == 'Did you mean "promote"?'


def test_a_name_is_found_with_and_without_proof_and_no_other_name_is(registry: Registry) -> None:
    for who in ("ada", "ada@laptop (unverified)", "adam", "ada_2", "ad%"):
        registry.record("silence", "weather", {}, who=who)
    assert [entry.who for entry in registry.audit(who="ada")] == ["ada", "ada@laptop (unverified)"]
    assert [entry.who for entry in registry.audit(who="ad%")] == ["ad%"]


def test_an_entry_says_from_where_it_was_made_and_that_is_sealed(registry: Registry, url: str) -> None:
    registry.record("silence", "weather", {"until": "2024-05-01"}, who="ada")
    (entry,) = registry.audit()
    assert set(entry.origin) == {"host", "program"}
    assert all(entry.origin.values())
    assert entry.details == {"until": "2024-05-01"}
    database = open_database(url)
    with database.write() as connection:
        connection.exec_driver_sql("UPDATE audit SET details = replace(details, 'host', 'hast')")
    database.close()
    assert registry.verify_audit() == ["Entry 1 was edited."]


def test_another_part_enters_only_actions_that_the_log_knows(registry: Registry) -> None:
    with pytest.raises(RegistryError, match='knows no action "mute"'):
        registry.record("mute", "weather", {}, who="ada")
    assert registry.audit() == []


def test_every_action_that_the_code_enters_is_one_that_the_log_knows() -> None:
    package = Path(featurestore.__file__).parent
    entered = {
        keyword.value.value
        for file in package.rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Event"
        for keyword in node.keywords
        if keyword.arg == "action" and isinstance(keyword.value, ast.Constant)
    }
    assert entered <= set(ACTIONS)
    assert "apply" in entered


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
    database = open_database(url)
    with database.write() as connection:
        for statement in filter(str.strip, tampering.split(";")):
            connection.exec_driver_sql(statement)
    database.close()
    assert any(found.startswith(problem) for found in used.verify_audit())


def test_a_change_that_fails_leaves_no_entry(used: Registry) -> None:
    before = used.audit()
    with pytest.raises(RegistryError, match="cannot be kept as JSON"):
        used.record_dataset("delays", {"x": {1}}, who="ada")
    assert used.audit() == before
