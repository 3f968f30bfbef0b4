"""The loop closes: the new model is compared with the old one once it is served, a few times, and told of once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from featurestore import (
    Entity,
    Evaluation,
    FeatureService,
    FeatureStore,
    FeatureView,
    Field,
    FileSource,
    MonitorPolicy,
)
from featurestore.errors import FeatureStoreError
from featurestore.types import Float64, Int64
from monitor.alerts.base import Kind
from monitor.alerts.outbox import listed
from monitor.alerts.wording import Limits, words
from monitor.history import History
from monitor.performance.comparison import compare
from monitor.retraining.states import SignalState
from monitor.retraining.store import Cause, acknowledge, find_signal, move, record_cause, signal_events
from monitor.signalling import closing as module
from monitor.signalling.closing import close_loops, result_of
from monitor.signalling.verdict import CONFIDENCE, LOOKS, Verdict, looks_due, sentence, verdict
from tests.contract.channel_far_sides.base import message

START = datetime(2026, 3, 1, tzinfo=UTC)
DAY = timedelta(days=1)
ID = "0123456789abcdef0123456789abcdef"
ROUTES = '\n[channels.ops]\nkind = "console"\n'


@pytest.fixture
def store(tmp_path: Path) -> Iterator[FeatureStore]:
    """A store whose model ``churn@1`` of ``scoring@1`` was trained anew: ``churn@2`` of ``scoring@2``."""
    user = Entity(name="user", dtypes=[Int64])
    spending = FeatureView(name="spending", entities=[user], schema=[Field(name="total", dtype=Float64)])
    visits = FeatureView(name="visits", entities=[user], schema=[Field(name="count", dtype=Float64)])
    FeatureStore.init(tmp_path / "shop", project="shop").close()
    settings = tmp_path / "shop" / "featurestore.toml"
    settings.write_text(settings.read_text() + ROUTES)
    with FeatureStore(tmp_path / "shop") as store:
        store.apply([FeatureService(name="scoring", features=[spending])])
        second = FeatureService(name="scoring", features=[spending, visits])
        store.apply([second])
        store.apply([MonitorPolicy(name="watch", service=second, routes=["ops"])])
        store.registry.record_dataset("buyers", {"service": "scoring@2", "label": "bought"}, who="tests")
        for service in ("scoring@1", "scoring@2"):
            store.log_model("churn", service=service, dataset="buyers", environment={}, task="binary", label_delay=DAY)
        yield store


@pytest.fixture
def history(store: FeatureStore) -> Iterator[History]:
    with History(store.config.database_url(store.config.monitor.database)) as history:
        yield history


Signal = Callable[..., None]


@pytest.fixture
def signal(history: History) -> Signal:
    """Make a signal whose training is done, or not yet."""

    def make(
        state: SignalState = SignalState.DONE, *, old: str = "churn@1", new: str = "churn@2", policy: str = "watch"
    ) -> None:
        payload = {"id": ID, "project": "shop", "service": "scoring@1", "reason": "it drifts", "model": old}
        cause = Cause(
            id=ID,
            policy=policy,
            policy_version=1,
            service="scoring@1",
            cause="drift",
            subject="alert",
            baseline="buyers@1",
            model=old,
            incident="",
            payload=payload,
        )
        with history.write() as connection:
            record_cause(connection, cause, reason="new", now=START)
            move(connection, find_signal(connection, ID), SignalState.APPROVED, reason="it drifts", now=START)
            if state is not SignalState.APPROVED:
                acknowledge(connection, ID, state, who="test", dataset="buyers@1", model=new, now=START + DAY)

    return make


def serve(store: FeatureStore, model: str, first: int, days: int, *, right: float, rows: int = 100) -> None:
    """Log predictions of some days, of which so large a share is right, and their outcomes."""
    random = np.random.default_rng([days, first, int(right * 100)])
    count = days * rows
    score = random.random(count)
    truth = np.where(random.random(count) < right, score > 0.5, score <= 0.5).astype(float)
    at = [START + first * DAY + days * DAY * (n / count) for n in range(count)]
    ids = [f"{model}-{first}-{n}" for n in range(count)]
    store.log_predictions(
        model,
        [
            {"prediction_id": one, "number": number, "predicted_at": when}
            for one, number, when in zip(ids, score.tolist(), at, strict=True)
        ],
    )
    store.log_outcomes(
        model,
        [
            {"prediction_id": one, "number": number, "observed_at": when + timedelta(hours=12)}
            for one, number, when in zip(ids, truth.tolist(), at, strict=True)
        ],
    )


def run(store: FeatureStore, history: History, day: float) -> int:
    faults: list[FeatureStoreError] = []
    settled = close_loops(store, history, store.registry.policy("watch"), now=START + day * DAY, faults=faults)
    assert faults == []
    return settled


def told(history: History) -> list[str]:
    """Return what the monitor has said of the signal itself."""
    with history.read() as connection:
        return [one.reason for one in signal_events(connection, signal=ID) if not one.who][1:]


def messages(history: History) -> list[Any]:
    with history.read() as connection:
        return [one for one in listed(connection) if str(one.kind) == "featurestore.v1.retraining.result"]


def test_a_better_model_is_said_to_have_helped(store: FeatureStore, history: History, signal: Signal) -> None:
    signal()
    serve(store, "churn@1", 0, 12, right=0.6)
    assert run(store, history, 4) == 0
    assert told(history) == [], "it is not served yet"
    serve(store, "churn@2", 5, 7, right=0.9)  # beside the old one
    assert run(store, history, 6) == 0
    assert told(history) == ["churn@2 is served since 2026-03-06 00:00 UTC and is compared with churn@1 after 2 days"]
    assert run(store, history, 7.5) == 0, "predictions of two days have not matured"
    assert run(store, history, 8.1) == 1
    said = told(history)[1]
    assert said.startswith("It helped: churn@2 is better than churn@1. accuracy: churn@1 0.")
    assert "difference 0." in said
    assert "99 %" in said
    (sent,) = messages(history)
    assert (sent.channel, sent.incident, sent.severity) == ("ops", ID, "info")
    # Said once, whatever comes later.
    serve(store, "churn@2", 12, 4, right=0.1)
    assert run(store, history, 60) == 0
    assert len(messages(history)) == 1
    with history.read() as connection:
        result = result_of(connection, ID)
    assert result is not None
    assert (result.verdict, result.looks, result.model) == (Verdict.HELPED, 1, "churn@2")


def test_a_worse_one_is_said_to_be_worse(store: FeatureStore, history: History, signal: Signal) -> None:
    signal()
    serve(store, "churn@1", 0, 14, right=0.9)
    serve(store, "churn@2", 3, 11, right=0.6)
    assert sum(run(store, history, day) for day in range(4, 14)) == 1
    assert told(history)[-1].startswith("It did not help: churn@2 is worse than churn@1. accuracy: ")


def test_no_difference_is_looked_for_again_and_then_said(store: FeatureStore, history: History, signal: Signal) -> None:
    signal()
    serve(store, "churn@1", 0, 40, right=0.7, rows=30)
    serve(store, "churn@2", 2, 38, right=0.7, rows=30)
    settled = [run(store, history, day) for day in range(2, 40)]
    assert sum(settled) == 1
    said = told(history)
    assert [one.partition(":")[0] for one in said[1:-1]] == [f"Look {n} of 5" for n in range(1, 5)]
    assert said[-1].startswith("No difference between churn@2 and churn@1 could be shown in 32 days. accuracy: ")
    assert len(messages(history)) == 1


def test_one_that_came_at_once_is_compared_with_the_time_before_and_that_is_said(
    store: FeatureStore, history: History, signal: Signal
) -> None:
    signal()
    serve(store, "churn@1", 0, 6, right=0.6)
    serve(store, "churn@2", 6, 6, right=0.9)
    run(store, history, 7)
    assert run(store, history, 10) == 1
    said = told(history)[1]
    assert said.startswith("It helped: churn@2 is better")
    assert "never served at the same time: what differs may be the times, not the versions" in said


def test_a_promotion_counts_from_when_the_alias_moved(store: FeatureStore, history: History, signal: Signal) -> None:
    signal()
    store.promote("scoring@1")
    serve(store, "churn@1", 0, 5, right=0.6)
    serve(store, "churn@2", 2, 3, right=0.9)
    run(store, history, 5)
    assert told(history) == [], "a canary is no promotion"
    store.promote("scoring@2")
    moved = store.registry.alias_records("scoring")[0].moved_at
    run(store, history, 5)
    assert told(history) == [
        f"churn@2 is served since {moved:%Y-%m-%d %H:%M} UTC and is compared with churn@1 after 2 days"
    ]


@pytest.mark.parametrize(("watched", "channels"), [(True, ["ops"]), (False, [])])
def test_one_of_no_policy_is_compared_too_and_told_where_its_service_is_watched_by_now(
    store: FeatureStore, history: History, signal: Signal, watched: bool, channels: list[str]
) -> None:
    signal(policy="")  # a person asked for it while none watched the service
    orders = FileSource(name="orders", path="orders.parquet", timestamp_field="at")
    other = MonitorPolicy(name="other", source=orders, fields=[Field(name="total", dtype=Float64)], routes=["ops"])
    store.apply([other])
    if not watched:
        store.delete("watch")
    serve(store, "churn@1", 0, 12, right=0.6)
    serve(store, "churn@2", 5, 7, right=0.9)
    faults: list[FeatureStoreError] = []
    settled = [
        close_loops(store, history, store.registry.policy(name), now=START + day * DAY, faults=faults)
        for day in (6, 9)
        for name in ["other", *(["watch"] if watched else [])]
    ]
    assert (sum(settled), faults) == (1, [])
    assert [one.partition(":")[0] for one in told(history)] == [
        "churn@2 is served since 2026-03-06 00",
        "It helped",
    ]
    assert [one.channel for one in messages(history)] == channels


def test_of_two_runs_that_look_at_once_one_says_it(
    store: FeatureStore, history: History, signal: Signal, monkeypatch: pytest.MonkeyPatch
) -> None:
    signal(policy="")
    serve(store, "churn@1", 0, 12, right=0.6)
    serve(store, "churn@2", 5, 7, right=0.9)
    run(store, history, 6)
    compared = module.compare_versions

    def meanwhile(*args: Any, **given: Any) -> Any:
        monkeypatch.setattr(module, "compare_versions", compared)
        assert run(store, history, 9) == 1
        return compared(*args, **given)

    monkeypatch.setattr(module, "compare_versions", meanwhile)
    assert run(store, history, 9) == 0
    assert (len(told(history)), len(messages(history))) == (2, 1)


@pytest.mark.parametrize("state", [SignalState.APPROVED, SignalState.RUNNING, SignalState.FAILED])
def test_what_is_not_done_is_left_alone(
    store: FeatureStore, history: History, signal: Signal, state: SignalState
) -> None:
    signal(state)
    serve(store, "churn@2", 2, 3, right=0.9)
    assert run(store, history, 30) == 0
    assert told(history) == []


def test_what_cannot_be_compared_is_said_once(store: FeatureStore, history: History, signal: Signal) -> None:
    signal(old="")
    serve(store, "churn@2", 2, 3, right=0.9)
    run(store, history, 3)
    assert run(store, history, 6) == 1
    assert told(history)[1] == "Whether churn@2 helped cannot be said: the signal names no model before it"
    assert run(store, history, 40) == 0
    assert len(messages(history)) == 1


def test_a_model_that_declares_nothing_cannot_be_compared(
    store: FeatureStore, history: History, signal: Signal
) -> None:
    signal()
    store.update_model("churn@2", evaluation=Evaluation())
    serve(store, "churn@2", 2, 3, right=0.9)
    run(store, history, 3)
    assert run(store, history, 6) == 1
    assert told(history)[1].endswith("cannot be said: churn@2 does not declare what it predicts")


def test_a_model_without_predictions_of_the_other_is_unknown_at_the_last_look(
    store: FeatureStore, history: History, signal: Signal
) -> None:
    signal()
    serve(store, "churn@2", 2, 3, right=0.9)
    run(store, history, 3)
    assert run(store, history, 6) == 0
    assert run(store, history, 40) == 1
    assert told(history)[-1].startswith("Whether churn@2 is better than churn@1 cannot be said: Not enough data")


def test_the_fault_of_one_signal_holds_up_no_other_and_dies_with_no_trace(
    store: FeatureStore, history: History, signal: Signal, monkeypatch: pytest.MonkeyPatch
) -> None:
    signal()
    serve(store, "churn@1", 0, 10, right=0.6)
    serve(store, "churn@2", 3, 7, right=0.9)
    run(store, history, 4)

    def dies(*_: Any, **__: Any) -> None:
        raise FeatureStoreError("The disk is full.")

    faults: list[FeatureStoreError] = []
    with monkeypatch.context() as broken:
        broken.setattr(module.outbox, "enqueue", dies)
        close_loops(store, history, store.registry.policy("watch"), now=START + 8 * DAY, faults=faults)
    assert [one.message for one in faults] == ["The disk is full."]
    assert len(told(history)) == 1, "the event, the result and the message are kept together or not at all"
    assert run(store, history, 8) == 1
    assert len(messages(history)) == 1


def test_looks_are_few_and_share_the_chance_to_be_wrong() -> None:
    assert pytest.approx(0.99) == CONFIDENCE
    due = [looks_due(START, DAY, START + day * DAY) for day in (0, 2.9, 3, 4.9, 5, 9, 17, 33, 400)]
    assert due == [0, 0, 1, 1, 2, 3, 4, 5, 5]


@pytest.mark.parametrize(
    ("a", "b", "look", "said", "begins"),
    [
        (0.5, 0.9, 1, Verdict.HELPED, "It helped: B is better than A. m: A 0."),
        (0.9, 0.5, 5, Verdict.WORSE, "It did not help: B is worse than A. m: A 0."),
        (0.7, 0.7, 4, Verdict.OPEN, ""),
        (0.7, 0.7, 5, Verdict.NO_DIFFERENCE, "No difference between B and A could be shown in 32 days. m: "),
    ],
)
def test_what_a_look_says(a: float, b: float, look: int, said: Verdict, begins: str) -> None:
    ones = [(np.arange(1_000) < share * 1_000).astype(float) for share in (a, b)]
    found = compare(ones[0], ones[1], metric="m", confidence=CONFIDENCE)
    assert verdict(found, look) is said
    if said is not Verdict.OPEN:
        assert sentence(found, said).startswith(begins)
        assert "would settle it" not in sentence(found, said)


def test_too_little_is_unknown_only_at_the_last_look() -> None:
    few = np.ones(3)
    found = compare(few, few, metric="m")
    assert [verdict(found, look) for look in (1, len(LOOKS))] == [Verdict.OPEN, Verdict.UNKNOWN]
    assert "cannot be said: Not enough data" in sentence(found, Verdict.UNKNOWN)


def test_equal_versions_are_seldom_said_to_differ() -> None:
    """A/A: over all its looks together it is wrong in at most one of twenty."""
    random = np.random.default_rng(5)
    wrong, trials = 0, 300
    for _ in range(trials):
        days = random.normal(0.7, 0.05, LOOKS[-1]).clip(0, 1)  # what days do to both
        right = random.random((2, LOOKS[-1], 60)) < days[None, :, None]
        blocks = np.repeat(np.arange(LOOKS[-1]), 60)
        for look, until in enumerate(LOOKS, 1):
            a, b = (arm[:until].ravel().astype(float) for arm in right)
            at = blocks[: until * 60]
            said = verdict(compare(a, b, metric="m", blocks=(at, at), confidence=CONFIDENCE), look)
            if said in (Verdict.HELPED, Verdict.WORSE):
                wrong += 1
                break
    assert wrong / trials <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / trials)


def test_a_result_is_news_and_no_signal_to_train_by() -> None:
    said = words(message(Kind.RETRAINED), Limits())
    assert said.first.startswith("RETRAINED: It helped: m@2 is better than m@1.")
    assert ("signal", "sig_1") in said.facts
    assert said.subject.startswith("RETRAIN ")
