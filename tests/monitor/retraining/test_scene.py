"""From drift to a dataset: what is broken is left out, and what is made twice is the same."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from google.protobuf import json_format
from sqlalchemy import select

from featurestore import BaselineSource, RetrainingPolicy
from featurestore.errors import MonitorError
from featurestore.registry.signing import PrivateKey, generate
from featurestore.settings.signals import SignalsConfig
from featurestore.v1 import signals_pb2 as pb
from monitor.alerts.base import Kind
from monitor.alerts.states import Alert, State
from monitor.history import History, Watch
from monitor.pipeline import run_once
from monitor.pipeline.left_behind import close_left_behind
from monitor.retraining import episodes
from monitor.retraining import store as signals
from monitor.retraining.asking import ask, decide, hears
from monitor.retraining.dataset import make_dataset
from monitor.retraining.request import dataset_of
from monitor.retraining.review import Reviewer
from monitor.retraining.states import SignalState
from monitor.schema import outbox

START = datetime(2013, 7, 1, tzinfo=UTC)
NOW = datetime(2013, 7, 12, 6, tzinfo=UTC)
DAY, HOUR = timedelta(days=1), timedelta(hours=1)
WATCH = Watch(policy="another", policy_version=1, service="flight_delay@1")


def run(scene: Any, *, now: datetime = NOW) -> int:
    with scene.history() as history:
        report = run_once(scene, history, scene.policy, now=now)
    return sum(one.signals for one in report.services)


def messages(scene: Any) -> list[tuple[str, dict[str, Any]]]:
    with scene.history() as history, history.read() as connection:
        rows = connection.execute(
            select(outbox.c.channel, outbox.c.payload).where(outbox.c.kind == Kind.RETRAINING).order_by(outbox.c.id)
        ).all()
    return [(row.channel, json.loads(row.payload)) for row in rows]


def fault(scene: Any, onset: datetime, end: datetime | None, *, key: str = "k", **about: Any) -> None:
    values = {"service": "flight_delay@1", "rule": "null spike", "features": ["temp"], "views": ["weather"]} | about
    with scene.history() as history, history.write() as connection:
        episodes.fires(
            connection, WATCH, alert=key, episode=1, fault=True, incident="i-1", name="12", onset=onset, **values
        )
        if end is not None:
            episodes.ends(connection, key, end)


def the_signal(scene: Any) -> signals.StoredSignal:
    with scene.history() as history, history.read() as connection:
        (found,) = signals.list_signals(connection)
    return found


def drifted(scene: Any, **rules: Any) -> None:
    """Watch four quiet days and eight with another weather."""
    scene.apply(retrain=RetrainingPolicy(history=timedelta(days=11), **rules))
    scene.train(model="ridge")
    scene.serve_days(0, 4)
    scene.serve_days(4, 7, shift=1.5)


def test_drift_asks_for_a_dataset_without_what_was_broken_and_makes_it_twice_alike(scene: Any) -> None:
    drifted(scene)
    fault(scene, START + 2 * DAY, START + 3 * DAY)
    # Seen by another service's policy, of a view that this one reads; and one of views that it does not.
    fault(scene, START + 5 * DAY, START + 5 * DAY + timedelta(hours=6), key="l", service="other@1")
    fault(scene, START + 6 * DAY, START + 7 * DAY, key="m", service="other@1", views=["planes"])
    assert run(scene) == 1
    ((channel, payload),) = messages(scene)
    told = json_format.ParseDict(payload, pb.RetrainingSignal())
    assert (channel, told.state, told.cause) == ("ops", pb.SIGNAL_STATE_APPROVED, "drift")
    assert (told.baseline, told.model) == ("delays@1", "ridge@1")
    assert [one.feature for one in told.features][:1] == ["temp"]
    request = told.request
    assert (request.service, request.dataset) == ("flight_delay@1", "delays")
    assert dict(request.definitions) == {
        "service flight_delay": "flight_delay@1",
        "view weather": "weather@1",
        "on-demand view warmth": "warmth@1",
    }
    assert [one.reason for one in request.left_out] == [
        "incident 12 (null spike of temp) of flight_delay@1",
        "incident 12 (null spike of temp) of other@1",
    ]
    assert {one.name: one.text for one in told.commands} == {
        "dataset": f"featurestore monitor dataset {told.id[:12]}",
        "signal": f"featurestore monitor signal {told.id[:12]}",
    }
    with scene.history() as history:
        first = make_dataset(scene, history, told.id[:12], who="tests", now=NOW)
        # What comes later changes nothing.
        scene.serve_days(11, 2, shift=1.5)
        second = make_dataset(scene, history, told.id, who="tests", now=NOW)
        with history.read() as connection:
            events = signals.signal_events(connection, every=True)
    assert (first.dataset.id, second.dataset.id, second.before, second.same) == (
        "delays@2",
        "delays@3",
        "delays@2",
        True,
    )
    assert first.dataset.manifest["content_hash"] == second.dataset.manifest["content_hash"]
    assert [one.dataset for one in events] == ["", "", "delays@2", "delays@3"]
    at = pq.read_table(first.dataset.path).column("event_timestamp")
    # Eleven days of 200 rows, up to where they were judged, less a day and a quarter of one that were broken.
    since, until = request.since.ToDatetime(UTC), request.until.ToDatetime(UTC)
    assert (since, until) == (START, START + 11 * DAY)
    assert since <= pc.min(at).as_py() <= pc.max(at).as_py() < until
    for gap in request.left_out:
        start, end = gap.since.ToDatetime(UTC), gap.until.ToDatetime(UTC)
        assert not any(start <= one < end for one in at.to_pylist())
    assert len(at) == 11 * 200 - 200 - 50


def test_nothing_goes_out_while_something_is_broken_and_it_says_why(scene: Any) -> None:
    drifted(scene)
    fault(scene, START + 2 * DAY, None)
    assert run(scene) == 0
    assert messages(scene) == []
    signal = the_signal(scene)
    assert signal.state is SignalState.HELD
    assert signal.held == "incident 12 (null spike of temp) of flight_delay@1 is open: a model would learn the fault"
    # By hand neither.
    with scene.history() as history:
        asked = ask(scene, history, "flight_delay", reason="the fares", who="ada", now=NOW + HOUR)
        assert (asked.state, asked.held) == (SignalState.HELD, signal.held)
        with history.read() as connection:
            assert signals.signal_events(connection) == []
            reasons = [one.reason for one in signals.signal_events(connection, every=True, signal=signal.id)]
        assert reasons == ["not looked at yet", signal.held]
        with history.write() as connection:
            episodes.ends(connection, "k", START + 3 * DAY)
    # Both causes still stand. What a person asks for need not wait, so it goes first; one training is enough for a day.
    assert run(scene) == 1
    assert the_states(scene) == {"drift": "held", "request": "approved"}


@pytest.mark.parametrize(
    ("section", "policy", "heard"),
    [
        ({}, "flight_drift", True),
        ({}, "", False),
        ({"port": 6577}, "", True),
        ({"command": ["train"]}, "", True),
    ],
)
def test_who_asks_is_told_where_nobody_hears_of_it(
    scene: Any, section: dict[str, Any], policy: str, heard: bool
) -> None:
    scene.apply()
    cause = signals.Cause(
        id="0" * 32, policy=policy, policy_version=1, service="flight_delay@1", cause="request", subject="s",
        baseline="", model="", incident="", payload={"id": "0" * 32, "reason": "why", "createdAt": ""},
    )  # fmt: skip
    with scene.history() as history:
        with history.write() as connection:
            signals.record_cause(connection, cause, reason="new", now=NOW)
        (signal,) = _listed(history)
    config = scene.config.model_copy(update={"signals": SignalsConfig(**section)})
    assert hears(replace(scene, config=config), signal) is heard


def the_states(scene: Any) -> dict[str, str]:
    with scene.history() as history, history.read() as connection:
        return {one.cause: str(one.state) for one in signals.list_signals(connection)}


def test_a_cause_that_is_gone_before_the_fault_is_lapses_and_says_so(scene: Any) -> None:
    drifted(scene)
    fault(scene, START + 2 * DAY, None)
    run(scene)
    scene.serve_days(11, 8)
    assert run(scene, now=NOW + 9 * DAY) == 0
    with scene.history() as history, history.write() as connection:
        episodes.ends(connection, "k", START + 3 * DAY)
    assert run(scene, now=NOW + 9 * DAY) == 0
    signal = the_signal(scene)
    assert signal.state is SignalState.LAPSED
    with scene.history() as history, history.read() as connection:
        assert signals.signal_events(connection, every=True)[-1].reason == "what asked for it is over"


def test_a_model_that_was_trained_meanwhile_is_what_was_asked_for(scene: Any) -> None:
    drifted(scene)
    fault(scene, START + 2 * DAY, None)
    run(scene)
    scene.train("newer", model="ridge")
    with scene.history() as history, history.write() as connection:
        episodes.ends(connection, "k", START + 3 * DAY)
    run(scene)
    with scene.history() as history, history.read() as connection:
        first = signals.list_signals(connection)[0]
        said = signals.signal_events(connection, every=True, signal=first.id)[-1]
    assert (first.state, said.reason) == (SignalState.LAPSED, "ridge@2 was trained meanwhile")


@pytest.fixture
def people(scene: Any) -> Any:
    """A scene in which two people are known, and signals need approval."""
    for name in ("ada", "bob"):
        key = PrivateKey(generate(), name).public
        scene.registry.add_identity(name, key, who="ada" if name == "bob" else "tests")
    drifted(scene, approval=True, approval_routes=["here"], expires_after=2 * DAY)
    assert run(scene) == 1
    return scene


def decided(scene: Any, *, approve: bool, who: str, now: datetime = NOW, reason: str = "it is so") -> SignalState:
    with scene.history() as history:
        with history.read() as connection:
            (signal,) = signals.list_signals(connection)
        return decide(scene, history, signal.id[:8], approve=approve, reason=reason, who=who, now=now).state


def test_until_a_person_agrees_nothing_approved_leaves_and_one_message_asks(people: Any) -> None:
    ((channel, payload),) = messages(people)
    assert (channel, payload["state"]) == ("here", "SIGNAL_STATE_PENDING")
    assert [one["name"] for one in payload["commands"]] == ["approve", "reject", "request", "signal"]
    assert payload["expiresAt"] == "2013-07-14T06:00:00Z"
    signal = the_signal(people)
    with people.history() as history, pytest.raises(MonitorError, match="is pending, and no dataset is made of it"):
        make_dataset(people, history, signal.id, who="tests", now=NOW)
    for nobody in ("eve", "ada@laptop (unverified)"):
        with pytest.raises(MonitorError, match="has not been verified"):
            decided(people, approve=True, who=nobody)
    assert decided(people, approve=True, who="ada", reason="the summer has come") is SignalState.APPROVED
    (_, (channel, payload)) = messages(people)
    assert (channel, payload["state"]) == ("ops", "SIGNAL_STATE_APPROVED")
    assert payload["reason"].endswith("; approved by ada: the summer has come")
    assert [one["name"] for one in payload["commands"]] == ["dataset", "signal"]
    assert "expiresAt" not in payload
    with pytest.raises(MonitorError, match="is approved, and does not wait for approval"):
        decided(people, approve=True, who="bob")
    (entry,) = people.registry.audit(action="approve")
    assert (entry.who, entry.object) == ("ada", f"signal {signal.id[:12]}")
    assert entry.details["reason"] == "the summer has come"
    assert the_signal(people).approved_by == "ada"


def test_what_is_turned_down_stays_down_and_who_was_asked_hears_of_it(people: Any) -> None:
    with people.history() as history, pytest.raises(MonitorError, match="No reason is given"):
        decide(people, history, the_signal(people).id, approve=False, reason=" ", who="ada", now=NOW)
    assert decided(people, approve=False, who="bob", reason="it is a heat wave") is SignalState.REJECTED
    assert [(channel, one["state"]) for channel, one in messages(people)] == [
        ("here", "SIGNAL_STATE_PENDING"),
        ("here", "SIGNAL_STATE_REJECTED"),
    ]
    (_, (_, payload)) = messages(people)
    assert payload["reason"].endswith("; rejected by bob: it is a heat wave")
    assert [one["name"] for one in payload["commands"]] == ["signal"]
    people.serve_days(11, 2, shift=1.5)
    assert run(people, now=NOW + 5 * DAY) == 0
    assert the_signal(people).state is SignalState.REJECTED


def test_what_nobody_decides_expires_and_is_asked_again_while_it_stands(people: Any) -> None:
    later = NOW + 3 * DAY
    with pytest.raises(MonitorError, match="has expired"):
        decided(people, approve=True, who="ada", now=later)
    assert run(people, now=later) == 1
    with people.history() as history, history.read() as connection:
        first, second = signals.list_signals(connection)
    assert (first.state, first.attempt) == (SignalState.EXPIRED, 1)
    assert (second.state, second.attempt, second.subject) == (SignalState.PENDING, 2, first.subject)
    assert first.payload["reason"].endswith("; nobody decided until 2013-07-14 06:00 UTC")
    assert "nobody" not in second.payload["reason"]


def test_what_was_agreed_to_while_something_is_broken_waits_and_nobody_is_asked_again(people: Any) -> None:
    fault(people, START + 8 * DAY, None)
    assert decided(people, approve=True, who="ada") is SignalState.HELD
    before = the_signal(people)
    assert before.held.startswith("approved by ada; incident 12")
    assert run(people) == 0
    with people.history() as history, history.write() as connection:
        episodes.ends(connection, "k", START + 9 * DAY)
    assert run(people) == 1
    signal = the_signal(people)
    request, old = signal.payload["request"], before.payload["request"]
    assert (signal.state, signal.approved_by) == (SignalState.APPROVED, "ada")
    assert (request["since"], request["until"]) == (old["since"], old["until"])
    assert [one["until"] for one in request["leftOut"]] == ["2013-07-10T00:00:00Z"]
    assert request["hash"] != old["hash"]


def test_what_was_agreed_to_and_then_is_wanted_no_more_is_withdrawn_and_who_was_asked_hears_of_it(people: Any) -> None:
    fault(people, START + 8 * DAY, None)
    assert decided(people, approve=True, who="ada") is SignalState.HELD
    # Asked was where the policy does not route any more.
    people.apply(retrain=RetrainingPolicy(causes=["performance"], approval=True))
    assert run(people) == 0
    signal = the_signal(people)
    assert signal.state is SignalState.WITHDRAWN
    (asked, over) = messages(people)
    assert [(channel, one["state"]) for channel, one in (asked, over)] == [
        ("here", "SIGNAL_STATE_PENDING"),
        ("here", "SIGNAL_STATE_WITHDRAWN"),
    ]
    said = (
        'approved by ada, and withdrawn before it went out: monitor policy "flight_drift" asks for no new model '
        "because of drift any more"
    )
    assert over[1]["reason"] == f"{asked[1]['reason']}; {said}"
    assert "expiresAt" not in over[1]
    with people.history() as history, history.read() as connection:
        seen = signals.signal_events(connection)
    assert [(one.state, one.reason) for one in seen][1:] == [(SignalState.WITHDRAWN, said)]
    with people.history() as history, pytest.raises(MonitorError, match="is withdrawn, and no dataset is made of it"):
        make_dataset(people, history, signal.id, who="tests", now=NOW)


def test_who_asks_does_not_agree(people: Any) -> None:
    with people.history() as history:
        asked = ask(people, history, "flight_delay", reason="the fares", who="ada", now=NOW)
        assert asked.state is SignalState.PENDING
        with pytest.raises(MonitorError, match="they asked for it"):
            decide(people, history, asked.id, approve=True, reason="", who="ada", now=NOW)
        again = ask(people, history, "flight_delay", reason="the fares", who="ada", now=NOW)
        assert again.id == asked.id
        assert decide(people, history, asked.id, approve=True, reason="", who="bob", now=NOW).state == "approved"


def test_a_rehearsal_sends_to_channels_that_take_it_and_says_how_to_go_on(make_scene: Any) -> None:
    scene = make_scene(rehearsals=True).replayed()
    scene.apply(routes=["ops", "here"], retrain=RetrainingPolicy(history=11 * DAY))
    scene.train(model="ridge")
    scene.serve_days(0, 4)
    scene.serve_days(4, 7, shift=1.5)
    scene.mark(START + 11 * DAY, closed=True)
    assert run(scene, now=datetime(2026, 5, 1, tzinfo=UTC)) == 1
    ((channel, payload),) = messages(scene)
    assert channel == "ops"
    assert payload["reason"].startswith("REPLAY july: ")
    assert payload["request"]["until"] == "2013-07-12T00:00:00Z"
    assert payload["request"]["command"].endswith(" --replay july")
    with scene.history() as history:
        assert make_dataset(scene, history, payload["id"], who="tests", now=NOW).dataset.manifest["rows"] == 2200


def test_a_stream_of_rows_has_a_signal_and_no_request(scene: Any) -> None:
    with History(f"sqlite:///{scene.config.root}/own.db") as history:
        cause = signals.Cause(
            id="0" * 32, policy="", policy_version=0, service="orders", cause="request", subject="s",
            baseline="", model="", incident="", payload={"id": "0" * 32, "reason": "why", "createdAt": ""},
        )  # fmt: skip
        with history.write() as connection:
            assert signals.record_cause(connection, cause, reason="new", now=NOW)
            assert not signals.record_cause(connection, cause, reason="new", now=NOW)
        (signal,) = _listed(history)
        moved = Reviewer(store=scene, history=history, policy=None, rules=RetrainingPolicy(), now=NOW).settle(signal)
    assert moved is not None
    assert moved.state is SignalState.APPROVED
    assert "no training request: orders is a stream of rows" in moved.payload["reason"]
    assert "request" not in moved.payload


def _listed(history: History) -> list[signals.StoredSignal]:
    with history.read() as connection:
        return signals.list_signals(connection)


def test_a_model_that_was_there_before_is_not_what_was_asked_for(scene: Any) -> None:
    scene.apply(baseline=BaselineSource(dataset="other@1"), retrain=RetrainingPolicy(history=11 * DAY))
    scene.train(model="ridge")
    scene.train("other")  # which no model was trained on
    scene.serve_days(0, 4)
    scene.serve_days(4, 7, shift=1.5)
    assert run(scene, now=datetime.now(UTC)) == 1
    assert the_states(scene) == {"drift": "approved"}


def test_what_goes_by_time_is_asked_again_where_it_was_gone_for_a_while(scene: Any) -> None:
    rules = {"causes": ["stale_training_data"], "max_age": 30 * DAY}
    scene.apply(retrain=RetrainingPolicy(**rules))
    scene.train(model="ridge", dated=True)
    scene.serve_days(0, 4)
    fault(scene, START + 2 * DAY, None)
    assert run(scene) == 0
    assert the_states(scene) == {"stale_training_data": "held"}
    scene.apply(retrain=RetrainingPolicy(**rules | {"max_age": 3650 * DAY}))
    assert run(scene) == 0
    assert the_states(scene) == {"stale_training_data": "lapsed"}
    scene.apply(retrain=RetrainingPolicy(**rules))
    with scene.history() as history, history.write() as connection:
        episodes.ends(connection, "k", START + 3 * DAY)
    assert run(scene) == 1
    with scene.history() as history:
        assert [(one.attempt, str(one.state)) for one in _listed(history)] == [(1, "lapsed"), (2, "approved")]


def test_what_was_agreed_to_goes_before_others_and_the_cooldown_begins_when_it_goes_out(people: Any) -> None:
    people.apply(
        retrain=RetrainingPolicy(
            history=11 * DAY, approval=True, causes=["drift", "stale_training_data"], max_age=30 * DAY, cooldown=2 * DAY
        )
    )
    fault(people, START + 8 * DAY, None)
    assert decided(people, approve=True, who="ada") is SignalState.HELD
    people.train("older", dated=True)
    later = NOW + 6 * DAY
    with people.history() as history, history.write() as connection:
        second = replace_cause(signals.list_signals(connection)[0])
        signals.record_cause(connection, second, reason="new", now=NOW)
        episodes.ends(connection, "k", START + 9 * DAY)
    reviewer_settles(people, second.id, now=later)
    with people.history() as history:
        states = {one.id == second.id: one for one in _listed(history)}
    assert states[True].state is SignalState.HELD
    assert "is agreed to" in states[True].held
    assert run(people, now=later) == 1
    with people.history() as history:
        states = {one.id == second.id: one for one in _listed(history)}
    assert (states[False].state, states[False].sent_at) == (SignalState.APPROVED, later)
    assert states[True].state is SignalState.HELD
    assert states[True].held.startswith("the last signal went out at 2013-07-18 06:00 UTC")


def test_what_was_made_of_a_request_does_not_say_how_it_is_made_again(scene: Any) -> None:
    scene.train()
    then = datetime.now(UTC)
    scene.train("later")
    cause = signals.Cause(
        id="0" * 32, policy="", policy_version=0, service="flight_delay@1", cause="drift", subject="s",
        baseline="a period", model="", incident="", payload={},
    )  # fmt: skip
    at_that_time, now = (dataset_of(scene.registry, cause, at=one) for one in (then, datetime.now(UTC)))
    assert at_that_time is not None
    assert now is not None
    assert (at_that_time.id, now.id) == ("delays@1", "later@1")


def test_what_only_a_policy_that_is_gone_could_see_the_end_of_holds_nothing_up(scene: Any) -> None:
    drifted(scene)
    fault(scene, START + 2 * DAY, None)
    watch = Watch(policy="removed", policy_version=1, service="flight_delay@1")
    with scene.history() as history, history.write() as connection:
        history.save_alert(connection, watch, "null spike", Alert(key="k", state=State.FIRING, episode=1, onset=START))
    with scene.history() as history:
        assert close_left_behind(history, scene.config, ["flight_drift"], now=NOW) == 1
    assert run(scene) == 1
    with scene.history() as history, history.read() as connection:
        assert history.alert(connection, "k").state is State.RESOLVED
        assert episodes.open_faults(connection, "flight_delay", ["weather"]) == []
    assert [one["until"] for one in the_signal(scene).payload["request"]["leftOut"]] == ["2013-07-12T00:00:00Z"]


def replace_cause(signal: signals.StoredSignal) -> signals.Cause:
    """Return the cause of another signal, about the same alert."""
    id_ = "f" * 32
    about = {name: getattr(signal, name) for name in signals.Cause.__dataclass_fields__}
    return signals.Cause(**about | {"id": id_, "attempt": 7, "payload": dict(signal.payload) | {"id": id_}})


def reviewer_settles(scene: Any, id_: str, *, now: datetime) -> None:
    rules = scene.policy.definition.retrain
    with scene.history() as history:
        with history.read() as connection:
            (signal,) = signals.known(connection, [id_])
        Reviewer(store=scene, history=history, policy=scene.policy, rules=rules, now=now).settle(signal)


def test_a_fault_that_does_not_say_since_when_is_one_of_the_whole_window_that_was_looked_at(scene: Any) -> None:
    scene.apply(quality=True)
    scene.train(model="ridge")
    scene.serve_days(0, 4)
    run(scene)
    rows = scene.rows(START + 4 * DAY)
    at = rows.column_names.index("wind")
    scene.serve(rows.set_column(at, "wind", rows.column("wind").cast("string")))
    scene.mark(START + 5 * DAY)
    run(scene)
    with scene.history() as history, history.read() as connection:
        found = {one.rule: one for one in episodes.open_faults(connection, "flight_delay", ["weather"])}
    assert found["type_change"].onset == START + 4 * DAY
