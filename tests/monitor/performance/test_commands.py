"""``featurestore monitor performance | reference | compare | importance``, as they are typed."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from typer.testing import CliRunner

from featurestore import FeatureStore
from featurestore.errors import ConfigError, FeatureStoreError, MonitorError
from monitor.cli import app


def call(store: FeatureStore, *arguments: str) -> str:
    result = CliRunner().invoke(app, [*arguments, "--repo", str(store.config.root)])
    if isinstance(result.exception, FeatureStoreError):
        raise result.exception
    assert result.exception is None, result.output
    return result.output


def test_programs_read_what_people_do(churn: FeatureStore, serve: Callable[..., None]) -> None:
    serve(churn, model="churn@1", days=3, prefix="a")
    serve(churn, model="churn@2", days=3, prefix="b", quality=0.5)
    assert "It has no baseline of its own" in call(churn, "performance", "churn@1")
    assert "Baseline of churn@1: 300 predictions of 3 days" in call(churn, "reference", "churn@1")
    one, other = json.loads(call(churn, "performance", "scoring", "--drop", "accuracy=0.02", "--format", "json"))
    assert (one["model"], other["model"], len(one["windows"])) == ("churn@1", "churn@2", 3)
    assert one["windows"][0]["drops"][0]["metric"] == "accuracy"
    assert (one["baseline"]["rows"], other["baseline"]) == (300, None)
    assert one["coverage"]["share"] == 1.0
    found = json.loads(call(churn, "compare", "churn@1", "churn@2", "--metric", "accuracy", "--format", "json"))
    assert found["comparison"]["answer"] == "no"
    assert set(found["comparison"]["difference"]) == {"value", "low", "high"}


def test_a_single_row_is_json_too(churn: FeatureStore) -> None:
    churn.log_predictions("churn@1", [{"prediction_id": "a", "number": 0.5}])
    (found,) = json.loads(call(churn, "performance", "churn@1", "--format", "json"))
    assert found["metrics"]["accuracy"]["reason"] == "no prediction has a known outcome"
    assert found["estimated"]["accuracy"]["value"] == 0.5
    asked = ("compare", "churn@1", "churn@2", "--metric", "accuracy", "--format", "json")
    assert json.loads(call(churn, *asked))["comparison"]["answer"] == "not enough data"


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (("performance", "churn", "--window", "soon"), ConfigError, "no duration"),
        (("performance", "churn", "--drop", "accuracy"), MonitorError, "names no metric and points"),
        (("performance", "churn", "--drop", "acuracy=0.1"), MonitorError, "There is no metric"),
        (("compare", "churn@1", "churn@2", "--metric", "m", "--at-least", "much"), MonitorError, "is no amount"),
        (("importance", "churn", "--predict", "nowhere:predict"), MonitorError, "cannot be imported"),
        (("importance", "churn", "--predict", "math:pi"), MonitorError, "is no function"),
    ],
)
def test_mistakes_are_sentences(churn: FeatureStore, arguments: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        call(churn, *arguments)
