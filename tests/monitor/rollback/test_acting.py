"""From an incident to what is done about it, and back, with a real store."""

from __future__ import annotations

import signal
import sys
import threading
from dataclasses import replace
from datetime import timedelta
from typing import Any

import numpy as np
import pytest

from featurestore import Field, MonitorPolicy, PromotionPolicy
from featurestore.errors import MonitorError, OfflineStoreError, OnlineStoreError
from featurestore.types import Float64
from monitor.history import History
from monitor.rollback import ActionState, Deed, acting
from monitor.rollback.facts import outlook
from tests import forking

from .conftest import POLICY, SERVICE, WEATHER, Night

DAY = timedelta(days=1)


def test_a_bad_load_is_taken_back_and_one_command_brings_it_again(night: Night) -> None:
    night.bad_night()
    assert night.served() == [None, None, 99.0]
    action = night.actions.consider(night.policy, night.opened(), now=night.now)
    assert action is not None
    assert (action.state, action.kind, action.target) == (ActionState.DONE, Deed.RESTORE_LOAD, "view weather")
    assert night.served() == [10.0, 10.01, 99.0]
    (message,) = night.messages()
    assert (message.kind, message.channel, message.severity) == ("featurestore.v1.action", "ops", "ticket")
    assert night.told() == [("action", action.summary)]
    assert action.summary.startswith("load bad of view weather (null spike of temp in 100.0% of its 53 rows, 0.0% ")
    done, restored = (night.store.registry.audit(action=one)[-1] for one in ("act", "restore"))
    assert (done.object, done.details["incident"], done.who) == ("view weather", 12, night.store.who())
    assert restored.details["reason"] == f"monitor, incident 12, action-1: {action.summary}"

    undone, left = night.actions.undo(1, reason="it was right", now=night.now)
    assert (undone.state, undone.undone_by, left) == (ActionState.UNDONE, night.store.who(), "")
    assert night.served() == [None, None, 99.0]
    assert len(night.messages()) == 2
    assert night.told()[1:] == [("undone", f"{action.summary}; undone as it was right")]
    assert night.store.registry.audit(action="undo")[-1].details["reason"] == "it was right"
    with pytest.raises(MonitorError, match="Action 1 is undone"):
        night.actions.undo(1, reason="", now=night.now)
    with pytest.raises(MonitorError, match="no action 7"):
        night.actions.undo(7, reason="", now=night.now)


def test_what_is_pushed_between_the_action_and_its_undoing_stays(night: Night) -> None:
    night.bad_night()
    night.actions.consider(night.policy, night.opened(), now=night.now)
    night.push("EWR", 42.0, 100)
    night.store.flush_pushes()
    night.actions.undo(1, reason="", now=night.now)
    assert night.served() == [42.0, None, 99.0]


def test_an_incident_has_one_action_and_what_was_undone_is_not_done_again(night: Night) -> None:
    night.allow(actions_per_day=5)
    night.bad_night()
    assert night.actions.consider(night.policy, night.opened(), now=night.now) is not None
    assert night.actions.consider(night.policy, night.opened(), now=night.now) is None
    night.actions.undo(1, reason="it was right", now=night.now)
    assert night.actions.consider(night.policy, night.opened(), now=night.now) is None
    again = night.actions.consider(night.policy, night.opened(13), now=night.now)
    assert again is not None
    assert (again.state, again.held) == (ActionState.PROPOSED, f"{night.store.who()} has taken the same back before")
    assert night.served() == [None, None, 99.0]


def test_a_policy_acts_so_often_in_a_day_and_then_says_what_it_would_do(night: Night) -> None:
    night.bad_night()
    night.actions.consider(night.policy, night.opened(), now=night.now)
    night.load("worse", None, 120)
    second = night.actions.consider(night.policy, night.opened(13), now=night.now + timedelta(hours=2))
    assert second is not None
    assert (second.state, second.held) == (
        ActionState.PROPOSED,
        "the policy allows 1 in 24 hours, and so many were done",
    )
    assert night.served()[:2] == [None, None]
    assert night.told(13)[0][1].startswith("would be done, but the policy allows 1 in 24 hours")
    assert len(night.messages()) == 2
    third = night.actions.consider(night.policy, night.opened(14), now=night.now + DAY + timedelta(hours=1))
    assert third is not None
    assert third.state is ActionState.DONE


