"""Incidents of a policy's runs: sources by lineage, streams that fall silent, runs that fail, a new normal."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import select

from featurestore.definitions import BaselineSource, FeatureService, FileSource, OnDemandFeatureView
from featurestore.errors import MonitorError
from monitor import schema
from monitor.accepting import accept, revoke
from monitor.alerts.base import OF_INCIDENTS, Kind
from monitor.alerts.dispatching import dispatch
from monitor.alerts.message import Context
from monitor.alerts.states import Alert, Observation, State
from monitor.backtest import backtest
from monitor.history import History, Watch
from monitor.pipeline import RunReport, run_once
from monitor.pipeline.left_behind import close_left_behind, why_unwatched
from monitor.pipeline.telling import Found, Reach, Teller
from monitor.pipeline.unseen import FAILURES

NOW = datetime(2013, 9, 1, tzinfo=UTC)
FIRST = datetime(2013, 7, 1, tzinfo=UTC)
DAY = timedelta(days=1)


def run(scene: Any, *, now: datetime = NOW) -> RunReport:
    with scene.history() as history:
        try:
            return run_once(scene, history, scene.policy, now=now)
        finally:
            dispatch(history, scene.config, now=now, wait=False)


def told(scene: Any) -> list[tuple[Kind, dict[str, Any]]]:
    with scene.history() as history, history.read() as connection:
        rows = connection.execute(select(schema.outbox).order_by(schema.outbox.c.id)).all()
    return [(Kind(row.kind), json.loads(row.payload)) for row in rows if row.kind in OF_INCIDENTS]


def states(history: History) -> dict[str, State]:
    with history.read() as connection:
        rows = connection.execute(select(schema.alerts.c.rule, schema.alerts.c.state)).all()
    return {row.rule: State(row.state) for row in rows}


def with_source(scene: Any) -> None:
    """Let the view be loaded from a file, and the service give what is computed from it as well."""
    weather = scene.registry.feature_view("weather").definition
    source = FileSource(name="weather_csv", path="weather/*.csv", timestamp_field="at")
    sourced = replace(weather, source=source)
    warmth = scene.registry.get("warmth").definition
    assert isinstance(warmth, OnDemandFeatureView)
    service = FeatureService(name="flight_delay", features=[sourced, replace(warmth, inputs=[sourced])])
    policy = replace(scene.policy.definition, service=service)
    scene.registry.apply([policy], who="test", allow_breaking=True)


def test_a_source_that_breaks_is_one_page_that_names_it(either_scene: Any) -> None:
    scene = either_scene
    with_source(scene)
    scene.train(version="flight_delay@2")
    scene.serve_days(0, 3, service="flight_delay@2")
    scene.serve_days(3, 3, service="flight_delay@2", missing=0.9)
    run(scene)
    ((kind, incident),) = told(scene)
    assert kind is Kind.FIRING
    assert (incident["cause"], incident["rule"]) == ("source weather_csv", "null spike")
    assert incident["summary"].startswith("source weather_csv: flight_delay@2 has values missing: ")
    assert incident["suggestedAction"].startswith('Fix the pipeline: look at source "weather_csv", from which view ')
    features = {one["feature"]: one for one in incident["features"]}
    assert {one["source"] for one in features.values()} == {"weather_csv"}
    assert features["temp"]["view"] == "weather"
    shares = features["temp"]["histogram"]
    assert shares["labels"][-1] == "null"
    assert (shares["baseline"][-1], shares["current"][-1]) == (0, pytest.approx(0.9, abs=0.1))
    assert sum(shares["current"]) == pytest.approx(1, abs=1e-4)
    # What is personal is not drawn.
    assert "histogram" not in features.get("pilot", {})


def test_an_alert_whose_stream_falls_silent_goes_on_and_says_so_until_rows_come_again(either_scene: Any) -> None:
    scene = either_scene
    scene.train()
    scene.serve_days(0, 3)
    scene.serve_days(3, 8, shift=1.0)
    run(scene, now=NOW)
    scene.mark(FIRST + 13 * DAY)
    run(scene, now=NOW + DAY / 2)
    with scene.history() as history:
        assert states(history)["drift"] is State.FIRING
    scene.mark(FIRST + 14 * DAY)
    run(scene, now=NOW + 2 * DAY)
    with scene.history() as history:
        assert states(history)["drift"] is State.NO_DATA
        with history.read() as connection:
            assert history.firing(connection) == 1
    assert told(scene)[-1][1]["state"] == "ALERT_STATE_NO_DATA"
    scene.serve_days(14, 6)
    run(scene, now=NOW + 3 * DAY)
    assert told(scene)[-1][0] is Kind.RESOLVED


def test_a_policy_whose_runs_fail_is_an_alert_of_its_own_which_the_next_good_run_ends(either_scene: Any) -> None:
    scene = either_scene
    scene.train()
    scene.serve_days(0, 2)
    file = scene.config.path("data/offline/datasets/delays.parquet")
    whole = file.read_bytes()
    file.write_bytes(b"PAR1")
    for number in range(FAILURES):
        assert told(scene) == []
        with pytest.raises(MonitorError, match="cannot be read"):
            run(scene, now=NOW + timedelta(minutes=number))
    ((kind, alert),) = told(scene)
    assert (kind, alert["rule"], alert["state"]) == (Kind.FIRING, "judging", "ALERT_STATE_ERROR")
    assert "3 runs in a row failed: The baseline of dataset delays@1 cannot be read" in alert["summary"]
    with pytest.raises(MonitorError):
        run(scene, now=NOW + timedelta(minutes=5))
    assert len(told(scene)) == 1
    file.write_bytes(whole)
    run(scene, now=NOW + timedelta(minutes=6))
    (_, (kind, over)) = told(scene)
    assert (kind, over["summary"]) == (Kind.RESOLVED, "flight_delay is back: judging has ended")
    file.write_bytes(b"PAR1")
    for number in range(FAILURES):
        with pytest.raises(MonitorError):
            run(scene, now=NOW + timedelta(days=9, minutes=number))
    # Since this time, not since the time before.
    assert told(scene)[-1][1]["onset"].startswith(f"{NOW + timedelta(days=9):%Y-%m-%d}")


def test_two_failures_with_a_good_run_between_them_are_told_to_nobody(scene: Any) -> None:
    scene.train()
    scene.serve_days(0, 2)
    file = scene.config.path("data/offline/datasets/delays.parquet")
    whole = file.read_bytes()
    for _ in range(3):
        file.write_bytes(b"PAR1")
        with pytest.raises(MonitorError):
            run(scene)
        file.write_bytes(whole)
        run(scene)
    assert told(scene) == []


def shifted(scene: Any) -> None:
    """Let everything be different from the fourth day on, and stay so."""
    scene.train(model="ridge")
    scene.serve_days(0, 3)
    scene.serve_days(3, 10, shift=1.0)
    run(scene)


def test_what_somebody_accepts_is_the_baseline_and_the_incident_is_over(either_scene: Any) -> None:
    scene = either_scene
    shifted(scene)
    with scene.history() as history:
        (found,) = accept(scene, history, 1, author="ada", reason="a new airport", expires_at=NOW + 30 * DAY, now=NOW)
        dispatch(history, scene.config, now=NOW, wait=False)
        assert (found.windows, found.rows, found.alerts) == (10, 2000, ("drift",))
        assert found.acceptance.since == FIRST + 3 * DAY
        assert states(history)["drift"] is State.RESOLVED
        with history.read() as connection:
            lines = history.timeline(connection, 1)
    assert [one.what for one in lines][-3:] == ["accepted", "ended", "over"]
    kind, over = told(scene)[-1]
    assert kind is Kind.RESOLVED
    assert over["summary"] == "flight_delay@1 is as it is to be: ada accepted it (a new airport)"
    (entry,) = scene.registry.audit(action="accept")
    assert (entry.who, entry.object, entry.details["incident"], entry.details["reason"]) == (
        "ada",
        "flight_drift",
        1,
        "a new airport",
    )
    # What stays as it was accepted is quiet; a further change is seen, against the new normal.
    scene.serve_days(13, 6, shift=1.0)
    assert run(scene).services[0].fired == 0
    with scene.history() as history, history.read() as connection:
        (baseline,) = set(connection.execute(select(schema.streams.c.baseline)).scalars())
    assert baseline.startswith("flight_delay@1 2013-07-04T00:00:00Z/2013-07-14T00:00:00Z#")
    scene.serve_days(19, 12, shift=3.0)
    assert run(scene).services[0].fired == 1
    assert told(scene)[-1][1]["model"] == "ridge@1"


def test_what_is_accepted_while_a_run_goes_on_counts_for_the_rest_of_it(either_scene: Any) -> None:
    scene = either_scene
    shifted(scene)
    scene.serve_days(13, 6, shift=1.0)
    asked: list[None] = []

    def stop() -> bool:
        asked.append(None)
        if len(asked) in (3, 5):  # somebody else, twice, between two windows
            with scene.history() as theirs:
                until = FIRST + (13 if len(asked) == 3 else 14) * DAY
                about = {"author": "ada", "reason": "so it is", "expires_at": NOW + 30 * DAY, "until": until}
                accept(scene, theirs, 1, **about, now=NOW)
        return False

    with scene.history() as history:
        first = run_once(scene, history, scene.policy, now=NOW, stop=stop)
        assert (first.services[0].windows, first.more) == (2, True)
        assert states(history)["drift"] is State.RESOLVED
        more, fired = True, 0
        while more:
            report = run_once(scene, history, scene.policy, now=NOW, stop=stop)
            fired, more = fired + report.services[0].fired, report.more
        assert fired == 0
        with history.read() as connection:
            found = history.windows_between(connection, _watch_of(scene), since=FIRST, until=NOW)
            assert found is not None
            assert found.count == 19
            assert len(history.acceptances(connection)) == 2
        assert states(history)["drift"] is State.RESOLVED


def _watch_of(scene: Any) -> Watch:
    return Watch(policy=scene.policy.name, policy_version=scene.policy.version, service="flight_delay@1")


def test_what_was_accepted_is_not_normal_any_more_when_it_expires_or_is_revoked(scene: Any) -> None:
    shifted(scene)
    with scene.history() as history:
        accept(scene, history, 1, author="ada", reason="a fair", expires_at=NOW + DAY, now=NOW)
        dispatch(history, scene.config, now=NOW, wait=False)
    scene.serve_days(13, 3, shift=1.0)
    assert run(scene).services[0].fired == 0
    scene.serve_days(16, 6, shift=1.0)
    assert run(scene, now=NOW + 2 * DAY).services[0].fired == 1
    with scene.history() as history:
        second = accept(scene, history, 2, author="ada", reason="again", expires_at=NOW + 9 * DAY, now=NOW + 2 * DAY)[
            0
        ].acceptance.id
        revoke(scene, history, second, author="bob", reason="no", now=NOW + 2 * DAY)
        with pytest.raises(MonitorError, match="counts no more"):
            revoke(scene, history, second, author="bob", reason="no", now=NOW + 2 * DAY)
    scene.serve_days(22, 8, shift=1.0)
    assert run(scene, now=NOW + 2 * DAY).services[0].fired == 1
    assert [one.who for one in scene.registry.audit(action="revoke")] == ["bob"]


def test_of_a_slice_only_the_slice_is_accepted(scene: Any) -> None:
    scene.apply(slices=["hour=7"], baseline=BaselineSource(since=FIRST, until=FIRST + 20 * DAY))
    import pyarrow.compute as pc

    scene.serve_days(0, 22, count=1000)
    for day in range(22, 40):
        rows = scene.rows(FIRST + day * DAY, count=1000)
        there = pc.equal(rows.column("hour"), 7)
        moved = pc.if_else(there, pc.add(rows.column("temp"), 1.0), rows.column("temp"))
        scene.serve(rows.set_column(rows.column_names.index("temp"), "temp", moved))
    scene.mark(FIRST + 40 * DAY)
    run(scene)
    ((_, alert),) = told(scene)
    assert alert["slice"] == "hour=7"
    with scene.history() as history:
        (found,) = accept(scene, history, 1, author="ada", reason="early", expires_at=NOW + 30 * DAY, now=NOW)
        assert found.acceptance.slice == "hour=7"
        with history.read() as connection:
            before = set(connection.execute(select(schema.streams.c.baseline)).scalars())
    for day in range(40, 44):
        rows = scene.rows(FIRST + day * DAY, count=1000)
        there = pc.equal(rows.column("hour"), 7)
        moved = pc.if_else(there, pc.add(rows.column("temp"), 1.0), rows.column("temp"))
        scene.serve(rows.set_column(rows.column_names.index("temp"), "temp", moved))
    scene.mark(FIRST + 44 * DAY)
    assert run(scene).services[0].fired == 0
    with scene.history() as history, history.read() as connection:
        assert set(connection.execute(select(schema.streams.c.baseline)).scalars()) == before


def test_what_cannot_be_accepted_is_refused_with_a_hint(scene: Any) -> None:
    shifted(scene)
    with scene.history() as history:

        def refused(number: int = 1, **settings: Any) -> MonitorError:
            values = {"author": "ada", "reason": "so", "expires_at": NOW + DAY, "now": NOW} | settings
            with pytest.raises(MonitorError) as raised:
                accept(scene, history, number, **values)
            return raised.value

        assert "no incident 7" in refused(7).message
        assert "why" in refused(reason=" ").message
        assert "cannot be normal until" in refused(expires_at=NOW).message
        assert "No window" in refused(since=NOW - DAY).message
        assert "one block of" in refused(until=FIRST + 4 * DAY).message
        assert scene.registry.audit(action="accept") == []
        with history.read() as connection:
            assert history.acceptances(connection) == []


def test_what_a_baseline_does_not_decide_cannot_be_accepted(scene: Any) -> None:
    scene.apply(quality=True)
    scene.train(dated=True)
    scene.serve_days(0, 4)
    run(scene)
    with scene.history() as history, pytest.raises(MonitorError, match="stale training data"):
        accept(scene, history, 1, author="ada", reason="so", expires_at=NOW + DAY, now=NOW)


def test_an_audit_log_that_cannot_be_written_leaves_everything_as_it_was(
    scene: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    shifted(scene)

    def fails(*_: object, **__: object) -> None:
        raise MonitorError("The registry is away.")

    with scene.history() as history:
        with monkeypatch.context() as patch:
            patch.setattr(type(scene.registry), "record", fails)
            with pytest.raises(MonitorError, match="away"):
                accept(scene, history, 1, author="ada", reason="so", expires_at=NOW + DAY, now=NOW)
        assert states(history)["drift"] is State.FIRING
        with history.read() as connection:
            assert history.acceptances(connection) == []
            assert [one.what for one in history.timeline(connection, 1)][-1] != "accepted"


def test_a_backtest_finds_the_baseline_that_somebody_accepted(scene: Any) -> None:
    shifted(scene)
    with scene.history() as history:
        accept(scene, history, 1, author="ada", reason="a fair", expires_at=NOW + 30 * DAY, now=NOW)
    scene.serve_days(13, 3, shift=1.0)
    run(scene)
    with scene.history() as history:
        report = backtest(
            scene, history, scene.policy, scene.policy.definition, since=None, until=None, now=NOW, null_count=10
        )
    (stream,) = report.streams
    assert (stream.windows, stream.skipped) == (16, 0)


def test_what_a_policy_that_is_gone_leaves_behind_is_closed_and_not_called_over(either_scene: Any) -> None:
    scene = either_scene
    scene.train()
    scene.serve_days(0, 4)
    scene.serve_days(4, 6, shift=1.0)
    run(scene)
    with scene.history() as history:
        assert close_left_behind(history, scene.config, ["flight_drift"], now=NOW) == 0
        assert states(history)["drift"] is State.FIRING
        assert close_left_behind(history, scene.config, ["another"], now=NOW) == 1
        assert close_left_behind(history, scene.config, ["another"], now=NOW) == 0
        assert states(history)["drift"] is State.RESOLVED
        dispatch(history, scene.config, now=NOW)
    kind, over = told(scene)[-1]
    assert (kind, over["state"]) == (Kind.RESOLVED, "ALERT_STATE_RESOLVED")
    assert over["change"] == "ALERT_CHANGE_CLOSED"
    why = '(policy "flight_drift" is gone); nobody knows whether it is over'
    assert over["summary"] == f"flight_delay@1 is not watched by this any more {why}"


def test_a_slice_that_a_policy_has_no_more_is_closed_and_not_called_over(scene: Any) -> None:
    scene.serve_days(0, 4)
    usual = BaselineSource(since=FIRST, until=FIRST + 2 * DAY)
    slices = [f"hour={hour}" for hour in (7, 8)]
    scene.apply(slices=slices, baseline=usual)
    run(scene)
    with scene.history() as history:
        for one in slices:
            teller = Teller(
                history=history,
                watch=Watch(policy="flight_drift", policy_version=1, service="flight_delay@1", slice=one),
                context=Context(
                    project="default", replay="", service="flight_delay@1", baseline="", model="", views={}, slice=one
                ),
                reach=Reach(routes=("ops",)),
                hold_for=0,
                keep_firing_for=3,
                retrain=False,
            )
            seen = Observation(alarm=True, effect=True, onset=FIRST, span=1)
            found = Found(rule="drift", sentences=("it drifts",))
            with history.write() as connection:
                teller.take(connection, "drift", seen, found, alerts={}, at=FIRST, now=NOW)
        dispatch(history, scene.config, now=NOW, wait=False)
    run(scene)
    assert len(told(scene)) == 1
    scene.apply(slices=slices[1:], baseline=usual)
    run(scene)
    with scene.history() as history, history.read() as connection:
        open_ = history.open_alerts(connection, "flight_drift")
        assert [one.watch.slice for one in open_] == slices[1:]
        lines = history.timeline(connection, 1)
    scene.apply(slices=[], baseline=usual)
    run(scene)
    with scene.history() as history, history.read() as connection:
        assert history.open_alerts(connection, "flight_drift") == []
    kind, over = told(scene)[-1]
    assert (kind, over["change"]) == (Kind.RESOLVED, "ALERT_CHANGE_CLOSED")
    assert over["summary"].endswith("nobody knows whether it is over")
    (ended,) = [one.text for one in lines if one.what == "ended"]
    assert ended.endswith(" has no slice hour=7")
    assert not [one for one in lines if one.what in ("recovered", "resolved")]


def test_a_check_that_is_switched_off_leaves_nothing_open(scene: Any) -> None:
    policy = scene.policy
    with scene.history() as history:
        for rule, service, slice_, why in (
            ("stale_features", "flight_delay@1", "", "does not check quality"),
            ("training_serving_skew", "flight_delay@1", "", "does not check the comparison with the join"),
            ("performance of churn@1", "flight_delay@1", "", ""),
            ("drift", "another@1", "", "watches flight_delay"),
            ("prediction drift", "predictions of m@1", "", "does not watch predictions"),
            ("drift", "flight_delay@1", "carrier=AA", "has no slice carrier=AA"),
            ("judging", "flight_delay", "", ""),
            ("drift", "flight_delay@1", "", ""),
        ):
            watch = Watch(policy=policy.name, policy_version=0, service=service, slice=slice_)
            alert = Alert(key=f"{rule} of {service} {slice_}", state=State.FIRING, episode=1)
            with history.write() as connection:
                history.save_alert(connection, watch, rule, alert)
                (stored,) = history.stored_alerts(connection, [alert.key]).values()
            off = replace(policy.definition, quality=False, skew=False, prediction_drift=False)
            said = why_unwatched(_as(policy, off), stored, {"flight_delay@1": ()})
            assert said == (f"{policy.id} {why}" if why else "")
            # What cannot be looked up now is not taken for gone.
            by_value = replace(policy.definition, slices=["carrier"], quality=True, skew=True, prediction_drift=True)
            said = why_unwatched(_as(policy, by_value), stored, {})
            assert said == (f"{policy.id} {why}" if service == "another@1" else "")


def _as(policy: Any, definition: Any) -> Any:
    return SimpleNamespace(id=policy.id, name=policy.name, definition=definition)
