"""Commands on recorded models: listed, and two side by side."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from featurestore import Entity, Evaluation, FeatureService, FeatureStore, FeatureView, Field
from featurestore.cli import models as module
from featurestore.cli.app import run
from featurestore.errors import MonitorError, ObjectNotFoundError
from featurestore.registry import Difference
from featurestore.types import Float64, Int64
from monitor.performance.live import compare_live

START = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    user = Entity(name="user", join_keys=["user_id"], dtypes=[Int64])
    spending = FeatureView(name="spending", entities=[user], schema=[Field(name="total", dtype=Float64)])
    visits = FeatureView(name="visits", entities=[user], schema=[Field(name="count", dtype=Float64)])
    with FeatureStore.init(tmp_path / "repo", project="shop") as store:
        store.apply([FeatureService(name="scoring", features=[spending])])
        store.apply([FeatureService(name="scoring", features=[spending, visits])])
        for rows, label in ((400, "bought"), (600, "bought")):
            about = {"service": "scoring@2", "label": label, "rows": rows, "content_hash": f"{rows:064}"}
            store.registry.record_dataset("buyers", about, who="tests")
        store.log_model(
            "churn",
            service="scoring@1",
            dataset="buyers@1",
            hyperparameters={"alpha": 0.1, "seed": 1},
            metrics={"auc": 0.75, "loss": 0.5},
            feature_importances={"total": 0.3},
            importance_intervals={"total": (0.2, 0.4)},
            environment={"python": "3.11.7", "scikit-learn": "1.6", "gone": "1"},
        )
        store.log_model(
            "churn",
            service="scoring@2",
            dataset="buyers@2",
            hyperparameters={"alpha": 0.2, "seed": 1},
            metrics={"auc": 0.8, "rmse": 2.0},
            feature_importances={"total": -0.1, "count": 0.2},
            environment={"python": "3.11.7", "scikit-learn": "1.7"},
            task="binary",
        )
    return tmp_path / "repo"


@pytest.fixture
def store(repo: Path) -> Iterator[FeatureStore]:
    with FeatureStore(repo) as store:
        yield store


@pytest.fixture(autouse=True)
def monitored(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the installed package names, whatever release of it is installed here."""

    class Entry:
        name = "monitor"

        @staticmethod
        def load() -> object:
            return compare_live

    monkeypatch.setattr(module, "entry_points", lambda group: [Entry] if group == module.GROUP else [])


def command(repo: Path, *arguments: str) -> int:
    return run(["model", *arguments, "-C", str(repo)], debug=False)


def serve(store: FeatureStore) -> None:
    """Log two days of predictions of both versions; those of the second are better."""
    store.update_model("churn@1", evaluation=Evaluation(task="binary"))
    for model, wrong in (("churn@1", 4), ("churn@2", 10)):
        rows = [
            {"prediction_id": f"{model}-{n}", "predicted_at": START + timedelta(minutes=15 * n)} for n in range(180)
        ]
        store.log_predictions(model, [row | {"number": float(n % wrong > 0)} for n, row in enumerate(rows)])
        for metric, value in (("", 1.0), ("revenue", 3.0)):
            outcomes = [
                {
                    "prediction_id": row["prediction_id"],
                    "metric": metric,
                    "number": value * (1 if metric == "" else n % wrong),
                    "observed_at": START + timedelta(days=3),
                }
                for n, row in enumerate(rows)
            ]
            store.log_outcomes("churn", outcomes)


def test_models_are_listed_with_what_they_are_made_of(
    repo: Path, store: FeatureStore, capsys: pytest.CaptureFixture[str]
) -> None:
    store.promote("scoring@1")
    assert command(repo, "list") == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first.split()[:4] == ["churn@1", "scoring@1", "(production)", "buyers@1"]
    assert first.endswith("auc 0.75, loss 0.5")
    assert second.split()[:3] == ["churn@2", "scoring@2", "buyers@2"]
    for arguments, ids in (
        (["churn@2"], ["churn@2"]),
        (["--service", "scoring@1"], ["churn@1"]),
        (["churn", "--service", "scoring"], ["churn@1", "churn@2"]),
    ):
        assert command(repo, "list", *arguments, "--format", "json") == 0
        assert [one["id"] for one in json.loads(capsys.readouterr().out)] == ids
    assert command(repo, "list", "nobody") == 1
    assert 'no model "nobody"' in capsys.readouterr().err


def test_no_model_says_what_to_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    FeatureStore.init(tmp_path / "empty").close()
    assert command(tmp_path / "empty", "list") == 0
    assert capsys.readouterr().out.startswith("There is no model. Next: store.log_model(")