@pytest.mark.parametrize(
    ("enabled", "actions", "held", "messages"),
    [
        (False, ("restore_load",), "featurestore.toml does not allow it: [actions] enabled = true", 1),
        (True, ("stop_canary",), 'the policy does not allow it: actions=["restore_load"]', 0),
        (True, (), 'the policy does not allow it: actions=["restore_load"]', 0),
    ],
)
def test_nothing_is_done_that_was_not_allowed(
    night: Night, enabled: bool, actions: tuple[str, ...], held: str, messages: int
) -> None:
    night.allow(enabled, actions=actions)
    night.bad_night()
    action = night.actions.consider(night.policy, night.opened(), now=night.now)
    assert action is not None
    assert (action.state, action.held) == (ActionState.PROPOSED, held)
    assert night.served() == [None, None, 99.0]
    assert len(night.messages()) == messages
    assert night.told()[0][1].startswith(f"would be done, but {held}: load bad of view weather")
    assert night.store.registry.audit(action="act") == []
    with pytest.raises(MonitorError, match="is proposed: there is nothing to undo"):
        night.actions.undo(action.number, reason="", now=night.now)


def test_the_monitor_acts_in_nothing_by_default(night: Night) -> None:
    policy = MonitorPolicy(name="p", service=SERVICE)
    assert policy.actions == ()
    assert "actions" not in policy.spec()
    assert not type(night.store.config)(root=night.store.config.root).actions.enabled


def test_a_rehearsal_only_proposes(night: Night) -> None:
    night.bad_night()
    folder = night.store.config.root / "data" / "replays" / "july" / "log"
    folder.mkdir(parents=True)
    with type(night.store)(night.store.config.root, replay="july") as rehearsal:
        channels = {"ops": night.store.config.channels["ops"].model_copy(update={"rehearsals": True})}
        settings = {"channels": channels, "actions": night.store.config.actions}
        rehearsal.config = rehearsal.config.model_copy(update=settings)
        with History(rehearsal.config.database_url(rehearsal.config.monitor.database)) as history:
            replayed = Night(rehearsal, history, night.now)
            action = replayed.actions.consider(night.policy, night.opened(), now=night.now)
            assert action is not None
            assert (action.state, action.held) == (ActionState.PROPOSED, "a rehearsal changes nothing")
            assert len(replayed.messages()) == 1
    assert night.served() == [None, None, 99.0]


def test_a_load_whose_rows_are_as_ever_stays_and_is_read_once(night: Night, monkeypatch: pytest.MonkeyPatch) -> None:
    night.load("good", 10.0, 0)
    night.load("right", 11.0, 60)
    looks: list[Any] = []

    def counted(*given: Any, **more: Any) -> Any:
        looks.append(outlook(*given, **more))
        return looks[-1]

    monkeypatch.setattr(acting, "outlook", counted)
    for _ in range(3):
        assert night.actions.consider(night.policy, night.opened(), now=night.now) is None
    (found,) = looks
    assert "brought the fault" in found.reason
    assert night.told() == []


@pytest.mark.parametrize(
    ("rule", "field", "values"),
    [
        ("out of range", "temp", [1000.0]),
        ("constant", "temp", [10.5]),
        ("unseen categories", "wind", [7.0]),
    ],
)
def test_other_faults_of_rows_are_found_in_the_load_that_brought_them(
    night: Night, rule: str, field: str, values: list[float]
) -> None:
    night.load("good", 10.0, 0)
    at = night.now - timedelta(hours=4)
    rows = [{"origin": f"P{number}", "temp": 10.0, "wind": 1.0, "event_timestamp": at} for number in range(50)]
    night.store.ingest("weather", [one | {field: values[0]} for one in rows], load_id="bad")
    found = night.actions.outlook(night.policy, night.opened(rule=rule, features=(field,)), now=night.now)
    assert found.proposal is not None, found.reason
    assert found.proposal.details["steps"] == [{"view": "weather", "last_good": "good", "loads": ["bad"]}]


