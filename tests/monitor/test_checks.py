"""What is no distribution of features: quality facts, skew, predictions and outcomes, in a run of a policy."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import select

from featurestore import Entity, FeatureService, FeatureStore, FeatureView, Field, MonitorPolicy
from featurestore.types import Float64, Int64
from monitor.alerts.base import Kind
from monitor.alerts.dispatching import dispatch
from monitor.alerts.message import Context
from monitor.alerts.states import Alert, State
from monitor.history import History, Watch
from monitor.performance.reading import record_reference
from monitor.pipeline import RunReport, run_once
from monitor.pipeline.checks import RECENT, _take
from monitor.pipeline.committing import Committer
from monitor.pipeline.telling import Reach
from monitor.quality.variation import ViewNewest, frozen_view
from monitor.retraining import episodes
from monitor.schema import alerts, checks, outbox
from monitor.status import status

_NOW = datetime(2013, 7, 5, tzinfo=UTC)
_START = datetime(2026, 3, 1, tzinfo=UTC)
_DAY = timedelta(days=1)


def run(scene: Any, *, now: datetime = _NOW) -> RunReport:
    with scene.history() as history:
        report = run_once(scene, history, scene.policy, now=now)
        dispatch(history, scene.config, now=now, wait=False)
    return report


def messages(history: History) -> list[tuple[str, dict[str, Any]]]:
    with history.read() as connection:
        rows = connection.execute(select(outbox.c.kind, outbox.c.payload).order_by(outbox.c.id)).all()
    return [(row.kind, json.loads(row.payload)) for row in rows]


def test_a_fact_is_one_alert_in_sentences_and_asks_for_no_retraining(scene: Any) -> None:
    scene.apply(quality=True)
    scene.train(dated=True)
    scene.serve_days(0, 4)
    report = run(scene)
    with scene.history() as history:
        sent = messages(history)
    (alert,) = [payload for _, payload in sent if payload["rule"] == "stale_training_data"]
    assert {kind for kind, _ in sent} == {Kind.FIRING}
    assert alert["reasons"]
    assert alert["summary"].startswith("flight_delay@1, stale training data: ")
    assert (alert["features"], "evidence" in alert) == ([], False)
    assert report.services[0].fired == len(sent)
    scene.serve_days(4, 1)
    run(scene)
    with scene.history() as history:
        assert len(messages(history)) == len(sent)


def test_a_check_that_has_nothing_new_to_look_at_does_not_look(scene: Any) -> None:
    scene.apply(quality=True)
    scene.train()
    scene.serve_days(0, 2)
    run(scene)
    run(scene)
    with scene.history() as history, history.read() as connection:
        assert len(connection.execute(select(checks)).all()) == 1
        found = status(history, [scene.policy], watermark=None, replay="")["policies"][0]["checks"]
    assert [(one["check"], one["at"]) for one in found] == [("quality", "2013-07-03T00:00:00+00:00")]


def test_a_service_that_falls_silent_is_told_of_and_comes_back(scene: Any) -> None:
    scene.apply(quality=True, keep_firing_for=1)
    scene.train()
    scene.serve_days(0, 30)
    run(scene, now=datetime(2013, 7, 31, tzinfo=UTC))
    scene.mark(datetime(2013, 8, 1, tzinfo=UTC))
    run(scene, now=datetime(2013, 8, 1, tzinfo=UTC))
    with scene.history() as history:
        kinds = [kind for kind, payload in messages(history) if payload["rule"] == "silent_service"]
    assert kinds == [Kind.FIRING]
    scene.serve_days(31, 2)
    run(scene, now=datetime(2013, 8, 3, tzinfo=UTC))
    with scene.history() as history:
        kinds = [kind for kind, payload in messages(history) if payload["rule"] == "silent_service"]
    assert kinds == [Kind.FIRING, Kind.RESOLVED]


def test_while_something_is_broken_drift_asks_for_no_retraining(scene: Any) -> None:
    scene.train()
    scene.serve_days(0, 3)
    run(scene)
    with scene.history() as history, history.write() as connection:
        episodes.fires(
            connection,
            Watch(policy="another", policy_version=1, service="flight_delay@1"),
            alert="k",
            episode=1,
            service="flight_delay@1",
            rule="training_serving_skew",
            fault=True,
            views=[],
            features=[],
            incident="",
            name="",
            onset=_NOW,
        )
    scene.serve_days(3, 6, shift=1.0)
    report = run(scene)
    assert (report.services[0].fired, report.services[0].signals) == (1, 0)
    with scene.history() as history:
        (signal,) = status(history, [scene.policy], watermark=None, replay="")["signals"]
        assert signal["held"].startswith("an incident (training serving skew) of flight_delay@1 is open")
        with history.write() as connection:
            episodes.ends(connection, "k", _NOW)
    assert run(scene).services[0].signals == 1


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[FeatureStore]:
    """A store with a model that has logged predictions and outcomes, and no serving log of its own."""
    user = Entity(name="user", dtypes=[Int64])
    view = FeatureView(name="spending", entities=[user], schema=[Field(name="total", dtype=Float64)])
    scoring = FeatureService(name="scoring", features=[view])
    with FeatureStore.init(tmp_path / "shop", project="shop") as store:
        store.apply([scoring])
        store.registry.record_dataset("buyers", {"service": "scoring@1", "label": "bought"}, who="tests")
        store.log_model("churn", service="scoring@1", dataset="buyers", environment={}, task="binary")
        policy = MonitorPolicy(
            name="watch",
            service=scoring,
            window=_DAY,
            average_run_length=500,
            quality=False,
            skew=False,
            performance={"accuracy": 0.05},
        )
        store.apply([policy])
        yield store


def log(
    store: FeatureStore, first: int, days: int, *, quality: float = 2.0, shift: float = 0.0, outcomes: bool = True
) -> None:
    """Log so many days of predictions, and their outcomes half a day later."""
    random = np.random.default_rng([1, first])
    for day in range(first, first + days):
        logit = random.normal(shift, 1, 200)
        truth = (random.random(200) < 1 / (1 + np.exp(-quality * logit))).astype(float)
        scores = 1 / (1 + np.exp(-2.0 * logit))
        at = [_START + _DAY * (day + number / 200) for number in range(200)]
        ids = [f"{day}-{number}" for number in range(200)]
        store.log_predictions(
            "churn@1",
            [
                {"prediction_id": one, "number": score, "predicted_at": when}
                for one, score, when in zip(ids, scores.tolist(), at, strict=True)
            ],
        )
        if not outcomes:
            continue
        store.log_outcomes(
            "churn@1",
            [
                {"prediction_id": one, "number": value, "observed_at": when + _DAY / 2}
                for one, value, when in zip(ids, truth.tolist(), at, strict=True)
            ],
        )


def watch(store: FeatureStore, day: int) -> RunReport:
    with History(store.config.database_url(store.config.monitor.database)) as history:
        return run_once(store, history, store.registry.policy("watch"), now=_START + day * _DAY)


def told(store: FeatureStore, rule: str) -> list[str]:
    with (
        History(store.config.database_url(store.config.monitor.database)) as history,
        history.read() as connection,
    ):
        rows = connection.execute(select(alerts.c.state).where(alerts.c.rule == rule)).all()
    return [row.state for row in rows]


def test_a_model_that_does_worse_is_an_alert_and_a_reason_to_retrain(shop: FeatureStore) -> None:
    log(shop, 0, 10)
    record_reference(shop, "churn@1", now=_START + 11 * _DAY, until=_START + 10 * _DAY)
    log(shop, 10, 4)
    watch(shop, 15)
    assert told(shop, "performance of churn@1") == []
    log(shop, 14, 8, quality=-1.0)
    watch(shop, 23)
    assert told(shop, "performance of churn@1") == ["firing"]
    with (
        History(shop.config.database_url(shop.config.monitor.database)) as history,
        history.read() as connection,
    ):
        kept = connection.execute(select(checks.c.at, checks.c.verdict).order_by(checks.c.at)).all()
        signals = status(history, [], watermark=None, replay="")["signals"]
    assert len(kept) == len({row.at for row in kept}) >= 20
    assert [one["model"] for one in signals] == ["churn@1"]
    assert signals[0]["reason"].startswith("churn@1: ")


def test_a_model_whose_outcomes_stop_coming_is_not_back(shop: FeatureStore) -> None:
    log(shop, 0, 10)
    record_reference(shop, "churn@1", now=_START + 11 * _DAY, until=_START + 10 * _DAY)
    log(shop, 10, 4)
    log(shop, 14, 8, quality=-1.0)
    watch(shop, 23)
    assert told(shop, "performance of churn@1") == ["firing"]
    log(shop, 22, 8, outcomes=False)
    watch(shop, 40)
    assert told(shop, "performance of churn@1") == ["no_data"]
    log(shop, 40, 12)
    watch(shop, 60)
    assert told(shop, "performance of churn@1") == ["resolved"]


def test_predictions_are_compared_with_their_first_days(shop: FeatureStore) -> None:
    log(shop, 0, 16)
    watch(shop, 16)
    log(shop, 16, 8, shift=1.5)
    report = watch(shop, 24)
    (stream,) = report.services
    assert stream.service == "predictions of churn@1"
    assert stream.fired == 1
    assert told(shop, "prediction drift") == ["firing"]


def test_what_cannot_be_looked_at_does_not_end_an_alert(scene: Any) -> None:
    reach, kept = Reach(routes=()), []
    watch = Watch(policy="watch", policy_version=1, service="flight_delay@1")
    context = Context(project="p", replay="", service=watch.service, baseline="", model="", views={})
    newest = [_NOW + min(hour, 9) * timedelta(hours=1) for hour in range(80)]
    seen = [(_NOW + hour * timedelta(hours=1), at) for hour, at in enumerate(newest)]
    seen += [(_NOW + hour * timedelta(hours=1), _NOW + hour * timedelta(hours=1)) for hour in range(80, 90)]
    with scene.history() as history:
        for hour in range(5, 90):
            # Of the windows that are kept, all are of the time in which nothing moved.
            last = seen[max(0, hour - RECENT) : hour + 1]
            found = frozen_view(ViewNewest(view="weather", windows=tuple(last)))
            committer = Committer(history=history, config=scene.config, reach=reach, now=_NOW)
            with history.write() as connection:
                teller = committer.teller_of(scene.policy.definition, watch, context)
                at = _NOW + hour * timedelta(hours=1)
                _take(committer, connection, teller, "quality", [found], at, since=at - timedelta(hours=1))
                kept.append(teller.alerts(connection).get("frozen_view", Alert(key="k")).state)
    assert list(dict.fromkeys(kept)) == [State.OK, State.FIRING, State.NO_DATA, State.RECOVERING, State.RESOLVED]