def test_what_is_different_in_a_model_from_another(store: FeatureStore) -> None:
    found = store.compare_models("churn@1", "churn")
    assert [(one.name, one.a, one.b) for one in found.metrics] == [
        ("auc", 0.75, 0.8),
        ("loss", 0.5, None),
        ("rmse", None, 2.0),
    ]
    assert found.metrics[0].change == pytest.approx(0.05)
    assert found.metrics[1].change is None
    # By size, whatever the sign, of either.
    assert [(one.name, one.a, one.b, one.a_interval) for one in found.importances] == [
        ("total", 0.3, -0.1, (0.2, 0.4)),
        ("count", None, 0.2, None),
    ]
    assert (found.features_added, found.features_removed) == (("count",), ())
    assert found.hyperparameters == (Difference("alpha", 0.1, 0.2),)
    assert found.environment == (Difference("gone", "1", None), Difference("scikit-learn", "1.6", "1.7"))
    assert [one.path for one in found.dataset] == ["rows", "content_hash"]
    assert [one.path for one in found.evaluation] == [
        "task",
        "label_delay_us",
        "missing_outcome",
        "positive_label",
        "decision_threshold",
    ]
    same = store.compare_models("churn@2", "churn@2")
    assert [same.hyperparameters, same.environment, same.dataset, same.evaluation, same.features_added] == [()] * 5
    with pytest.raises(ObjectNotFoundError):
        store.compare_models("churn@1", "churn@9")


def test_two_models_side_by_side(repo: Path, store: FeatureStore, capsys: pytest.CaptureFixture[str]) -> None:
    serve(store)
    assert command(repo, "compare", "churn@1", "churn@2") == 0
    said = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert said[0] == "churn@1 and churn@2"
    assert "service scoring@1 -> scoring@2" in said
    assert "dataset buyers@1 -> buyers@2" in said
    assert "rows 400 -> 600" in said
    assert "features added: count" in said
    assert "hyperparameters alpha 0.1 -> 0.2" in said
    assert "environment gone 1 -> -, scikit-learn 1.6 -> 1.7" in said
    assert "at training churn@1 churn@2 change" in said
    assert "auc 0.75 0.8 +0.05" in said
    assert "total 0.3 [0.2, 0.4] -0.1 -0.4" in said
    (accuracy,) = [line for line in said if line.startswith("accuracy") and "of" in line]
    assert accuracy.startswith("accuracy 0.75 of 180 rows 0.9 of 180 rows 0.15 [")
    assert accuracy.endswith("better")
    # Whether more of it is better, nobody has said.
    (revenue,) = [line for line in said if line.startswith("revenue")]
    assert not revenue.endswith(("better", "worse"))
    assert any(line.startswith("churn@1: 180 predictions") for line in said)


def test_the_same_for_programs(repo: Path, store: FeatureStore, capsys: pytest.CaptureFixture[str]) -> None:
    serve(store)
    assert command(repo, "compare", "churn@1", "churn@2", "--format", "json") == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["a"]["id"], found["b"]["id"]) == ("churn@1", "churn@2")
    assert found["metrics"][0] | {"change": 0} == {
        "name": "auc",
        "a": 0.75,
        "b": 0.8,
        "a_interval": None,
        "b_interval": None,
        "change": 0,
    }
    by_metric = {one["comparison"]["metric"]: one["comparison"] for one in found["live"]["comparisons"]}
    assert set(by_metric) == {"accuracy", "brier", "revenue"}
    assert by_metric["accuracy"]["answer"] == "yes"
    assert found["live"]["models"]["churn@2"]["metrics"]["accuracy"]["value"] == pytest.approx(0.9)
    assert command(repo, "compare", "churn@1", "churn@2", "--no-live", "--format", "json") == 0
    assert "live" not in json.loads(capsys.readouterr().out)


def test_models_of_which_nothing_is_measured_are_compared_all_the_same(
    repo: Path, store: FeatureStore, capsys: pytest.CaptureFixture[str]
) -> None:
    # The first declares nothing: it is said so, and the other one is shown.
    assert command(repo, "compare", "churn@1", "churn@2") == 0
    assert "churn@1: it does not declare what it predicts" in capsys.readouterr().out
    store.update_model("churn@2", evaluation=Evaluation())
    assert command(repo, "compare", "churn@1", "churn@2") == 0
    said = capsys.readouterr().out
    assert "at training" in said
    assert "do not declare what they predict, so nothing is measured" in said
    with pytest.raises(MonitorError):
        compare_live(store, "churn@1", "churn@2", None)


def test_predictions_without_scores_are_no_reason_to_say_nothing(
    repo: Path, store: FeatureStore, capsys: pytest.CaptureFixture[str]
) -> None:
    evaluation = Evaluation(task="binary", positive_label="yes")
    for model in ("churn@1", "churn@2"):
        store.update_model(model, evaluation=evaluation)
        rows = [
            {"prediction_id": f"{model}-{n}", "label": "yes", "predicted_at": START + timedelta(hours=n)}
            for n in range(60)
        ]
        store.log_predictions(model, rows)
        outcomes = [
            {"prediction_id": row["prediction_id"], "label": "no", "observed_at": START + timedelta(days=4)}
            for row in rows
        ]
        mood = [row | {"metric": "mood", "label": "happy"} for row in outcomes]
        store.log_outcomes("churn", [*outcomes, *mood])
    assert command(repo, "compare", "churn@1", "churn@2") == 0
    said = capsys.readouterr().out
    assert "Note: The Brier score is not defined" in said
    assert "accuracy" in said
    assert "mood" not in said