def test_what_a_dead_monitor_has_begun_is_finished_by_the_next(night: Night) -> None:
    night.bad_night()
    root = night.store.config.root
    toml = (
        'project = "shop"\n[push]\nflush_seconds = 1e6\n[actions]\nenabled = true\n[channels.ops]\nkind = "console"\n'
    )
    (root / "featurestore.toml").write_text(toml)
    program = f"""
import os, signal
from datetime import datetime, timedelta
from featurestore import FeatureStore
from monitor.history import History
from monitor.rollback import Actions, Opened
store = FeatureStore({str(root)!r})
store._online_too = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
now, hour = datetime.fromisoformat({night.now.isoformat()!r}), timedelta(hours=1)
opened = Opened(
    incident=12, key="group-12", service="flight_delay@1", rule="null spike", features=("temp",),
    views={{"temp": "weather"}}, onset=now - hour, since=now + hour, window=hour,
)
with History(store.config.database_url(store.config.monitor.database)) as history:
    Actions(store, history).consider(store.registry.policy("flight_drift"), opened, now=now)
"""
    done = forking.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert night.messages() == []
    assert night.served() == [None, None, 99.0]
    (action,) = night.actions.resume(now=night.now)
    assert (action.state, action.attempts) == (ActionState.DONE, 2)
    assert night.served() == [10.0, 10.01, 99.0]
    assert len(night.messages()) == 1
    assert night.actions.resume(now=night.now) == ()


def test_a_store_that_refuses_is_asked_again_and_then_people_are_told(
    night: Night, monkeypatch: pytest.MonkeyPatch
) -> None:
    night.bad_night()

    def refuses(*_: object, **__: object) -> None:
        raise OnlineStoreError("The disk is full.", hint="")

    monkeypatch.setattr(night.store, "withdraw", refuses)
    action = night.actions.consider(night.policy, night.opened(), now=night.now)
    assert action is not None
    assert (action.state, action.error, night.messages()) == (ActionState.BEGUN, "The disk is full.", [])
    (action,) = night.actions.resume(now=night.now)
    assert action.state is ActionState.BEGUN
    (action,) = night.actions.resume(now=night.now)
    assert (action.state, action.attempts) == (ActionState.FAILED, 3)
    (message,) = night.messages()
    assert message.severity == "page"
    assert night.told()[0][1].startswith(
        "was not done, or not all of it: The disk is full. It was to be: load bad of view weather"
    )


