"""Two versions of a service, on numbers of the business and on the models' own."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pytest

from featurestore import Evaluation, FeatureStore
from featurestore.errors import MonitorError, ObjectNotFoundError
from monitor.performance.comparison import Margin
from monitor.performance.versions import compare_versions

DAY = timedelta(days=1)
Serve = Callable[..., None]


def convert(
    store: FeatureStore, ids: list[str], share: float, at: datetime, *, zeros: bool = True, seed: int = 0
) -> None:
    random = np.random.default_rng(seed)
    rows = [
        {"prediction_id": one, "metric": "conversion", "number": float(hit), "observed_at": at}
        for one, hit in zip(ids, random.random(len(ids)) < share, strict=True)
        if zeros or hit
    ]
    store.log_outcomes("churn", rows)


@pytest.fixture
def canary(churn: FeatureStore, serve: Serve) -> FeatureStore:
    """Version 1 for five days, version 2 beside it for the last three."""
    serve(churn, model="churn@1", days=5, rows=400, quality=2.0, prefix="a")
    serve(churn, model="churn@2", days=3, rows=300, first=2, quality=4.0, prefix="b")
    return churn


def ids(store: FeatureStore, model: str) -> list[str]:
    return list(store.predictions(model).column("prediction_id").to_pylist())


def ask(store: FeatureStore, start: datetime, metric: str = "conversion", **other: Any) -> Any:
    given: dict[str, Any] = {"margin": Margin(amount=0.05), "now": start + 20 * DAY} | other
    return compare_versions(store, "scoring@1", "scoring@2", metric=metric, **given)


def test_only_what_both_served_at_the_same_time_is_compared(canary: FeatureStore, start: datetime) -> None:
    for model, share in (("churn@1", 0.1), ("churn@2", 0.3)):
        convert(canary, ids(canary, model), share, start + 6 * DAY)
    found = ask(canary, start)
    assert found.comparison.answer == "yes"
    # The last of version 1 was after the last of version 2.
    assert (found.comparison.a.rows, found.comparison.b.rows) == (1199, 900)
    assert found.start >= start + 2 * DAY
    assert found.notes == ()
    assert ask(canary, start, all_times=True).comparison.a.rows == 2000
    assert found.comparison.text.startswith("Yes: scoring@2 is at least 5 % better than scoring@1. conversion: ")


def test_no_event_counts_as_zero_where_it_is_said_so(canary: FeatureStore, start: datetime) -> None:
    for model, share in (("churn@1", 0.1), ("churn@2", 0.3)):
        convert(canary, ids(canary, model), share, start + 6 * DAY, zeros=False)
    assert ask(canary, start).comparison.a.mean == 1.0, "only what happened was logged"
    assert ask(canary, start, missing="zero").comparison.a.mean == pytest.approx(0.1, abs=0.03)
    for model in ("churn@1", "churn@2"):
        canary.update_model(model, evaluation=Evaluation(task="binary", missing_outcome="negative"))
    assert ask(canary, start).comparison.a.mean == pytest.approx(0.1, abs=0.03)


def test_a_version_without_a_single_conversion_is_worse_and_not_unknown(canary: FeatureStore, start: datetime) -> None:
    convert(canary, ids(canary, "churn@1"), 0.2, start + 6 * DAY, zeros=False)
    found = ask(canary, start, missing="zero")
    assert (found.comparison.answer, found.comparison.b.mean) == ("no", 0.0)


def test_what_is_not_matured_waits(canary: FeatureStore, start: datetime) -> None:
    convert(canary, ids(canary, "churn@1"), 0.2, start + 6 * DAY)
    early = ask(canary, start, now=start + 3 * DAY)
    assert early.comparison.answer == "not enough data"
    assert early.coverage[0].immature > 0


def test_models_are_compared_by_their_own_metrics_and_lower_is_better_where_it_is(
    canary: FeatureStore, start: datetime
) -> None:
    accuracy = ask(canary, start, "accuracy", margin=Margin())
    brier = ask(canary, start, "brier", margin=Margin())
    assert (accuracy.comparison.answer, brier.comparison.answer) == ("yes", "yes")
    assert brier.comparison.b.mean < brier.comparison.a.mean
    assert brier.comparison.margin.lower_is_better
    by_model = compare_versions(canary, "churn@1", "churn@2", metric="accuracy", margin=Margin(), now=start + 20 * DAY)
    assert by_model.comparison.difference == accuracy.comparison.difference
    with pytest.raises(MonitorError, match='cannot be compared on "mae"'):
        ask(canary, start, "mae")


def test_versions_of_two_times_are_compared_with_a_warning(churn: FeatureStore, serve: Serve, start: datetime) -> None:
    serve(churn, model="churn@1", days=2, prefix="a")
    serve(churn, model="churn@2", days=2, first=4, prefix="b")
    found = ask(churn, start, "accuracy")
    assert "never served at the same time" in found.notes[0]
    assert found.comparison.a.rows == 200


def test_mistakes_name_what_there_is(canary: FeatureStore, start: datetime) -> None:
    convert(canary, ids(canary, "churn@1"), 0.2, start + 6 * DAY)
    with pytest.raises(MonitorError, match='has the metric "convrsion"') as caught:
        ask(canary, start, "convrsion")
    assert caught.value.hint == 'Did you mean "conversion"?'
    with pytest.raises(ObjectNotFoundError, match="nobody"):
        compare_versions(canary, "scoring@1", "nobody@1", metric="m", margin=Margin(), now=start)
    canary.log_outcomes("churn", [{"prediction_id": "a-0-0", "metric": "mood", "label": "happy", "observed_at": start}])
    with pytest.raises(MonitorError, match="are labels, which have no mean"):
        ask(canary, start, "mood")


def test_no_predictions_at_all_are_not_enough_data(churn: FeatureStore, start: datetime) -> None:
    assert ask(churn, start, "accuracy").comparison.answer == "not enough data"


def test_one_day_says_that_days_are_not_known(churn: FeatureStore, serve: Serve, start: datetime) -> None:
    for model, prefix in (("churn@1", "a"), ("churn@2", "b")):
        serve(churn, model=model, days=1, prefix=prefix)
    found = ask(churn, start, "accuracy", always_valid=True)
    assert "All predictions are of one day" in found.notes[0]
    assert found.comparison.always_valid
