"""A run of a policy, from the log to the outbox, on a real registry and a real database."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from sqlalchemy import select
from structlog.testing import capture_logs

from featurestore.definitions import BaselineSource, FeatureService, Field, FileSource, MonitorPolicy
from featurestore.errors import FeatureStoreError, MonitorError
from featurestore.profiles import fit_baseline
from featurestore.types import Float64
from monitor.alerts.base import OF_INCIDENTS, Kind
from monitor.alerts.dispatching import dispatch
from monitor.alerts.states import State
from monitor.history import History
from monitor.pipeline import NO_BASELINE, NO_WINDOW, ServiceReport, run_once
from monitor.schema import outbox, signals, windows
from monitor.status import status
from tests.forking import Forked

_NOW = datetime(2026, 5, 1, tzinfo=UTC)


def run(scene: Any, *, now: datetime = _NOW, stop: Callable[[], bool] = lambda: False) -> ServiceReport:
    with scene.history() as history:
        report = run_once(scene, history, scene.policy, now=now, stop=stop)
        dispatch(history, scene.config, now=now, wait=False)
    (service,) = report.services
    return service


def messages(scene: Any) -> list[tuple[str, str, dict[str, Any]]]:
    with scene.history() as history, history.read() as connection:
        rows = connection.execute(select(outbox.c.channel, outbox.c.kind, outbox.c.payload).order_by(outbox.c.id))
        return [(channel, kind, json.loads(payload)) for channel, kind, payload in rows]


def told(scene: Any) -> list[tuple[str, dict[str, Any]]]:
    """Kind and payload of the messages of incidents, in order; signals have an order of their own."""
    return [(kind, payload) for _, kind, payload in messages(scene) if kind in OF_INCIDENTS]


def signalled(scene: Any) -> list[dict[str, Any]]:
    return [payload for _, kind, payload in messages(scene) if kind == Kind.RETRAINING]


def ledger(scene: Any) -> list[Any]:
    with scene.history() as history, history.read() as connection:
        columns = (windows.c.window_start, windows.c.rows, windows.c.verdict, windows.c.decision, windows.c.profile)
        return [tuple(row) for row in connection.execute(select(*columns).order_by(windows.c.window_start))]


def test_what_is_like_the_training_data_raises_nothing(scene: Any) -> None:
    scene.train()
    scene.serve_days(0, 20)
    report = run(scene)
    assert (report.windows, report.verdict, report.fired) == (20, "ok", 0)
    assert messages(scene) == []


def test_a_feature_of_a_use_is_watched_by_its_full_name_and_the_alert_names_the_view(scene: Any) -> None:
    weather = scene.registry.feature_view("weather").definition
    there = weather[["temp"]].with_join_key_map({"origin": "dest"}, name="there")
    service = FeatureService(name="flight_delay", features=[there])
    scene.registry.apply([replace(scene.policy.definition, service=service)], who="test", allow_breaking=True)

    def rows(start: datetime, days: int, **settings: Any) -> pa.Table:
        table = pa.concat_tables([scene.rows(start + timedelta(days=day), **settings) for day in range(days)])
        names = {"temp": "there__temp", "origin": "dest", "weather__status": "there__status"}
        return table.rename_columns([names.get(name, name) for name in table.column_names])

    trained = rows(datetime(2013, 1, 1, tzinfo=UTC), 40)
    table = trained.select(["there__temp"]).append_column("event_timestamp", trained.column("served_at"))
    path = scene.config.path("data/baseline.parquet")
    pq.write_table(fit_baseline(table, service.outputs["there"]).to_arrow(), path)
    manifest = {"service": "flight_delay@2", "baseline": "data/baseline.parquet"}
    scene.registry.record_dataset("pairs", manifest, who="test")
    first = datetime(2013, 7, 1, tzinfo=UTC)
    scene.serve(rows(first, 3, service="flight_delay@2"))
    scene.serve(rows(first + timedelta(days=3), 15, shift=1.0, service="flight_delay@2"))
    scene.mark(first + timedelta(days=18))
    assert run(scene).fired == 1
    ((_, alert),) = told(scene)
    assert [one["feature"] for one in alert["features"]] == ["there__temp"]
    assert alert["suggestedAction"].startswith('Look at the sources of "weather"; ')


def test_a_change_gives_one_alert_and_one_retraining_signal_however_long_it_lasts(scene: Any) -> None:
    dataset = scene.train(model="ridge")
    scene.serve_days(0, 5)
    scene.serve_days(5, 20, shift=1.0)
    report = run(scene)
    assert (report.windows, report.fired, report.resolved, report.signals) == (25, 1, 0, 1)
    assert (report.verdict, report.state) == ("drift", State.FIRING)
    ((alert_kind, alert),) = told(scene)
    (signal_payload,) = signalled(scene)
    assert alert_kind == Kind.FIRING
    assert (alert["name"], alert["change"]) == ("1", "ALERT_CHANGE_FIRED")
    assert alert["state"] == "ALERT_STATE_FIRING"
    assert alert["service"] == "flight_delay@1"
    assert alert["baseline"] == signal_payload["baseline"] == dataset
    assert alert["incident"] == signal_payload["incident"]
    assert alert["incident"].endswith("-1")
    assert signal_payload["model"] == "ridge@1"
    assert {one["feature"] for one in alert["features"]} <= {"temp", "felt"}
    assert alert["features"][0]["feature"] == "temp"
    assert alert["features"][0]["effectLow"] > alert["features"][0]["threshold"]
    assert alert["onset"] == "2013-07-06T00:00:00Z"
    assert alert["summary"].startswith("flight_delay@1 drifted")
    assert "since 2013-07-06" in alert["summary"]
    assert alert["evidence"]["logValue"] >= alert["evidence"]["logLimit"]


def test_it_resolves_when_the_effect_has_gone_and_fires_again_without_a_second_signal(scene: Any) -> None:
    scene.train()
    scene = scene.replayed()
    scene.serve_days(0, 3)
    scene.serve_days(3, 10, shift=1.0)
    scene.serve_days(13, 20)
    scene.serve_days(33, 10, shift=1.0)
    report = run(scene)
    assert (report.fired, report.resolved, report.signals) == (2, 1, 1)
    assert [kind for kind, _ in told(scene)] == [Kind.FIRING, Kind.RESOLVED, Kind.FIRING]
    (_, first), (_, resolved), (_, second) = told(scene)
    assert first["incident"] == resolved["incident"] != second["incident"]
    assert (first["name"], second["name"]) == ("1", "2")
    assert (resolved["state"], resolved["features"]) == ("ALERT_STATE_RESOLVED", [])
    # The effect is judged over as many windows as it took to see it (two), and must be gone for three.
    assert resolved["decidedAt"] <= "2013-07-18T00:00:00Z"


def test_any_split_into_runs_gives_the_same_ledger_and_the_same_messages(scene: Any) -> None:
    scene.train()
    scene.serve_days(0, 6)
    scene.serve_days(6, 6, shift=1.0)
    whole = scene.replayed("whole")
    for file in sorted((scene.log / "flight_delay").iterdir()):
        (whole.log / "flight_delay").mkdir(parents=True, exist_ok=True)
        os.link(file, whole.log / "flight_delay" / file.name)
    whole.mark(datetime(2013, 7, 13, tzinfo=UTC), closed=True)
    run(whole)
    for day in range(1, 13):
        scene.mark(datetime(2013, 7, 1, tzinfo=UTC) + timedelta(days=day, hours=day))
        assert run(scene).windows == 1
    assert ledger(scene) == ledger(whole)
    assert [kind for kind, _ in told(scene)] == [kind for kind, _ in told(whole)]


def test_a_window_is_judged_once(scene: Any) -> None:
    scene.train()
    scene.serve_days(0, 3)
    assert run(scene).windows == 3
    before = ledger(scene)
    again = run(scene)
    assert (again.windows, again.verdict) == (0, NO_WINDOW)
    assert ledger(scene) == before


def test_rows_that_come_after_their_window_was_passed_are_left_out(scene: Any) -> None:
    scene.train()
    scene.serve_days(0, 1)
    scene.mark(datetime(2013, 7, 5, tzinfo=UTC))
    run(scene)
    scene.serve(scene.rows(datetime(2013, 7, 3, tzinfo=UTC)))
    assert run(scene).windows == 0


def test_rows_that_come_too_late_for_their_window_are_counted(scene: Any) -> None:
    scene.train()
    scene.serve_days(0, 2)
    run(scene)
    scene.serve(scene.rows(datetime(2013, 7, 2, tzinfo=UTC), count=30))
    scene.serve_days(2, 1)
    run(scene)
    with scene.history() as history, history.read() as connection:
        late = connection.execute(select(windows.c.rows, windows.c.late_rows).order_by(windows.c.window_start)).all()
        (found,) = status(history, [scene.policy], watermark=None, replay="")["policies"][0]["services"]
    assert [tuple(row) for row in late] == [(200, 0), (200, 30), (200, 0)]
    assert found["late_rows"] == 30


def test_stop_ends_a_run_after_the_window_at_hand(scene: Any) -> None:
    scene.train()
    scene.serve_days(0, 5)
    asked = iter([False, False, True])
    assert run(scene, stop=lambda: next(asked)).windows == 2
    assert run(scene).windows == 3


def test_without_a_baseline_nothing_is_judged_and_nothing_is_lost(scene: Any) -> None:
    scene.serve_days(0, 4)
    assert run(scene).verdict == NO_BASELINE
    assert run(scene).verdict == NO_BASELINE
    scene.train()
    assert run(scene).windows == 4


def test_no_baseline_is_said_once(scene: Any) -> None:
    scene.serve_days(0, 1)
    with capture_logs() as said:
        run(scene)
        run(scene)
    assert [line["event"] for line in said] == [NO_BASELINE]


def test_the_newest_model_says_what_the_baseline_is(scene: Any) -> None:
    scene.train("first", model="ridge")
    newest = scene.train("second", model="ridge")
    scene.train("unused")
    scene.serve_days(0, 1)
    run(scene)
    with scene.history() as history:
        found = status(history, [scene.policy], watermark=None, replay="")
    assert found["policies"][0]["services"][0]["baseline"] == newest == "second@1"


def test_a_new_baseline_judges_what_came_after_its_data_again_and_the_ledger_goes_on(scene: Any) -> None:
    scene.train("first", days=30)
    scene.serve_days(0, 3)
    run(scene)
    before = [row[:4] for row in ledger(scene)]
    scene.train("second", days=40)
    scene.serve_days(3, 2)
    assert run(scene).windows == 2
    assert [row[:4] for row in ledger(scene)][:3] == before
    assert json.loads(ledger(scene)[-1][3])["evidence"]["windows"] == 5


def test_what_a_new_baseline_has_seen_is_not_judged_against_it(scene: Any) -> None:
    scene.train("first", days=30)
    scene.serve_days(0, 3)
    run(scene)
    scene.train("second", days=183)  # to July 2
    scene.serve_days(3, 2)
    assert run(scene).windows == 2
    assert json.loads(ledger(scene)[-1][3])["evidence"]["windows"] == 3


def test_a_change_is_seen_though_there_is_a_new_baseline_for_each_window(scene: Any) -> None:
    """Each baseline by itself sees one window, which never is enough."""
    scene.train("model_0")
    scene.serve_days(0, 2)
    fired = []
    for day in range(2, 8):
        scene.serve_days(day, 1, shift=0.5)
        fired.append(run(scene).fired)
        scene.train(f"model_{day}", days=40 - day)
    assert sum(fired) == 1
    assert fired[0] == 0
    assert "2013-07-03" <= told(scene)[0][1]["onset"] < "2013-07-06"


def test_a_run_that_dies_while_a_new_baseline_is_taken_up_goes_on_there(scene: Any) -> None:
    scene.train("first", days=30)
    scene.serve_days(0, 6)
    run(scene)
    scene.train("second", days=40)
    asked = iter([False, False, True])
    run(scene, stop=lambda: next(asked))
    with scene.history() as history, history.read() as connection:
        baselines = [one.baseline for one in connection.execute(select(windows).order_by(windows.c.window_start))]
    assert baselines == ["second@1"] * 2 + ["first@1"] * 4
    scene.serve_days(6, 1)
    run(scene)
    assert json.loads(ledger(scene)[-1][3])["evidence"]["windows"] == 7


def test_a_new_version_of_the_policy_does_not_judge_the_past_anew(scene: Any) -> None:
    scene.train()
    scene.serve_days(0, 3)
    run(scene)
    scene.apply(average_run_length=5000)
    scene.serve_days(3, 2)
    assert scene.policy.version == 2
    assert run(scene).windows == 2


def test_each_version_of_the_service_has_its_own_detector(scene: Any) -> None:
    service = scene.policy.definition.service
    scene.train()
    scene.registry.apply([replace(service, features=service.features[:1])], who="test", allow_breaking=True)
    scene.serve_days(0, 2)
    with scene.history() as history:
        first = run_once(scene, history, scene.policy, now=_NOW)
    scene.serve(scene.rows(datetime(2013, 7, 2, tzinfo=UTC), service="flight_delay@2"))
    assert [one.service for one in first.services] == ["flight_delay@1"]
    with scene.history() as history:
        second = run_once(scene, history, scene.policy, now=_NOW)
    assert [(one.service, one.verdict) for one in second.services] == [
        ("flight_delay@1", NO_WINDOW),
        ("flight_delay@2", NO_BASELINE),
    ]


@pytest.mark.parametrize("damage", ["unknown", "missing", "torn"])
def test_a_fault_of_one_version_is_told_after_the_others_were_judged(scene: Any, damage: str) -> None:
    service = scene.policy.definition.service
    scene.registry.apply([replace(service, features=service.features[:1])], who="test", allow_breaking=True)
    for version in (1, 2):
        scene.train(f"delays_v{version}", version=f"flight_delay@{version}")
    file = scene.config.path("data/offline/datasets/delays_v1.parquet")
    if damage == "missing":
        file.unlink()
    elif damage == "torn":
        file.write_bytes(b"PAR1")
    odd = "flight_delay@1" if damage != "unknown" else "flight_delay@0"
    day = datetime(2013, 7, 1, tzinfo=UTC)
    scene.serve(scene.rows(day, service=odd))
    scene.serve(scene.rows(day, service="flight_delay@2"))
    scene.mark(day + timedelta(days=1))
    with pytest.raises(FeatureStoreError, match=r"flight_delay|delays_v1@1"), scene.history() as history:
        run_once(scene, history, scene.policy, now=_NOW)
    assert len(ledger(scene)) == 1


def test_a_route_that_is_not_configured_is_an_error_before_anything_is_judged(scene: Any) -> None:
    scene.apply(routes=["opps"])
    scene.train()
    scene.serve_days(0, 1)
    with pytest.raises(MonitorError, match='routes to "opps"') as raised:
        run(scene)
    assert raised.value.hint == 'Did you mean "ops"?'
    assert ledger(scene) == []


def test_a_rehearsal_tells_only_channels_that_want_it_and_says_so(make_scene: Callable[..., Any]) -> None:
    scene = make_scene(routes=("ops", "here")).replayed()
    scene.train()
    scene.serve_days(0, 2)
    scene.serve_days(2, 8, shift=1.0)
    assert run(scene).fired == 1
    sent = messages(scene)
    assert {channel for channel, _, _ in sent} == {"ops"}
    assert all(payload["replay"] for _, _, payload in sent)
    assert told(scene)[0][1]["summary"].startswith("REPLAY july: ")
    assert signalled(scene)[0]["reason"].startswith("REPLAY july: ")


def test_a_policy_that_does_not_retrain_makes_no_signal(scene: Any) -> None:
    scene.apply(retrain=False)
    scene.train()
    scene.serve_days(0, 2)
    scene.serve_days(2, 8, shift=1.0)
    report = run(scene)
    assert (report.fired, report.signals) == (1, 0)
    assert [kind for _, kind, _ in messages(scene)] == [Kind.FIRING]


def test_a_view_without_rows_is_an_alert_that_names_the_view_to_fix(scene: Any) -> None:
    scene.train()
    scene.serve_days(0, 2)
    scene.serve_days(2, 8, missing=0.9)
    report = run(scene)
    assert (report.fired, report.signals) == (1, 0)
    ((_, _, alert),) = messages(scene)
    assert alert["rule"] == "null spike"
    assert alert["suggestedAction"].startswith('Fix the pipeline: look at the source of view "')
    assert alert["features"][0]["statistic"] == "null_rate"


def test_a_fault_that_goes_on_hides_no_change_of_another_feature(scene: Any) -> None:
    scene.train()
    first = datetime(2013, 7, 1, tzinfo=UTC)
    for day in range(24):
        rows = scene.rows(first + timedelta(days=day), shift=1.5 if day >= 10 else 0.0)
        if day >= 2:
            wind = [None if number % 10 else value for number, value in enumerate(rows.column("wind").to_pylist())]
            rows = rows.set_column(rows.column_names.index("wind"), "wind", pa.array(wind, pa.float64()))
        scene.serve(rows)
    scene.mark(first + timedelta(days=24))
    run(scene)
    ((kind, incident),) = told(scene)
    assert kind == Kind.FIRING
    assert [one["rule"] for one in incident["members"]] == ["null spike", "drift"]
    assert incident["members"][0]["features"] == ["wind"]
    moved = set(incident["members"][1]["features"])
    assert "temp" in moved
    assert "wind" not in moved


def test_what_an_open_incident_is_about_is_no_second_one_by_another_name(scene: Any) -> None:
    scene.apply(features=["temp"], thresholds={"temp:kolmogorov_smirnov": 0.92})
    scene.train()
    scene.serve_days(0, 2, count=1000)
    scene.serve_days(2, 10, count=1000, shift=2.8)  # a part lies out of range, and the distribution is forgiven
    scene.serve_days(12, 12, count=1000, shift=6.0)  # now it is not
    run(scene)
    assert [payload["rule"] for _, kind, payload in messages(scene) if kind == Kind.FIRING] == ["out of range"]


def test_no_key_and_no_value_of_a_pii_field_is_in_messages_or_ledger(scene: Any) -> None:
    scene.train()
    scene.serve_days(0, 8, shift=2.0, missing=0.9)
    run(scene)
    assert messages(scene)
    text = json.dumps(messages(scene)) + "".join(row[3] for row in ledger(scene))
    for secret in ("Ada", "Secret", "EWR", "JFK"):
        assert secret not in text


def test_status_tells_where_everything_stands_in_strict_json(scene: Any) -> None:
    scene.train()
    scene.serve_days(0, 2)
    scene.serve_days(2, 6, shift=1.0)
    run(scene)
    with scene.history() as history:
        found = status(history, [scene.policy], watermark=_NOW, replay="", budgets={"ops": 2.0})
    json.dumps(found, allow_nan=False)
    (service,) = found["policies"][0]["services"]
    assert (service["windows"], service["rows"]) == (8, 1600)
    assert (service["verdict"], service["state"]) == ("drift", "firing")
    assert service["evidence"]["log_limit"] > 7
    assert [one["state"] for one in found["alerts"]] == ["firing"]
    assert [one["number"] for one in found["incidents"]] == [1]
    assert found["outbox"] == {"pending": 2, "delivered": 0, "dead": 0, "overtaken": 0}
    assert len(found["signals"]) == 1
    assert found["daemon"] is None
    assert found["policies"][0]["budget"] == [{"route": "ops", "budget": 2.0, "weight": 1.0, "pages": 2.0}]


def test_after_a_pause_an_incident_is_told_once_however_many_windows_it_has(scene: Any) -> None:
    scene.train()
    scene.serve_days(0, 3)
    scene.serve_days(3, 40, shift=1.0)
    assert run(scene).windows == 43
    assert [kind for kind, _ in told(scene)] == [Kind.FIRING]
    assert len(signalled(scene)) == 1


def test_a_run_is_bounded_and_says_that_there_is_more(scene: Any) -> None:
    scene.train()
    scene.serve_days(0, 5)
    monitor = scene.config.monitor.model_copy(update={"windows_per_run": 2})
    scene.config = scene.config.model_copy(update={"monitor": monitor})
    done = []
    for _ in range(4):
        with scene.history() as history:
            report = run_once(scene, history, scene.policy, now=_NOW)
        done.append((report.services[0].windows, report.more))
    assert done == [(2, True), (2, True), (1, False), (0, False)]


def test_an_alarm_is_held_before_it_fires_and_dropped_if_the_effect_goes(scene: Any) -> None:
    scene.apply(hold_for=3, keep_firing_for=1)
    scene.train()
    scene.serve_days(0, 3)
    scene.serve_days(3, 2, shift=2.0)
    assert run(scene).state is State.PENDING
    scene.serve_days(5, 3)
    assert (run(scene).state, messages(scene)) == (State.OK, [])
    scene.serve_days(8, 6, shift=2.0)
    assert run(scene).fired == 1
    assert told(scene)[0][1]["decidedAt"] >= "2013-07-12T00:00:00Z"


def test_slices_have_evidence_and_incidents_of_their_own(scene: Any) -> None:
    first = datetime(2013, 7, 1, tzinfo=UTC)
    scene.apply(slices=["hour=7"], baseline=BaselineSource(since=first, until=first + timedelta(days=20)))
    scene.serve_days(0, 22, count=1000)
    for day in range(22, 32):
        rows = scene.rows(first + timedelta(days=day), count=1000)
        there = pc.equal(rows.column("hour"), 7)
        moved = pc.if_else(there, pc.add(rows.column("temp"), 1.0), rows.column("temp"))
        scene.serve(rows.set_column(rows.column_names.index("temp"), "temp", moved))
    scene.mark(first + timedelta(days=32))
    run(scene)
    (alert,) = [payload for _, kind, payload in messages(scene) if kind == Kind.FIRING]
    assert (alert["slice"], alert["features"][0]["feature"]) == ("hour=7", "temp")
    assert alert["summary"].startswith("flight_delay@1 (hour=7) drifted")
    with scene.history() as history:
        found = status(history, [scene.policy], watermark=None, replay="")["policies"][0]["services"]
    assert [(one["slice"], one["state"]) for one in found] == [("", "ok"), ("hour=7", "firing")]
    assert found[1]["rows"] < found[0]["rows"] / 20


@pytest.mark.parametrize(("column", "why"), [("pilot=Ada", "tagged pii"), ("origin=JFK", "a join key")])
def test_values_that_must_not_leave_are_no_slices(scene: Any, column: str, why: str) -> None:
    scene.apply(slices=[column])
    scene.train()
    scene.serve_days(0, 1)
    with pytest.raises(MonitorError, match=why):
        run(scene)


def test_only_the_features_that_a_policy_names_are_watched(scene: Any) -> None:
    scene.apply(features=["wind"])
    scene.train()
    scene.serve_days(0, 2)
    scene.serve_days(2, 10, shift=3.0)
    report = run(scene)
    assert (report.fired, report.verdict) == (0, "ok")
    assert {one["feature"] for row in ledger(scene) for one in json.loads(row[3])["findings"]} == {"wind"}


def test_a_threshold_of_a_feature_stands_in_for_the_policys(scene: Any) -> None:
    scene.apply(thresholds={"temp": 0.9, "felt": 0.9})
    scene.train()
    scene.serve_days(0, 2)
    scene.serve_days(2, 10, shift=1.0)
    assert run(scene).fired == 0


def test_the_run_length_follows_from_the_budget_and_from_who_shares_it(scene: Any) -> None:
    def limit() -> float:
        return math.exp(json.loads(ledger(scene)[-1][3])["evidence"]["log_limit"])

    scene.train()
    scene.apply(average_run_length=None)
    scene.serve_days(0, 1)
    run(scene)
    assert limit() == pytest.approx(91.3125)
    other = replace(scene.policy.definition, name="another", share=3.0)
    scene.registry.apply([other], who="test")
    scene.serve_days(1, 1)
    run(scene)
    assert limit() == pytest.approx(4 * 91.3125)


def test_a_difference_from_the_first_window_on_is_one_finding_and_no_reason_to_retrain(scene: Any) -> None:
    scene.train()
    scene.serve_days(0, 20, shift=1.0)
    report = run(scene)
    assert (report.fired, report.signals) == (1, 0)
    ((_, kind, alert),) = messages(scene)
    assert (kind, alert["rule"]) == (Kind.FIRING, "launch mismatch")


def test_files_are_watched_as_a_log_is(scene: Any) -> None:
    folder = scene.config.root / "orders"
    folder.mkdir()
    for day in range(50):
        rows = scene.rows(datetime(2013, 6, 1, tzinfo=UTC) + timedelta(days=day), shift=2.0 if day >= 40 else 0.0)
        pq.write_table(rows.select(["served_at", "temp"]), folder / f"{day:03}.parquet")
    policy = MonitorPolicy(
        name="orders",
        source=FileSource(path="orders/*.parquet", timestamp_field="served_at"),
        fields=[Field(name="temp", dtype=Float64)],
        baseline=BaselineSource(since=datetime(2013, 6, 1, tzinfo=UTC), until=datetime(2013, 7, 1, tzinfo=UTC)),
        window=200,
        routes=["ops"],
    )
    scene.registry.apply([policy], who="test")
    with scene.history() as history:
        (report,) = run_once(scene, history, scene.registry.policy("orders"), now=_NOW).services
        dispatch(history, scene.config, now=_NOW, wait=False)
    assert (report.service, report.fired) == ("orders", 1)
    assert report.windows >= 48
    assert told(scene)[0][1]["onset"] >= "2013-07-10T00:00:00Z"


_RUNNER = textwrap.dedent(
    """
    import sys, time
    from dataclasses import dataclass
    from datetime import UTC, datetime
    from pathlib import Path
    from featurestore.config import Config
    from featurestore.settings.channels import ConsoleConfig
    from featurestore.registry import open_registry
    from monitor.history import History
    from monitor.pipeline import run_once

    root = Path(sys.argv[1])
    hook = ConsoleConfig()

    @dataclass
    class Store:
        config: Config
        registry: object

    config = Config(root=root, channels={"ops": hook})
    registry = open_registry(config.database_url(config.registry), config.project)
    with History(config.database_url(config.monitor.database)) as history:
        print("ready", flush=True)
        run_once(Store(config, registry), history, registry.policy("flight_drift"), now=datetime.now(UTC))
    """
)


def test_a_run_killed_at_any_moment_goes_on_where_it_was(scene: Any, wait_for: Callable[..., None]) -> None:
    """Short form: killed three times between windows; ledger, signals and messages are those of an unbroken run."""
    scene.train()
    database = scene.config.path("data/monitor.db")
    command = [sys.executable, "-c", _RUNNER, str(scene.config.root)]
    for kills, shift in enumerate((0.0, 1.0, 1.0)):
        scene.serve_days(10 * kills, 10, shift=shift)  # each has windows left, however many the one before it judged
        runner = Forked(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        seen = len(ledger(scene))
        wait_for(lambda seen=seen, kills=kills: len(ledger(scene)) > seen + kills)
        os.kill(runner.pid, signal.SIGKILL)
        runner.communicate()
    run(scene)
    broken = [row[1:] for row in ledger(scene)], [kind for _, kind, _ in messages(scene)]
    with History(f"sqlite:///{database}") as history, history.read() as connection:
        assert len(connection.execute(select(signals.c.id)).all()) == 1
    for leftover in database.parent.glob("monitor.db*"):
        leftover.unlink()
    run(scene)
    assert ([row[1:] for row in ledger(scene)], [kind for _, kind, _ in messages(scene)]) == broken