def test_what_kills_each_monitor_is_not_tried_for_ever(night: Night, monkeypatch: pytest.MonkeyPatch) -> None:
    night.bad_night()

    def dies(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(night.store, "withdraw", dies)
    with pytest.raises(KeyboardInterrupt):
        night.actions.consider(night.policy, night.opened(), now=night.now)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            night.actions.resume(now=night.now)
    (action,) = night.actions.resume(now=night.now)
    assert (action.state, action.error) == (ActionState.FAILED, "each monitor that began it has died.")


def test_an_unforeseen_fault_of_an_action_ends_no_run(night: Night, monkeypatch: pytest.MonkeyPatch) -> None:
    night.bad_night()
    monkeypatch.setattr(night.store, "withdraw", lambda *_, **__: 1 / 0)
    action = night.actions.consider(night.policy, night.opened(), now=night.now)
    assert action is not None
    assert action.error == "an unforeseen ZeroDivisionError, see the monitor's log."


def test_an_undoing_that_is_refused_can_be_tried_again(night: Night, monkeypatch: pytest.MonkeyPatch) -> None:
    night.bad_night()
    night.actions.consider(night.policy, night.opened(), now=night.now)
    with monkeypatch.context() as patch:

        def refuses(*_: object, **__: object) -> None:
            raise OfflineStoreError("The disk is full.", hint="")

        patch.setattr(night.store, "reinstate", refuses)
        with pytest.raises(OfflineStoreError):
            night.actions.undo(1, reason="", now=night.now)
    action, _ = night.actions.undo(1, reason="", now=night.now)
    assert action.state is ActionState.UNDONE


# Versions


def predictions(night: Night, service: str, right: float, seed: int) -> None:
    model = night.store.log_model(
        "delays", service=service, dataset="set", environment={}, task="binary", label_delay=timedelta(hours=1)
    )
    random = np.random.default_rng(seed)
    count = 2000
    truth = random.random(count) < 0.5
    said = np.where(random.random(count) < right, truth, ~truth)
    start = night.now - 10 * DAY
    at = [start + 8 * DAY * (number / count) for number in range(count)]
    night.store.log_predictions(
        model.id,
        [
            {"prediction_id": f"{service}-{number}", "number": 0.9 if hit else 0.1, "predicted_at": when}
            for number, (hit, when) in enumerate(zip(said.tolist(), at, strict=True))
        ],
    )
    night.store.log_outcomes(
        model.id,
        [
            {"prediction_id": f"{service}-{number}", "number": float(hit), "observed_at": when + timedelta(hours=1)}
            for number, (hit, when) in enumerate(zip(truth.tolist(), at, strict=True))
        ],
    )


@pytest.fixture
def two_versions(night: Night) -> Night:
    night.load("good", 10.0, 0)
    night.store.promote("flight_delay@1")
    wider = replace(WEATHER, schema=[*WEATHER.schema, Field(name="dew", dtype=Float64)])
    second = replace(SERVICE, features=[wider])
    night.store.apply([wider, second, replace(POLICY, service=second)])
    night.store.registry.record_dataset("set", {"service": "flight_delay@2", "label": "late"}, who="tests")
    return night


def row(night: Night, temp: float) -> dict[str, Any]:
    return {"origin": "EWR", "temp": temp, "wind": 1.0, "dew": None, "event_timestamp": night.now - DAY}


def fall(night: Night, **other: Any) -> Any:
    given: dict[str, Any] = {"service": "flight_delay@2", "rule": "performance", "features": (), "views": {}}
    return night.opened(**(given | {"judged": night.now} | other))


def test_a_canary_that_is_worse_gets_no_requests_and_its_share_comes_back(two_versions: Night) -> None:
    night = two_versions
    night.store.promote("flight_delay@2", alias="canary", share=0.25, catch_up=True)
    predictions(night, "flight_delay@1", 0.9, 1)
    predictions(night, "flight_delay@2", 0.7, 2)
    night.store.ingest("weather", [row(night, 1.0)])  # the canary's rows are behind: it is stopped all the same
    action = night.actions.consider(night.policy, fall(night), now=night.now)
    assert action is not None
    assert (action.state, action.kind) == (ActionState.DONE, Deed.STOP_CANARY)
    assert action.summary.startswith("the canary flight_delay@2 goes from 25% to 0 %: No: flight_delay@2 is not better")
    assert night.store.registry.canaries() == {"flight_delay": (2, 0.0)}
    night.actions.undo(1, reason="", now=night.now)
    assert night.store.registry.canaries() == {"flight_delay": (2, 0.25)}


def test_a_canary_that_is_as_good_stays_and_is_looked_at_again_with_each_window(two_versions: Night) -> None:
    night = two_versions
    night.store.promote("flight_delay@2", alias="canary", share=0.25, catch_up=True)
    predictions(night, "flight_delay@1", 0.8, 1)
    predictions(night, "flight_delay@2", 0.8, 2)
    assert night.actions.consider(night.policy, fall(night), now=night.now) is None
    found = night.actions.outlook(night.policy, fall(night), now=night.now)
    assert found.reason.startswith("Not yet: whether flight_delay@2 is better than flight_delay@1 is open")
    with night.history.read() as connection:
        assert acting.ledger.looked(connection, fall(night))
        assert not acting.ledger.looked(connection, fall(night, judged=night.now + timedelta(hours=1)))


def test_an_alias_goes_back_and_forth(two_versions: Night) -> None:
    night = two_versions
    night.store.promote("flight_delay@2", catch_up=True)
    night.store.ingest("weather", [row(night, 20.0)])  # and nobody has materialized it
    opened = fall(night, onset=night.now, since=night.now + timedelta(hours=3))
    action = night.actions.consider(night.policy, opened, now=night.now)
    assert action is not None
    assert (action.state, action.error) == (ActionState.DONE, "")
    assert night.store.registry.aliases("flight_delay") == {"production": 1}
    night.actions.undo(1, reason="", now=night.now)
    assert night.store.registry.aliases("flight_delay") == {"production": 2}


def test_an_alias_that_a_person_moved_meanwhile_is_left_where_it_is(two_versions: Night) -> None:
    night = two_versions
    night.store.promote("flight_delay@2", catch_up=True)
    opened = fall(night, onset=night.now, since=night.now + timedelta(hours=3))
    night.actions.consider(night.policy, opened, now=night.now)
    night.store.registry.demote("flight_delay", "production", who="ada")
    with pytest.raises(MonitorError, match="points to flight_delay@1 no more: it is not set"):
        night.actions.undo(1, reason="", now=night.now)


def test_a_way_forward_that_needs_approval_says_so(two_versions: Night) -> None:
    night = two_versions
    night.store.promote("flight_delay@2", catch_up=True)
    second = night.store.registry.service("flight_delay@2").definition
    night.store.apply([PromotionPolicy(name="careful", service=second, approvals=1)])
    opened = fall(night, onset=night.now, since=night.now + timedelta(hours=3))
    assert night.actions.consider(night.policy, opened, now=night.now) is not None
    action, left = night.actions.undo(1, reason="", now=night.now)
    assert (action.state, left) == (ActionState.UNDONE, "It waits for approval: featurestore approve 1")


def test_an_alias_stays_where_the_version_before_is_ill_too(two_versions: Night) -> None:
    night = two_versions
    night.store.promote("flight_delay@2", catch_up=True)
    opened = fall(night, onset=night.now, since=night.now + timedelta(hours=3))
    found = night.actions.outlook(night.policy, opened, now=night.now, ill={"flight_delay@1"})
    assert "has the same alert" in found.reason
    assert night.actions.outlook(night.policy, night.opened(rule="stale"), now=night.now).reason == (
        'nothing is done by itself about "stale"'
    )


def test_what_was_done_in_part_before_it_failed_can_be_undone(night: Night, monkeypatch: pytest.MonkeyPatch) -> None:
    night.bad_night()

    def refuses(*_: object, **__: object) -> None:
        raise OnlineStoreError("The disk is full.", hint="")

    with monkeypatch.context() as patch:
        patch.setattr(night.store.registry, "record", refuses)  # when the load is out already
        night.actions.consider(night.policy, night.opened(), now=night.now)
        night.actions.resume(now=night.now)
        (action,) = night.actions.resume(now=night.now)
    assert action.state is ActionState.FAILED
    assert night.served() == [10.0, 10.01, 99.0]
    undone, _ = night.actions.undo(action.number, reason="it was right", now=night.now)
    assert undone.state is ActionState.UNDONE
    assert night.served() == [None, None, 99.0]


def test_what_was_begun_is_not_gone_on_with_once_the_monitor_may_not_act(
    night: Night, monkeypatch: pytest.MonkeyPatch
) -> None:
    night.bad_night()

    def dies(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(night.store, "withdraw", dies)
        with pytest.raises(KeyboardInterrupt):
            night.actions.consider(night.policy, night.opened(), now=night.now)
    night.allow(enabled=False)
    (action,) = night.actions.resume(now=night.now)
    assert action.state is ActionState.FAILED
    assert night.served() == [None, None, 99.0]
    assert len(night.messages()) == 1


def test_what_one_job_is_doing_is_not_taken_up_by_another(night: Night, monkeypatch: pytest.MonkeyPatch) -> None:
    night.bad_night()
    began, go, withdraw = threading.Event(), threading.Event(), night.store.withdraw
    calls: list[str] = []

    def slow(view: str, *given: Any, **more: Any) -> Any:
        calls.append(view)
        began.set()
        assert go.wait(30)
        return withdraw(view, *given, **more)

    monkeypatch.setattr(night.store, "withdraw", slow)
    done: list[Any] = []
    job = threading.Thread(
        target=lambda: done.append(night.actions.consider(night.policy, night.opened(), now=night.now))
    )
    job.start()
    assert began.wait(30)
    others = [threading.Thread(target=lambda: night.actions.resume(now=night.now)) for _ in range(4)]
    for one in others:
        one.start()
    for one in others:
        one.join(1.0)
    go.set()
    for one in (job, *others):
        one.join(30)
    (action,) = done
    assert (action.state, action.attempts, calls) == (ActionState.DONE, 1, ["weather"])
    assert [what for what, _ in night.told()] == ["action"]
