"""Ages of what is served, loads and materializations that stop, training data that grows old."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from monitor.quality.freshness import (
    ServedAges,
    TrainingData,
    ViewLedger,
    stale_features,
    stale_training_data,
    stopped_ingestion,
    stopped_materialization,
)

NOW = datetime(2026, 3, 1, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def ages(over: int, rows: int = 100, outside: int = 0) -> ServedAges:
    return ServedAges(
        view="weather",
        rows=rows,
        present=rows - outside,
        outside=outside,
        over_limit=over,
        median_age=60.0 if rows else None,
        greatest_age=7200.0 if rows else None,
        newest=NOW if rows else None,
    )


def windows(*over: int, rows: int = 100) -> list[tuple[datetime, list[ServedAges]]]:
    return [(NOW + HOUR * at, [ages(one, rows, outside=one)]) for at, one in enumerate(over)]


@pytest.mark.parametrize(
    ("over", "verdict", "onset"),
    [
        ((0, 0, 5), "ok", None),
        ((0, 0, 15), "drift", 2),
        ((0, 20, 30), "drift", 2),
        ((30, 30, 35), "ok", None),  # a third is always stale: users who do not come back
        ((0, 0, 0, 0, 0, 80, 90), "severe", 5),
        ((60,), "severe", 0),
    ],
)
def test_rows_over_their_limit_beyond_the_usual_share(over: Any, verdict: str, onset: int | None) -> None:
    (finding,) = stale_features(windows(*over), threshold=0.1, limits={"weather": HOUR})
    assert finding.verdict == verdict
    if verdict != "ok":
        assert finding.onset is not None
        assert finding.onset <= NOW + HOUR * (onset or 0)
        assert "not served at all" in finding.sentence


@pytest.mark.parametrize(
    ("found", "limits"),
    [
        (windows(10, rows=10), {"weather": HOUR}),
        (windows(0, rows=0), {"weather": HOUR}),
        (windows(90), {"weather": None}),
        (windows(90), {}),
    ],
)
def test_few_rows_or_no_limit_are_not_enough_data(found: Any, limits: Any) -> None:
    (finding,) = stale_features(found, threshold=0.1, limits=limits)
    assert finding.verdict == "not enough data"


def ledger(**settings: Any) -> ViewLedger:
    regular = tuple(NOW - HOUR * ago for ago in (5, 4, 3, 2, 1))
    values = {"view": "weather", "ttl": None, "loads": regular, "materialized": regular, "unmaterialized_since": None}
    return ViewLedger(**values | settings)


@pytest.mark.parametrize(
    ("settings", "after", "verdict"),
    [
        ({}, HOUR / 2, "ok"),
        ({}, HOUR, "ok"),
        ({}, HOUR * 1.1, "drift"),
        ({"ttl": 3 * HOUR}, 2.5 * HOUR, "severe"),
        ({"loads": ()}, HOUR, "not enough data"),
        ({"loads": (NOW - 9 * DAY, NOW - 8 * DAY)}, HOUR, "not enough data"),
    ],
)
def test_loads_that_stop(settings: Any, after: timedelta, verdict: str) -> None:
    finding = stopped_ingestion(ledger(**settings), now=NOW + after)
    assert (finding.rule, finding.verdict) == ("stopped_ingestion", verdict)


@pytest.mark.parametrize(
    ("settings", "verdict"),
    [
        ({}, "ok"),
        ({"unmaterialized_since": NOW - HOUR}, "ok"),
        ({"unmaterialized_since": NOW - 2.1 * HOUR}, "drift"),
        ({"unmaterialized_since": NOW - 2.1 * HOUR, "ttl": 2 * HOUR}, "severe"),
        ({"unmaterialized_since": NOW - 9 * HOUR, "materialized": ()}, "ok"),  # the first may take a day
        ({"unmaterialized_since": NOW - 25 * HOUR, "materialized": ()}, "drift"),
        ({"unmaterialized_since": NOW - 9 * HOUR, "materialized": (), "ttl": 2 * HOUR}, "severe"),
        ({"loads": (), "materialized": ()}, "not enough data"),
    ],
)
def test_materializations_that_stop(settings: Any, verdict: str) -> None:
    finding = stopped_materialization(ledger(**settings), now=NOW)
    assert (finding.rule, finding.verdict) == ("stopped_materialization", verdict)
    if finding.pages:
        assert "featurestore materialize weather" in finding.sentence
        assert finding.onset == settings["unmaterialized_since"]


@pytest.mark.parametrize(
    ("age", "verdict"), [(13 * DAY, "ok"), (14 * DAY, "ok"), (15 * DAY, "drift"), (None, "not enough data")]
)
def test_training_data_that_is_old(age: timedelta | None, verdict: str) -> None:
    data = TrainingData(dataset="d@1", model="m@2", newest=None if age is None else NOW - age)
    finding = stale_training_data(data, limit=14 * DAY, now=NOW)
    assert (finding.verdict, finding.subject) == (verdict, "d@1")
    if verdict == "drift":
        assert "15 days old" in finding.sentence
        assert "m@2" in finding.sentence
