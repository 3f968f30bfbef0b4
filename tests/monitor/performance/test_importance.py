"""Permutation importance: what the model uses counts, what it does not use does not, the same every time."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from featurestore.definitions import Evaluation
from featurestore.errors import MonitorError
from monitor.performance.importance import feature_importance

BINARY = Evaluation(task="binary")
REGRESSION = Evaluation(task="regression")


@pytest.fixture
def rows() -> pa.Table:
    random = np.random.default_rng(1)
    a, b, c = random.normal(size=(3, 1000))
    y = 2 * a + b + random.normal(0, 0.1, 1000)
    return pa.table({"a": a, "b": b, "c": c, "y": y, "bought": y > 0})


def linear(frame: pl.DataFrame) -> np.ndarray:
    return (2 * frame["a"] + frame["b"]).to_numpy()


def chance(frame: pl.DataFrame) -> np.ndarray:
    return 1 / (1 + np.exp(-linear(frame)))


def test_of_a_linear_model_it_is_what_the_coefficients_say(rows: pa.Table) -> None:
    found = feature_importance(
        linear, rows.drop_columns(["bought"]), target="y", evaluation=REGRESSION, metric="rmse", repeats=10
    )
    assert list(found.features) == ["a", "b", "c"]
    # Dealing a to other rows adds 2 * (2 sd)^2 of squared error to the 0.01 that there is; b a quarter of that.
    assert found.features["a"].low < np.sqrt(8.01) - 0.1 < found.features["a"].high
    assert found.features["b"].low < np.sqrt(2.01) - 0.1 < found.features["b"].high
    assert found.features["c"] == (0, 0, 0)
    assert found.baseline.estimate is not None
    assert found.baseline.estimate.value == pytest.approx(0.1, rel=0.1)


def test_the_same_seed_gives_the_same_whatever_else_is_asked_for(rows: pa.Table) -> None:
    inputs = rows.drop_columns(["y"])
    first = feature_importance(chance, inputs, target="bought", evaluation=BINARY)
    again = feature_importance(chance, inputs, target="bought", evaluation=BINARY)
    alone = feature_importance(chance, inputs, target="bought", evaluation=BINARY, features=["b"])
    other = feature_importance(chance, inputs, target="bought", evaluation=BINARY, seed=1)
    assert first == again
    assert alone.features["b"] == first.features["b"]
    assert other.features["b"] != first.features["b"]
    assert first.metric == "roc_auc"
    assert set(first.values) == set(first.intervals) == {"a", "b", "c"}


@pytest.mark.parametrize(("task", "metric"), [("binary", "brier"), ("binary", "roc_auc"), ("regression", "rmse")])
def test_its_interval_covers_what_a_larger_dataset_gives(task: str, metric: str) -> None:
    def draw(count: int, seed: int) -> pa.Table:
        random = np.random.default_rng(seed)
        a, b = random.normal(size=(2, count))
        if task == "regression":
            return pa.table({"a": a, "b": b, "y": 2 * a + b + random.normal(0, 0.1, count)})
        return pa.table({"a": a, "b": b, "y": (random.random(count) < 1 / (1 + np.exp(-2 * a - b))) * 1.0})

    def asked(table: pa.Table) -> Any:
        predict = linear if task == "regression" else chance
        return feature_importance(
            predict, table, target="y", evaluation=Evaluation(task=task), metric=metric, repeats=3
        )

    truth = asked(draw(100_000, 0)).values
    covered = dict.fromkeys(truth, 0)
    for seed in range(1, 81):
        for name, one in asked(draw(200, seed)).features.items():
            covered[name] += one.low <= truth[name] <= one.high
    assert all(one >= 70 for one in covered.values()), covered


@pytest.mark.parametrize("frame", ["arrow", "polars", "numpy"])
def test_a_model_gets_the_rows_as_it_takes_them(rows: pa.Table, frame: Any) -> None:
    kinds = {"arrow": pa.Table, "polars": pl.DataFrame, "numpy": np.ndarray}

    def predict(given: Any) -> Any:
        assert isinstance(given, kinds[frame])
        columns = given.T if frame == "numpy" else [np.asarray(given[name]) for name in ("a", "b")]
        return 1 / (1 + np.exp(-2 * columns[0] - columns[1]))

    inputs = rows.drop_columns(["y"])
    found = feature_importance(predict, inputs, target="bought", evaluation=BINARY, frame=frame)
    assert found == feature_importance(chance, inputs, target="bought", evaluation=BINARY)


def test_classes_by_label_and_by_probability() -> None:
    random = np.random.default_rng(2)
    x, noise = random.normal(size=(2, 300))
    label = np.where(x < -0.5, "low", np.where(x > 0.5, "high", "middle"))
    table = pa.table({"x": x, "noise": noise, "label": label.tolist()})
    evaluation = Evaluation(task="multiclass")

    def labels(frame: pl.DataFrame) -> list[str]:
        return ["low" if one < -0.5 else "high" if one > 0.5 else "middle" for one in frame["x"]]

    found = feature_importance(labels, table, target="label", evaluation=evaluation)
    assert found.features["x"].low > 0.3
    assert found.features["noise"].value == 0

    def likely(frame: pl.DataFrame) -> np.ndarray:
        order = {"high": 0, "low": 1, "middle": 2}
        return np.eye(3)[[order[one] for one in labels(frame)]]

    assert feature_importance(likely, table, target="label", evaluation=evaluation).features == found.features


def test_what_cannot_be_measured_says_why(rows: pa.Table) -> None:
    inputs = rows.drop_columns(["y"])

    def ask(predict: Any = chance, table: Any = inputs, **other: Any) -> None:
        feature_importance(predict, table, **{"target": "bought", "evaluation": BINARY, **other})

    with pytest.raises(MonitorError, match='no column "bougt"') as caught:
        ask(target="bougt")
    assert caught.value.hint == 'Did you mean "bought"?'
    with pytest.raises(MonitorError, match='no feature "d"'):
        ask(features=["d"])
    with pytest.raises(MonitorError, match='no metric "rmse" to rank by'):
        ask(metric="rmse")
    with pytest.raises(MonitorError, match=r"predict gives shape \(3,\) for 1,000 rows"):
        ask(lambda _: [1, 2, 3])
    with pytest.raises(MonitorError, match="NaN"):
        ask(lambda frame: np.full(len(frame), np.nan))
    with pytest.raises(MonitorError, match="gives no numbers"):
        ask(lambda frame: ["x"] * len(frame))
    with pytest.raises(MonitorError, match="0 rows"):
        ask(table=inputs.slice(0, 0))
    with pytest.raises(MonitorError, match="all outcomes are of one class"):
        ask(table=inputs.set_column(3, "bought", pa.array([True] * 1000)))
    with pytest.raises(MonitorError, match="have no target"):
        ask(table=inputs.set_column(3, "bought", pa.array([None] * 1000, pa.bool_())))
    with pytest.raises(MonitorError, match="needs numbers") as caught:
        ask(table=inputs.set_column(3, "bought", pa.array(["yes"] * 1000)))
    assert "positive_label" in caught.value.hint


def test_a_constant_feature_and_one_row_matter_nothing(rows: pa.Table) -> None:
    table = rows.drop_columns(["bought"]).append_column("same", pa.array([1.0] * 1000))
    found = feature_importance(linear, table, target="y", evaluation=REGRESSION)
    assert found.features["same"] == (0, 0, 0)
    one = feature_importance(linear, table.slice(0, 1), target="y", evaluation=REGRESSION)
    assert one.values == dict.fromkeys(one.values, 0.0)
    assert one.intervals == {}
