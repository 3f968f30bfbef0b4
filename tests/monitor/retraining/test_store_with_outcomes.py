"""A whole store: what was served, with what came of it, is trained on; and what asks for that as time goes by."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

from featurestore import (
    Entity,
    FeatureService,
    FeatureStore,
    FeatureView,
    Field,
    FileSource,
    MonitorPolicy,
    RetrainingPolicy,
)
from featurestore.errors import ConfigError
from featurestore.types import Float64, Int64
from monitor.cli import app
from monitor.history import History
from monitor.retraining import review
from monitor.retraining import store as signals
from monitor.retraining.asking import ask
from monitor.retraining.dataset import make_dataset
from monitor.retraining.states import SignalState

DAY, HOUR = timedelta(days=1), timedelta(hours=1)
#: What is logged in a test comes now, whenever it is said to have been; so the month ends now.
QUERY = 'SELECT user_id, "at" AS event_timestamp, bought FROM orders'
START = datetime.now(UTC).replace(microsecond=0) - 30 * DAY
USERS = 6

USER = Entity(name="user", join_keys=["user_id"], dtypes=[Int64])
ORDERS = FileSource(name="orders", path="orders.parquet", timestamp_field="at")
SPENDING = FeatureView(name="spending", entities=[USER], source=ORDERS, schema=[Field(name="total", dtype=Float64)])
SCORING = FeatureService(name="scoring", features=[SPENDING])


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[FeatureStore]:
    """A shop whose model was trained on ten days, with outcomes that come within a day."""
    folder = tmp_path / "shop"
    with FeatureStore.init(folder, project="shop") as store:
        rows = [
            {"user_id": user, "at": START + DAY * day, "total": float(user * 10 + day), "bought": user % 2}
            for day in range(30)
            for user in range(USERS)
        ]
        pl.DataFrame(rows).write_parquet(folder / "orders.parquet")
        store.apply([USER, SPENDING, SCORING, policy()])
        store.ingest("spending")
        train(store)
        yield store


def policy(**rules: Any) -> MonitorPolicy:
    retrain = RetrainingPolicy(**rules) if rules else False
    return MonitorPolicy(name="watch", service=SCORING, window=DAY, routes=[], skew=False, retrain=retrain)


def train(store: FeatureStore, *, days: int = 10) -> None:
    rows = pl.DataFrame(
        {
            "user_id": [user for day in range(days) for user in range(USERS)],
            "event_timestamp": [START + DAY * day + HOUR for day in range(days) for _ in range(USERS)],
            "bought": [user % 2 for day in range(days) for user in range(USERS)],
        }
    )
    store.create_training_dataset("buyers", entity_df=rows, features="scoring", label="bought")
    store.log_model("churn", service="scoring", dataset="buyers", environment={}, task="binary", label_delay=DAY)


def serve(store: FeatureStore, first: int, days: int, *, outcomes: bool = True) -> None:
    """Serve every user at noon of each day, predict, and learn six hours later what came of it."""
    for day in range(first, first + days):
        at = START + DAY * day + 12 * HOUR
        answer = store.get_batch_features("scoring", pl.DataFrame({"user_id": range(USERS)}), at=at)
        predictions = [
            {
                "prediction_id": f"{day}-{user}",
                "request_id": answer.request_id,
                "row": user,
                "number": 0.5,
                "predicted_at": at,
            }
            for user in range(USERS)
        ]
        store.log_predictions("churn", predictions)
        if outcomes:
            known = [
                {"prediction_id": f"{day}-{user}", "number": float(user % 2), "observed_at": at + 6 * HOUR}
                for user in range(USERS - 1)  # of the last user nobody ever knows
            ]
            store.log_outcomes("churn", known)


@pytest.fixture
def history(shop: FeatureStore) -> Iterator[History]:
    with History(shop.config.database_url(shop.config.monitor.database)) as found:
        yield found


def looked(shop: FeatureStore, history: History, now: datetime) -> list[signals.StoredSignal]:
    faults: list[Any] = []
    review(shop, history, shop.registry.policy("watch"), now=now, faults=faults)
    assert faults == []
    with history.read() as connection:
        return signals.list_signals(connection)


def after_the_logs() -> datetime:
    # No instant to come: what is logged before it would count as well.
    time.sleep(0.01)
    return datetime.now(UTC)


def test_what_was_served_with_what_came_of_it_is_the_new_data(shop: FeatureStore, history: History) -> None:
    serve(shop, 20, 10)
    shop.apply([policy(history=timedelta(days=5))])
    asked = ask(shop, history, "scoring", reason="prices", who="ada", now=after_the_logs())
    request = asked.payload["request"]
    assert asked.state is SignalState.APPROVED
    assert (request["label"], request["labelDelay"], request["service"]) == ("bought", "86400s", "scoring@1")
    made = make_dataset(shop, history, asked.id, who="tests", now=after_the_logs())
    # What comes later changes nothing, rows that were served, outcomes and features alike.
    serve(shop, 26, 2)
    shop.log_outcomes("churn", [{"prediction_id": "27-5", "number": 1.0, "observed_at": START + 28 * DAY}])
    shop.ingest("spending", pl.DataFrame({"user_id": [0], "at": [START + 26 * DAY + HOUR], "total": [-1.0]}))
    again = make_dataset(shop, history, asked.id, who="tests", now=after_the_logs())
    assert (made.dataset.id, again.dataset.id) == ("buyers@2", "buyers@3")
    rows = made.dataset.to_polars().sort("event_timestamp", "user_id")
    # Five days up to a day before now, the label delay.
    assert len(rows) == 5 * (USERS - 1)
    assert rows["bought"].to_list() == [user % 2 for _ in range(5) for user in range(USERS - 1)]
    assert rows["total"].to_list() == [user * 10.0 + day for day in range(24, 29) for user in range(USERS - 1)]
    assert rows["bought"].dtype == pl.Int64
    assert made.dataset.manifest["label"] == "bought"
    assert again.same


def test_a_query_of_the_policy_is_asked_for_the_rows(shop: FeatureStore, history: History) -> None:
    query = 'SELECT user_id, "at" + INTERVAL 1 HOUR AS event_timestamp, bought FROM orders WHERE user_id < 3;'
    shop.apply([policy(entity_rows=query, history=timedelta(days=7), causes=["stale_training_data"], dataset="fresh")])
    now = START + 25 * DAY
    (signal,) = looked(shop, history, now)
    assert (signal.cause, signal.state, signal.model) == ("stale_training_data", SignalState.APPROVED, "churn@1")
    assert "15 days old" in signal.payload["reason"]
    made = make_dataset(shop, history, signal.id, who="tests", now=now).dataset
    rows = made.to_polars()
    assert made.id == "fresh@1"
    # Seven days that end a day, the label delay, before now.
    assert rows["event_timestamp"].min() == START + 17 * DAY + HOUR
    assert rows["event_timestamp"].max() == START + 23 * DAY + HOUR
    assert len(rows) == 7 * 3
    # It is said once, whenever it is looked at.
    assert looked(shop, history, now + HOUR) == [replace(signal)]


def test_old_data_is_young_again_once_a_model_was_trained_on_newer_rows(shop: FeatureStore, history: History) -> None:
    shop.apply([policy(causes=["stale_training_data"])])
    assert looked(shop, history, START + 20 * DAY) == []
    assert len(looked(shop, history, START + 25 * DAY)) == 1
    train(shop, days=25)
    assert len(looked(shop, history, START + 26 * DAY)) == 1
    # From there it is another cause.
    (_, second) = looked(shop, history, START + 60 * DAY)
    assert second.subject == "stale_training_data buyers@2"


def test_enough_new_rows_with_outcomes_ask_for_a_new_model(shop: FeatureStore, history: History) -> None:
    shop.apply([policy(causes=["new_data"], new_rows=20, new_share=0)])
    serve(shop, 12, 3)
    # Of the last user of each day nobody knows what came of it.
    now = after_the_logs()
    assert looked(shop, history, now) == []
    with history.read() as connection:
        ((_, check),) = history.checks(connection, "watch")
    assert (check.subject, dict(check.findings[0])["rows"]) == ("new_data", 15)
    serve(shop, 15, 2)
    assert looked(shop, history, now + timedelta(minutes=30)) == []  # they are counted once an hour
    (signal,) = looked(shop, history, after_the_logs() + 2 * HOUR)
    assert (signal.cause, signal.state) == ("new_data", SignalState.APPROVED)
    assert signal.payload["reason"].startswith("25 rows have come since the 60 of buyers@1")


def test_a_fall_of_what_the_business_counts_asks_for_a_new_model(shop: FeatureStore, history: History) -> None:
    shop.apply([policy(causes=["business_metric"], metrics={"spent": 0.1}, entity_rows=QUERY)])
    random = np.random.default_rng(0)

    def sell(first: int, days: int, mean: float) -> None:
        """Two hundred predictions a day, and what was spent after each."""
        at = [
            START + DAY * day + timedelta(minutes=number) for day in range(first, first + days) for number in range(200)
        ]
        ids = [f"{one:%j%H%M}" for one in at]
        shop.log_predictions(
            "churn",
            [{"prediction_id": id_, "number": 0.5, "predicted_at": one} for id_, one in zip(ids, at, strict=True)],
        )
        spent = random.normal(mean, 1.0, len(at))
        shop.log_outcomes(
            "churn",
            [
                {"prediction_id": id_, "metric": "spent", "number": value, "observed_at": one}
                for id_, value, one in zip(ids, spent, at, strict=True)
            ],
        )

    sell(-16, 30, 10.0)
    assert looked(shop, history, START + 15 * DAY) == []
    sell(14, 14, 8.0)
    assert looked(shop, history, START + 15 * DAY + HOUR / 2) == []  # it is looked at once an hour
    (signal,) = looked(shop, history, START + 29 * DAY)
    assert (signal.cause, signal.state) == ("business_metric", SignalState.APPROVED)
    assert signal.payload["reason"].startswith("spent has fallen by over 10.0% since churn@1 was new: mean 9.")
    with history.read() as connection:
        checked = [check.subject for _, check in history.checks(connection, "watch")]
    assert checked == ["business_metric spent"] * 2


def test_a_newer_version_of_the_service_asks_for_a_model_of_its_own(shop: FeatureStore, history: History) -> None:
    shop.apply([policy(causes=["changed_definitions"])])
    assert looked(shop, history, START + 20 * DAY) == []
    serve(shop, 18, 1)
    longer = FeatureView(
        name="spending",
        entities=[USER],
        source=ORDERS,
        ttl=timedelta(days=60),
        schema=[Field(name="total", dtype=Float64)],
    )
    service = FeatureService(name="scoring", features=[longer])
    shop.apply([longer, service, replace(policy(causes=["changed_definitions"]), service=service)])
    (signal,) = looked(shop, history, START + 20 * DAY)
    assert signal.payload["reason"] == ("model churn@1 was trained for scoring@1, and scoring@2 is the current version")
    request = signal.payload["request"]
    assert (request["service"], request["definitions"]["view spending"]) == ("scoring@2", "spending@2")


@pytest.mark.parametrize(
    ("query", "lack"),
    [
        ("SELECT user_id, at AS event_timestamp, bought FROM orders", "Parser Error"),
        ('SELECT user_id, "at" AS event_timestamp, bougth FROM orders', 'Referenced column "bougth" not found'),
        ('SELECT user_id, "at" AS event_timestamp FROM orders', 'has no column "bought"'),
        ('SELECT "at" AS event_timestamp, bought FROM orders', 'has no column "user_id"'),
        ("SELECT * FROM nothing", "none of its sources"),
        ("", 'Nothing that was served of "scoring" was logged'),
    ],
)
def test_a_query_that_gives_no_dataset_is_found_before_the_signal_goes_out(
    shop: FeatureStore, history: History, query: str, lack: str
) -> None:
    shop.apply([policy(entity_rows=query, budget=5)])
    asked = ask(shop, history, "scoring", reason="prices", who="ada", now=after_the_logs())
    assert asked.state is SignalState.APPROVED
    assert "request" not in asked.payload
    assert "(no training request: " in asked.payload["reason"]
    assert lack in asked.payload["reason"]


def test_channels_of_signals_are_looked_for_when_a_policy_is_applied(shop: FeatureStore) -> None:
    with pytest.raises(ConfigError, match='sends signals to "nobody"'):
        shop.apply([policy(causes=["drift"], approval_routes=["nobody"])])


def test_what_cannot_be_looked_at_is_told_and_lapses_nothing(shop: FeatureStore, history: History) -> None:
    shop.apply([policy(causes=["new_data"], new_rows=1, entity_rows="SELECT * FROM nothing")])
    faults: list[Any] = []
    review(shop, history, shop.registry.policy("watch"), now=START + 20 * DAY, faults=faults)
    assert ["nothing" in str(one) for one in faults] == [True]


def test_commands_tell_the_whole_story(shop: FeatureStore) -> None:
    run = CliRunner()
    repo = ["--repo", str(shop.config.root)]
    query = 'SELECT user_id, "at" AS event_timestamp, bought FROM orders'
    shop.apply([policy(entity_rows=query, history=timedelta(days=3650))])

    def said(*arguments: str, code: int = 0) -> str:
        done = run.invoke(app, [*arguments, *repo])
        assert done.exit_code == code, done.output
        return done.output

    assert "Nothing asks for a new model" in said("signals")
    out = said("retrain", "scoring", "--reason", "the prices have changed")
    assert "is approved" in out
    (told,) = json.loads(said("signals", "--format", "json"))
    name = told["id"][:12]
    assert f"featurestore monitor dataset {name}" in out
    assert "the prices have changed" in said("signals", "scoring")
    assert "view spending = spending@1" in said("request", name)
    assert json.loads(said("request", name, "--format", "json"))["hash"] == told["request"]["hash"]
    assert "buyers@2" in said("dataset", name)
    assert "the same as buyers@2" in said("dataset", name)
    # A file that a request reads is written over: the same command says that it is not the same dataset any more.
    pl.DataFrame({"user_id": [1], "at": [START + DAY], "total": [1.0], "bought": [1]}).write_parquet(
        shop.config.root / "orders.parquet"
    )
    assert "differs from buyers@3" in said("dataset", name, code=1)
    story = said("signal", name)
    assert "made buyers@2, content hash" in story
    assert "is approved" in story
    assert "bought, known after 1 day\n" in story
    assert story.count(f"featurestore monitor dataset {name}") == 1
    assert story.count(f"featurestore monitor request {name}") == 1
    assert "entity rows\n    SELECT" in said("request", name)
    assert "There is no retraining signal" in str(run.invoke(app, ["signal", "ffffff", *repo]).exception)
