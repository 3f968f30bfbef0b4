"""Actions in the monitor's database, on SQLite and on PostgreSQL alike."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.exc import IntegrityError

from featurestore.errors import MonitorError
from monitor.history import History
from monitor.rollback import ledger
from monitor.rollback.values import ActionState, Deed, Opened, Proposal
from tests import backends

NOW = datetime(2026, 5, 2, 3, tzinfo=UTC)
OPENED = Opened(
    incident=1, key="g-1", service="s@1", rule="null spike", since=NOW, window=timedelta(hours=1), judged=NOW
)
PROPOSAL = Proposal(
    deed=Deed.RESTORE_LOAD, target="view v", subject="restore_load:v:bad", summary="it is bad", details={"steps": []}
)


@pytest.fixture(params=backends.params("monitor", "sqlite", "postgresql"))
def history(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[History]:
    url = f"sqlite:///{tmp_path / 'monitor.db'}"
    if request.param == "postgresql":
        url = request.getfixturevalue("postgresql")
    with History(url) as history:
        yield history


def add(history: History, number: int = 1, **other: Any) -> Any:
    opened = replace(OPENED, incident=number, key=f"g-{number}")
    given: dict[str, Any] = {"policy": "p", "severity": "page", "channels": ["ops"], "held": "", "now": NOW}
    with history.write() as connection:
        return ledger.add(connection, opened, PROPOSAL, **(given | other))


def test_an_action_comes_back_as_it_was_written(history: History) -> None:
    action = add(history)
    assert (action.number, action.id, action.state, action.kind) == (1, "action-1", ActionState.BEGUN, PROPOSAL.deed)
    assert (action.channels, action.details, action.begun_at, action.ended_at) == (("ops",), {"steps": []}, NOW, None)
    with history.write() as connection:
        done = ledger.change(connection, action, ActionState.DONE, ended_at=NOW, details={"a": 1})
    assert (done.state, done.ended_at, done.details) == (ActionState.DONE, NOW, {"a": 1})
    with history.read() as connection:
        assert ledger.of_incident(connection, "g-1") == done
        assert ledger.of_incident(connection, "g-2") is None
        assert ledger.newest(connection, 5) == [done]
        assert ledger.in_state(connection, ActionState.DONE, ActionState.BEGUN) == [done]
        with pytest.raises(MonitorError, match="There is no action 9"):
            ledger.find(connection, 9)


def test_an_incident_has_no_second_action(history: History) -> None:
    add(history)
    with pytest.raises((MonitorError, IntegrityError)):
        add(history)


def test_what_was_only_said_is_not_counted_and_neither_is_what_is_a_day_old(history: History) -> None:
    add(history, 1, now=NOW - timedelta(days=1))
    add(history, 2, now=NOW - timedelta(hours=23))
    add(history, 3, held="it is not allowed")
    add(history, 4, policy="another")
    with history.read() as connection:
        assert ledger.done_in_a_day(connection, "p", NOW) == 1


def test_who_took_the_same_back_is_known(history: History) -> None:
    action = add(history)
    with history.write() as connection:
        assert ledger.undone_by(connection, PROPOSAL.subject) == ""
        ledger.change(connection, action, ActionState.UNDONE, undone_by="ada", undone_at=NOW)
        assert ledger.undone_by(connection, PROPOSAL.subject) == "ada"
        assert ledger.undone_by(connection, "another") == ""


@pytest.mark.parametrize(("rule", "again"), [("null spike", True), ("performance", False)])
def test_what_a_new_window_can_change_is_looked_at_again(history: History, rule: str, again: bool) -> None:
    opened = replace(OPENED, rule=rule)
    with history.write() as connection:
        assert not ledger.looked(connection, opened)
        for _ in range(2):
            ledger.note_look(connection, opened)
        assert ledger.looked(connection, opened)
        later = replace(opened, judged=NOW + timedelta(hours=1))
        assert ledger.looked(connection, later) is again
        assert not ledger.looked(connection, replace(opened, key="g-2"))
