"""Signals and their events: one cause once, in order, and nothing of the past changes."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import event

from featurestore.errors import MonitorError
from featurestore.v1 import signals_pb2 as pb
from monitor.history import History
from monitor.retraining import store
from monitor.retraining.overview import current
from monitor.retraining.states import OF_RECEIVERS, SignalState, may_follow

_NOW = datetime(2026, 5, 1, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.fixture
def history(database: str) -> Iterator[History]:
    with History(database) as found:
        yield found


def cause(id_: str, service: str = "flight_delay@1") -> store.Cause:
    payload = {"id": id_, "project": "default", "service": service, "createdAt": "2026-05-01T00:00:00Z"}
    return store.Cause(
        id=id_,
        policy="flight_drift",
        policy_version=1,
        service=service,
        cause="drift",
        subject="k",
        baseline="delays@1",
        model="ridge@1",
        incident="k",
        payload=payload,
    )


def sent(history: History, id_: str = "a" * 32, service: str = "flight_delay@1") -> store.StoredSignal:
    with history.write() as connection:
        store.record_cause(connection, cause(id_, service), reason="new", now=_NOW)
        return store.move(
            connection, store.find_signal(connection, id_), SignalState.APPROVED, reason="drift", now=_NOW
        )


def test_a_cause_is_kept_once(history: History) -> None:
    with history.write() as connection:
        assert store.record_cause(connection, cause("a" * 32), reason="new", now=_NOW)
        assert not store.record_cause(connection, cause("a" * 32), reason="again", now=_NOW)
        assert [one.reason for one in store.signal_events(connection, every=True)] == ["new"]


def test_receivers_see_what_was_sent_and_go_on_from_any_cursor(history: History) -> None:
    sent(history)
    sent(history, "b" * 32, "fraud@2")
    with history.write() as connection:
        store.acknowledge(connection, "aaaaaa", SignalState.RUNNING, who="airflow", now=_NOW)
        seen = store.signal_events(connection)
        assert [(one.signal[0], one.state) for one in seen] == [("a", "approved"), ("b", "approved"), ("a", "running")]
        assert [one.payload["state"] for one in seen] == [
            "SIGNAL_STATE_APPROVED",
            "SIGNAL_STATE_APPROVED",
            "SIGNAL_STATE_RUNNING",
        ]
        assert [one.cursor for one in store.signal_events(connection, after=seen[0].cursor)] == [
            seen[1].cursor,
            seen[2].cursor,
        ]
        assert store.latest_cursor(connection) == seen[-1].cursor
        assert [one.signal[0] for one in store.signal_events(connection, services=["fraud"])] == ["b"]
        assert [one.signal[0] for one in store.signal_events(connection, services=["fraud@1"])] == []
        assert [one.signal[0] for one in store.signal_events(connection, services=["flight_delay@1"], limit=1)] == ["a"]
        assert [one.id[0] for one in store.list_signals(connection, services=["flight"])] == []


def test_an_acknowledgement_said_twice_is_said_once(history: History) -> None:
    sent(history)
    said = {"who": "airflow", "now": _NOW}
    with history.write() as connection:
        first = store.acknowledge(connection, "a" * 32, SignalState.ACCEPTED, **said)
        assert store.acknowledge(connection, "a" * 32, SignalState.ACCEPTED, **said) == first
        done = store.acknowledge(connection, "a" * 32, SignalState.DONE, dataset="delays@2", **said)
        assert store.acknowledge(connection, "a" * 32, SignalState.DONE, dataset="delays@2", **said) == done
        # Late, and out of order: what was said before was heard.
        assert store.acknowledge(connection, "a" * 32, SignalState.ACCEPTED, **said) == (SignalState.DONE, first[1])
        with pytest.raises(MonitorError, match="is done, and cannot become running"):
            store.acknowledge(connection, "a" * 32, SignalState.RUNNING, **said)
        # More to say of the same state is another event.
        more = store.acknowledge(connection, "a" * 32, SignalState.DONE, model="ridge@2", **said)
        assert more[1] == done[1] + 1
        with pytest.raises(MonitorError, match="cannot say that a signal is approved"):
            store.acknowledge(connection, "a" * 32, SignalState.APPROVED, **said)


def test_a_signal_is_found_by_a_beginning_that_no_other_has(history: History) -> None:
    sent(history, "abcdef" + "0" * 26)
    sent(history, "abcdef" + "1" * 26)
    with history.read() as connection:
        assert store.find_signal(connection, "ABCDEF0").id.endswith("0")
        with pytest.raises(MonitorError, match="There are several retraining signals"):
            store.find_signal(connection, "abcdef")
        for short in ("abc", "%"):
            with pytest.raises(MonitorError, match="is too short") as raised:
                store.find_signal(connection, short)
            assert "6 digits" in raised.value.hint
        for unknown in ("", "ffffff"):
            with pytest.raises(MonitorError, match="There is no retraining signal"):
                store.find_signal(connection, unknown)


def test_of_two_who_decide_at_once_one_does(history: History) -> None:
    signal = sent(history)
    with history.write() as connection:
        store.move(connection, signal, SignalState.ACCEPTED, reason="", now=_NOW)
        with pytest.raises(MonitorError, match="decided by somebody else"):
            store.move(connection, signal, SignalState.FAILED, reason="", now=_NOW)


def test_a_note_changes_no_state(history: History) -> None:
    sent(history)
    with history.write() as connection:
        cursor = store.note(connection, "a" * 32, who="monitor", reason="it helped", now=_NOW)
        event = store.signal_events(connection)[-1]
        assert (event.cursor, event.state, event.reason) == (cursor, SignalState.APPROVED, "it helped")


def test_the_newest_are_found_and_those_that_went_out_lately(history: History) -> None:
    with history.write() as connection:
        for number, day in enumerate((0, 200, 400)):
            id_ = f"{number}" * 32
            at = _NOW + timedelta(days=day)
            store.record_cause(connection, cause(id_), reason="new", now=at)
            if number:
                store.move(
                    connection, store.find_signal(connection, id_), SignalState.PENDING, reason="", now=at + DAY * 250
                )
        store.record_cause(connection, cause("9" * 32, "fraud@1"), reason="new", now=_NOW + DAY * 500)
        lately = store.list_signals(connection, since=_NOW + DAY * 600)
        newest = store.list_signals(connection, newest=2)
        assert ([one.id[0] for one in lately], [one.id[0] for one in newest]) == (["2"], ["2", "9"])
        assert [one.id[0] for one in store.list_signals(connection, newest=2, services=["flight_delay"])] == ["1", "2"]
        # What waits is shown however old it is.
        assert [one.id[0] for one in current(connection, newest=1)] == ["0", "1", "2", "9"]
        expired = store.find_signal(connection, "1" * 32)
        store.move(connection, expired, SignalState.EXPIRED, reason="", now=_NOW + DAY * 600)
        assert [one.id[0] for one in current(connection, newest=1)] == ["0", "2", "9"]


@pytest.mark.parametrize(
    "asked",
    [
        {"services": ["flight_delay"], "since": _NOW},
        {"states": [SignalState.HELD, SignalState.PENDING], "services": ["flight_delay"]},
        {"states": [SignalState.EXPIRED, SignalState.FAILED], "since": _NOW},
        {"newest": 100},
    ],
)
def test_what_is_asked_at_every_run_does_not_read_the_signals_of_years(tmp_path: Path, asked: dict[str, Any]) -> None:
    seen: list[tuple[str, Any]] = []
    with History(f"sqlite:///{tmp_path}/monitor.db") as history, history.read() as connection:
        event.listen(connection, "before_cursor_execute", lambda *given: seen.append((given[2], given[3])))
        store.list_signals(connection, **asked)
        ((statement, parameters),) = seen
        plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters).all()
    steps = [row[3] for row in plan]
    assert any("USING INDEX signals_" in one for one in steps)
    assert not any("TEMP B-TREE FOR ORDER BY" in one or one == "SCAN signals" for one in steps)


def test_every_state_that_is_told_has_a_name_on_the_wire() -> None:
    for state in SignalState:
        assert (state.wire == "SIGNAL_STATE_UNSPECIFIED") == (not state.told)
        if state.told:
            assert pb.SignalState.Value(state.wire) > 0


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(OF_RECEIVERS), st.sampled_from(["", "delays@2"])), max_size=12))
def test_whatever_receivers_say_and_however_often_the_events_tell_one_life(
    tmp_path_factory: pytest.TempPathFactory, said: list[tuple[SignalState, str]]
) -> None:
    with History(f"sqlite:///{tmp_path_factory.mktemp('life')}/monitor.db") as history:
        sent(history)
        for number, (state, dataset) in enumerate(said):
            for _ in range(2):
                with history.write() as connection:
                    try:
                        found, cursor = store.acknowledge(
                            connection,
                            "a" * 32,
                            state,
                            who="w",
                            dataset=dataset,
                            now=_NOW + timedelta(minutes=number),
                        )
                    except MonitorError:
                        continue
                    event = next(one for one in store.signal_events(connection) if one.cursor == cursor)
                    assert event.state is state
                    assert found is store.find_signal(connection, "a" * 32).state
        with history.read() as connection:
            events = store.signal_events(connection, every=True)
            last = store.find_signal(connection, "a" * 32).state
    assert [one.cursor for one in events] == list(range(1, len(events) + 1))
    assert events[-1].state is last
    for before, after in itertools.pairwise(events):
        assert before.state is after.state or may_follow(before.state, after.state)
    # What was said twice stands there once.
    told = [(one.state, one.reason, one.dataset) for one in events if one.state in OF_RECEIVERS]
    assert all(one != other for one, other in itertools.pairwise(told))
