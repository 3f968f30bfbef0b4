"""From the log of a store to windows, baselines and importances that are kept with the model."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

import numpy as np
import pytest

from featurestore import Evaluation, FeatureStore
from featurestore.errors import MonitorError, ObjectNotFoundError
from monitor.performance.judging import PerformanceRules, judge
from monitor.performance.ranking import model_importance
from monitor.performance.reading import models_of, read_performance, record_reference, reference_of

DAY = timedelta(days=1)
Serve = Callable[..., None]


def test_windows_are_of_predictions_that_have_matured(churn: FeatureStore, serve: Serve, start: datetime) -> None:
    serve(churn, days=4)
    found = read_performance(churn, "churn@1", now=start + 4 * DAY)
    assert [(one.start - start) // DAY for one in found.windows] == [0, 1, 2]
    assert [one.coverage.matured for one in found.windows] == [100, 100, 100]
    assert [len(one.losses) for one in found.windows] == [100, 100, 100]
    assert {one.verdict for one in found.windows} == {"ok"}
    # The first prediction of the fourth day matures just now; its outcome is known.
    assert (found.coverage.predictions, found.coverage.matured, found.coverage.immature) == (400, 301, 99)
    assert found.metrics["accuracy"].rows == 301
    assert found.reference is None


def test_windows_that_have_not_matured_are_estimated_with_all_of_their_predictions(
    churn: FeatureStore, serve: Serve, start: datetime
) -> None:
    serve(churn, days=4)
    found = read_performance(churn, "churn@1", now=start + 4 * DAY)
    # One of the fourth day's predictions has matured, and is a part of its window all the same.
    assert [((one.start - start) // DAY, (one.end - start) // DAY, one.rows) for one in found.expected] == [(3, 4, 100)]
    scores = churn.predictions("churn@1", start + 3 * DAY).column("number").to_numpy()
    estimate = found.expected[0].metrics["accuracy"].estimate
    assert estimate is not None
    assert estimate.value == pytest.approx(np.maximum(scores, 1 - scores).mean(), abs=1e-3)
    half = read_performance(churn, "churn@1", now=start + 3 * DAY + DAY / 2, window=DAY / 2)
    assert [(one.start - start) / DAY for one in half.expected] == [2.5, 3.0, 3.5]
    assert [one.rows for one in half.expected] == [50, 50, 50]
    assert read_performance(churn, "churn@1", now=start + 9 * DAY).expected == ()


def test_since_begins_where_a_window_does_and_changes_no_window(
    churn: FeatureStore, serve: Serve, start: datetime
) -> None:
    serve(churn, days=4)
    whole = read_performance(churn, "churn@1", now=start + 9 * DAY)
    part = read_performance(churn, "churn@1", now=start + 9 * DAY, since=start + 2 * DAY + timedelta(hours=5))
    assert [one.start for one in part.windows] == [one.start for one in whole.windows][2:]
    assert part.windows[0].coverage == whole.windows[2].coverage
    assert part.coverage.outcomes_without_prediction == 0
    assert part.coverage.outcomes_elsewhere > 0


def test_a_window_that_was_judged_stays_as_it_was(churn: FeatureStore, serve: Serve, start: datetime) -> None:
    serve(churn, days=2)
    first = read_performance(churn, "churn@1", now=start + 3 * DAY, window=timedelta(hours=6))
    serve(churn, days=2, first=2)
    again = read_performance(churn, "churn@1", now=start + 3 * DAY, window=timedelta(hours=6))
    assert [one.coverage for one in again.windows[: len(first.windows)]] == [one.coverage for one in first.windows]


def test_versions_are_apart_and_together(churn: FeatureStore, serve: Serve, start: datetime) -> None:
    serve(churn, model="churn@1", days=1)
    serve(churn, model="churn@2", days=1, first=1)
    now = start + 5 * DAY
    assert read_performance(churn, "churn@1", now=now).coverage.predictions == 100
    one = read_performance(churn, "churn@2", now=now).coverage
    assert (one.predictions, one.outcomes_elsewhere, one.outcomes_without_prediction) == (100, 100, 0)
    assert read_performance(churn, "churn", now=now).coverage.predictions == 200
    assert models_of(churn, "scoring") == ["churn@1", "churn@2"]
    assert models_of(churn, "scoring@2") == models_of(churn, "churn@2") == ["churn@2"]
    assert models_of(churn, "churn") == ["churn"]
    with pytest.raises(ObjectNotFoundError, match="nobody"):
        models_of(churn, "nobody")


def test_outcomes_of_nothing_and_repeated_ones_are_counted(churn: FeatureStore, serve: Serve, start: datetime) -> None:
    serve(churn, days=1)
    at = start + timedelta(hours=30)
    churn.log_outcomes("churn", [{"prediction_id": "nobody", "number": 1.0, "observed_at": at}])
    churn.log_outcomes("churn", [{"prediction_id": "p-0-0", "number": 1.0, "observed_at": at}])
    found = read_performance(churn, "churn@1", now=start + 5 * DAY).coverage
    assert (found.outcomes_without_prediction, found.repeated_outcomes, found.late_outcomes) == (1, 1, 1)


def test_a_first_period_is_a_baseline_and_what_follows_is_judged_by_it(
    churn: FeatureStore, serve: Serve, start: datetime
) -> None:
    serve(churn, days=5, rows=400, quality=4.0)
    serve(churn, days=2, rows=400, quality=0.5, first=5)
    now = start + 9 * DAY
    made = record_reference(churn, "churn@1", now=now, until=start + 5 * DAY)
    kept = reference_of(churn.registry.model("churn@1"))
    assert kept is not None
    assert kept.to_dict() == made.to_dict()
    assert (made.rows, made.blocks) == (2000, 5)
    assert churn.registry.audit()[-1].action == "model"
    report = read_performance(churn, "churn@1", now=now)
    assert report.reference is not None
    state, verdicts = None, []
    for window in report.windows:
        state, found = judge(
            report.reference, window, state, PerformanceRules(drops={"accuracy": 0.02}), average_run_length=2160
        )
        verdicts.append(found.verdict)
    assert verdicts[:5] == ["ok"] * 5
    assert verdicts[5] in ("drift", "severe")


@pytest.mark.parametrize("dated", [True, False])
def test_validation_predictions_are_a_baseline(churn: FeatureStore, start: datetime, dated: bool) -> None:
    random = np.random.default_rng(1)
    scores = random.random(300)
    rows = [
        {"number": score, "outcome": bool(hit)} | ({"predicted_at": start + n * timedelta(hours=1)} if dated else {})
        for n, (score, hit) in enumerate(zip(scores.tolist(), random.random(300) < scores, strict=True))
    ]
    made = record_reference(churn, "churn", rows, now=start)
    assert (made.source, made.rows, made.blocks) == ("validation", 300, 13 if dated else 0)
    assert made.calibration is not None
    with pytest.raises(MonitorError, match='no column "outcome"'):
        record_reference(churn, "churn", [{"number": 1.0}], now=start)


def test_those_that_wait_are_estimated_and_named_so(churn: FeatureStore, serve: Serve, start: datetime) -> None:
    serve(churn, days=4, rows=300, quality=2.0)
    record_reference(churn, "churn@1", now=start + 3 * DAY)
    found = read_performance(churn, "churn@1", now=start + 3 * DAY)
    assert found.coverage.immature == 599
    real = read_performance(churn, "churn@1", now=start + 9 * DAY, since=start + 2 * DAY).metrics["accuracy"].estimate
    estimate = found.estimated["accuracy"].estimate
    assert estimate is not None
    assert real is not None
    assert estimate.low <= real.value <= estimate.high


def test_no_predictions_no_outcomes_and_no_task(store: FeatureStore, churn: FeatureStore, start: datetime) -> None:
    empty = read_performance(churn, "churn", now=start)
    assert (empty.windows, empty.coverage.predictions) == ((), 0)
    assert empty.metrics["accuracy"].reason == "no prediction has a known outcome"
    churn.log_predictions("churn@1", [{"prediction_id": "a", "number": 0.5, "predicted_at": start}])
    (window,) = read_performance(churn, "churn@1", now=start + 3 * DAY).windows
    assert window.verdict == "not enough data"
    assert window.coverage.missing == 1
    with pytest.raises(MonitorError, match="nothing to compare with"):
        record_reference(churn, "churn@1", now=start + 3 * DAY)
    with pytest.raises(MonitorError, match="has no length"):
        read_performance(churn, "churn@1", now=start, window=timedelta(0))
    store.update_model("churn@1", evaluation=Evaluation())
    with pytest.raises(MonitorError, match="declares no task"):
        read_performance(churn, "churn@1", now=start)


def test_importances_are_kept_with_the_model(churn: FeatureStore, start: datetime) -> None:
    random = np.random.default_rng(5)
    rows = [
        {"user": n, "event_timestamp": start + timedelta(hours=n), "total": x, "count": y, "bought": x > 0}
        for n, (x, y) in enumerate(random.normal(size=(200, 2)).tolist())
    ]
    for view, column in (("spending", "total"), ("visits", "count")):
        churn.ingest(view, [{name: row[name] for name in ("user", "event_timestamp", column)} for row in rows])
    asked = [{name: row[name] for name in ("user", "event_timestamp", "bought")} for row in rows]
    churn.create_training_dataset("buyers", entity_df=asked, features="scoring@2", label="bought")
    churn.log_model("churn", service="scoring@2", dataset="buyers@2", environment={}, task="binary")
    name, found = model_importance(
        churn, "churn", lambda frame: (frame["total"] > 0).cast(float).to_numpy(), metric="accuracy", record=True
    )
    assert name == "churn@3"
    assert list(found.features) == ["total", "count"]
    kept = churn.registry.model("churn@3")
    assert kept.feature_importances == found.values
    assert kept.importance_intervals == found.intervals
    assert kept.importance_intervals["total"][0] > 0.3
    assert churn.registry.model("churn@1").feature_importances == {}
