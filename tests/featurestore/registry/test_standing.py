"""What is registered is what the log says: an edited table contradicts it, though no entry was touched."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from sqlalchemy import create_engine, text

from featurestore.definitions import MonitorPolicy
from featurestore.registry import Registry

Build = Callable[..., MonitorPolicy]


@pytest.fixture
def used(registry: Registry, policy: Build) -> Registry:
    """Two versions, one of them promoted, a canary with a share; something removed and brought back."""
    registry.apply([policy()], who="ada")
    registry.promote("flight_delay@1", who="ada")
    registry.apply([policy(ttl=None)], who="ada")
    registry.promote("flight_delay@2", who="ada")
    registry.rollback("flight_delay", who="ada")
    registry.promote("flight_delay@2", alias="canary", share=0.05, who="ada")
    registry.promote("flight_delay@2", alias="canary", share=0.1, who="ada")
    registry.remove("watch", who="ada")
    registry.apply([policy()], who="ada")
    registry.remove("watch", who="ada")
    return registry


def test_what_was_done_with_the_commands_contradicts_nothing(used: Registry) -> None:
    assert used.verify_audit() == []


@pytest.mark.parametrize(
    ("statement", "problem"),
    [
        ("UPDATE versions SET spec = replace(spec, 'temp - hour', 'temp + hour')", "chill@1 is not what was applied"),
        ("UPDATE versions SET content_hash = 'x' WHERE name = 'airport'", "airport@1 is not what was applied"),
        ("UPDATE versions SET spec = '{' WHERE name = 'watch'", "watch@1 is not what was applied"),
        ("DELETE FROM versions WHERE name = 'weather' AND version = 2", "weather@2 was applied, and is not registered"),
        ("UPDATE aliases SET version = 2 WHERE alias = 'production'", 'alias "production" of service "flight_delay"'),
        ("UPDATE aliases SET share = 1 WHERE alias = 'canary'", 'alias "canary" of service "flight_delay"'),
        ("DELETE FROM aliases WHERE alias = 'canary'", 'alias "canary" of service "flight_delay" is gone'),
        ("UPDATE objects SET removed_at = NULL", '"watch" is not at the version where the log left it'),
        ("UPDATE objects SET current_version = 2 WHERE name = 'weather'", '"weather" is not at the version'),
    ],
)
def test_an_edited_table_is_found(used: Registry, url: str, statement: str, problem: str) -> None:
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text(statement))
    engine.dispose()
    assert any(problem in found for found in used.verify_audit()), used.verify_audit()
