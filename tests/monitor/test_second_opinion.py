"""A change that no feature shows by itself is seen by all together, from the log and the training data of a store."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from featurestore import Entity, FeatureService, FeatureStore, FeatureView, Field
from featurestore.cli.app import build
from featurestore.errors import MonitorError
from featurestore.types import Float64, Int64
from monitor.second_opinion import ask

START = datetime(2024, 1, 1, tzinfo=UTC)
VIEW = FeatureView(
    name="walk",
    entities=[Entity(name="user", join_keys=["user_id"], dtypes=[Int64])],
    schema=[Field(name="x", dtype=Float64), Field(name="y", dtype=Float64)],
)
ROWS = 2000


def drawn(correlation: float, seed: int) -> dict[str, np.ndarray[Any, Any]]:
    random = np.random.default_rng(seed)
    x, other = random.standard_normal((2, ROWS))
    return {"x": x, "y": correlation * x + np.sqrt(1 - correlation**2) * other}


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    """A store with a training set of two numbers that have nothing to do with each other."""
    folder = tmp_path / "repo"
    with FeatureStore.init(folder) as store:
        store.apply([FeatureService(name="svc", features=[VIEW])])
        instants = [START + timedelta(minutes=10 * at) for at in range(ROWS)]
        keys = pa.table({"user_id": range(ROWS), "event_timestamp": pa.array(instants, pa.timestamp("us", "UTC"))})
        values = keys
        for name, numbers in drawn(0.0, 1).items():
            values = values.append_column(name, pa.array(numbers))
        store.ingest("walk", values)
        store.create_training_dataset("set", entity_df=keys, features="svc")
    return folder


def served(folder: Path, correlation: float, *, at: datetime, name: str) -> None:
    """Write a file of the serving log."""
    with FeatureStore(folder) as store:
        log = store.config.path(store.config.serving.log_path) / "svc"
    log.mkdir(parents=True, exist_ok=True)
    instants = [at + timedelta(minutes=10 * row) for row in range(ROWS)]
    table = pa.table(
        {
            "request_id": [f"{name}{row}" for row in range(ROWS)],
            "row": pa.array([0] * ROWS, pa.int32()),
            "service": ["svc@1"] * ROWS,
            "served_at": pa.array(instants, pa.timestamp("us", "UTC")),
            **drawn(correlation, 2),
        }
    )
    pq.write_table(table, log / f"{name}.parquet")


def test_two_features_that_begin_to_go_together_are_seen_and_named(repo: Path) -> None:
    then = START + timedelta(days=30)
    served(repo, 0.0, at=then, name="same")
    served(repo, 0.8, at=then + timedelta(days=30), name="other")
    with FeatureStore(repo) as store:
        before = ask(store, "svc", until=then + timedelta(days=30))
        after = ask(store, "svc", since=then + timedelta(days=30))
        assert ask(store, "svc", since=then + timedelta(days=30)) == after
    assert before.verdict not in ("drift", "severe")
    assert before.associations == ()
    assert after.verdict in ("drift", "severe")
    assert after.associations[0].features == ("x", "y")
    assert after.associations[0].current == pytest.approx(0.8, abs=0.05)


def test_what_is_missing_is_said(repo: Path) -> None:
    with FeatureStore(repo) as store:
        with pytest.raises(MonitorError, match="no row of svc@1"):
            ask(store, "svc")
        store.apply([FeatureService(name="new", features=[VIEW])])
        with pytest.raises(MonitorError, match="no training dataset"):
            ask(store, "new")


def test_the_command_says_it_in_words_and_as_json(repo: Path) -> None:
    served(repo, 0.8, at=START + timedelta(days=30), name="other")
    asked = ["monitor", "second-opinion", "svc@1", "-C", str(repo)]
    said = CliRunner().invoke(build(), asked)
    assert said.exit_code == 0
    assert "2,000 served rows beside 2,000 of training" in said.output
    assert "x and y: correlation" in said.output
    said = CliRunner().invoke(build(), [*asked, "--format", "json"])
    assert json.loads(said.output)["verdict"] in ("drift", "severe")
