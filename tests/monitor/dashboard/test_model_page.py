"""How a model does, on its page: measured where outcomes are there, estimated where they are not, and as judged."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from featurestore import Entity, FeatureService, FeatureStore, FeatureView, Field, MonitorPolicy
from featurestore.types import Float64, Int64
from monitor.cli import app
from monitor.dashboard import performance
from monitor.history import History
from monitor.performance.reading import record_reference
from monitor.pipeline import run_once
from tests.monitor.dashboard.conftest import Browser

_DAY = timedelta(days=1)
#: Days of predictions, and for how many of them outcomes are waited.
_DAYS, _DELAY = 20, 3


@pytest.fixture
def today() -> datetime:
    return datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[FeatureStore]:
    """A store with two models whose first days were good; outcomes of the last three days are waited for."""
    (tmp_path / "featurestore.toml").write_text('project = "shop"\n[dashboard]\n')
    user = Entity(name="user", dtypes=[Int64])
    view = FeatureView(name="spending", entities=[user], schema=[Field(name="total", dtype=Float64)])
    scoring = FeatureService(name="scoring", features=[view])
    with FeatureStore(tmp_path) as store:
        store.apply([scoring])
        store.registry.record_dataset("buyers", {"service": "scoring@1", "label": "bought"}, who="tests")
        for value in (0.25, 0.5):
            store.log_model(
                "churn",
                service="scoring@1",
                dataset="buyers",
                environment={},
                task="binary",
                label_delay=_DELAY * _DAY,
                metrics={"accuracy": value},
                feature_importances={"total": value},
                importance_intervals={"total": (value - 0.05, value + 0.05)},
            )
        yield store


def log(store: FeatureStore, today: datetime, *, model: str = "churn@1", bad: int = _DAYS, rows: int = 100) -> None:
    """Log predictions of the days before today, and the outcomes that are known; from a day on they are wrong."""
    random = np.random.default_rng(7)
    for day in range(_DAYS):
        logit = random.normal(0, 1, rows)
        likely = 1 / (1 + np.exp(-2.0 * logit))
        truth = random.random(rows) < (1 - likely if day >= bad else likely)
        at = [today - (_DAYS - day) * _DAY + _DAY * (number / rows) for number in range(rows)]
        ids = [f"{model}-{day}-{number}" for number in range(rows)]
        store.log_predictions(
            model,
            [
                {"prediction_id": one, "number": score, "predicted_at": when}
                for one, score, when in zip(ids, likely.tolist(), at, strict=True)
            ],
        )
        known = [
            {"prediction_id": one, "number": float(true), "observed_at": when + 2 * _DAY}
            for one, true, when in zip(ids, truth.tolist(), at, strict=True)
            if when + 2 * _DAY < today
        ]
        if known:
            store.log_outcomes(model, known)


def test_what_has_outcomes_is_measured_and_the_rest_is_estimated(
    shop: FeatureStore, today: datetime, browse: Callable[..., Browser]
) -> None:
    log(shop, today)
    record_reference(shop, "churn@1", now=datetime.now(UTC), until=today - 10 * _DAY)
    browser = browse()
    values = browser.client.get("/models/churn@1.json").json()
    assert values["faults"] == []
    found = values["performance"]
    assert (len(found["windows"]), len(found["expected"])) == (_DAYS - _DELAY, _DELAY)
    assert found["windows"][-1]["end"] == found["expected"][0]["start"]
    for one in (*found["windows"], *found["expected"]):
        accuracy = one["metrics"]["accuracy"]
        assert accuracy["low"] < accuracy["value"] < accuracy["high"]
    # The terminal says the same.
    asked = ["performance", "churn@1", "--since", found["since"][:10], "--format", "json", "--repo"]
    (twin,) = json.loads(CliRunner().invoke(app, [*asked, str(shop.config.root)]).output)
    assert (twin["windows"], twin["expected"]) == (found["windows"], found["expected"])
    page = browser.get("/models/churn@1")
    assert "estimated" in page
    assert "measured" in page
    assert f"featurestore monitor performance churn@1 --since {found['since'][:10]}" in page
    assert 'src="/models/churn@1/performance.svg?days=30"' in page
    for address in ("/models/churn@1/performance.svg?days=30", "/models/churn@1/performance.svg?days=7&dark"):
        picture = browser.get(address)
        assert ">estimated<" in picture
        assert "the model&#39;s baseline" in picture or "the model's baseline" in picture
    assert len(browser.client.get("/models/churn@1.json?days=7").json()["performance"]["windows"]) == 7 - _DELAY


def test_what_the_monitor_judged_is_shown_with_its_interval_and_what_matters(
    shop: FeatureStore, today: datetime, browse: Callable[..., Browser]
) -> None:
    log(shop, today, bad=12, rows=200)
    record_reference(shop, "churn@1", now=datetime.now(UTC), until=today - 10 * _DAY)
    service = shop.registry.service("scoring").definition
    assert isinstance(service, FeatureService)
    policy = MonitorPolicy(
        name="watch",
        service=service,
        window=_DAY,
        average_run_length=500,
        quality=False,
        skew=False,
        performance={"accuracy": 0.05},
    )
    shop.apply([policy])
    with History(shop.config.database_url(shop.config.monitor.database)) as history:
        run_once(shop, history, shop.registry.policy("watch"), now=datetime.now(UTC))
    browser = browse()
    looks = browser.client.get("/models/churn@1.json").json()["looks"]
    assert len(looks) == _DAYS - _DELAY
    assert [one["verdict"] in ("drift", "severe") for one in (looks[0], looks[-1])] == [True, False]
    (drop,) = looks[0]["drops"]
    assert (drop["metric"], drop["points"], drop["verdict"]) == ("accuracy", 0.05, "drift")
    assert 0.05 < drop["low"] < drop["change"] < drop["high"]
    assert looks[0]["risk"]["limit"] > 0
    page = browser.get("/models/churn@1")
    assert "0.05 matters" in page
    assert "what matters" in browser.get("/models/churn@1/judged.svg")
    # What matters is drawn beside what is measured, too.
    assert "what matters" in browser.get("/models/churn@1/performance.svg")


def test_a_large_log_is_measured_when_somebody_asks(
    shop: FeatureStore, today: datetime, browse: Callable[..., Browser], monkeypatch: pytest.MonkeyPatch
) -> None:
    log(shop, today, rows=20)
    monkeypatch.setattr(performance, "SMALL", 100)
    browser = browse()
    page = browser.get("/models/churn@1")
    assert "so it is measured when somebody asks" in page
    assert browser.client.get("/models/churn@1.json").json()["performance"] is None
    assert browser.client.get("/models/churn@1.json?days=30").json()["performance"]["windows"]


@pytest.mark.usefixtures("shop")
def test_importances_are_bars_with_intervals(browse: Callable[..., Browser]) -> None:
    browser = browse()
    page = browser.get("/models/churn@1")
    assert 'src="/models/churn@1/importances.svg"' in page
    assert "0.25 [0.2, 0.3]" in page
    picture = browser.get("/models/churn@1/importances.svg?dark")
    assert "total" in picture
    assert "Nothing was measured yet" in page
    browser.get("/models/churn@1/performance.svg", 404)
    browser.get("/models/churn@1/judged.svg", 404)


def test_two_models_are_side_by_side_with_intervals(
    shop: FeatureStore, today: datetime, browse: Callable[..., Browser]
) -> None:
    log(shop, today)
    log(shop, today, model="churn@2", bad=0)
    browser = browse()
    page = browser.get("/models?a=churn@1&b=churn@2")
    assert "0.25 [0.2, 0.3]" in page
    assert "0.5 [0.45, 0.55]" in page
    assert "Compare them on live data too" in page
    assert "--no-live" in page
    values: Any = browser.client.get("/models.json?a=churn@1&b=churn@2&live=1").json()["live"]
    assert values["error"] == ""
    (accuracy,) = [one["comparison"] for one in values["comparisons"] if one["comparison"]["metric"] == "accuracy"]
    assert accuracy["difference"]["low"] < accuracy["difference"]["value"] < accuracy["difference"]["high"] < 0
    assert values["said"]["accuracy"] == "worse"
    page = browser.get("/models?a=churn@1&b=churn@2&live=1")
    assert "One against the other" in page
    assert "featurestore model compare churn@1 churn@2</code>" in page
    assert "no model" in browser.get("/models?a=churn@1&b=no@1&live=1")
