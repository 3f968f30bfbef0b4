"""What meets what, what waits, and that nothing is lost from the counts."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from featurestore.definitions import Evaluation
from featurestore.serving.feedback import OUTCOMES, PREDICTIONS
from monitor.performance.joining import Coverage, join_outcomes

DAY = timedelta(days=1)
UNKNOWN = Evaluation(task="binary", label_delay=DAY)
NEGATIVE = Evaluation(task="binary", label_delay=DAY, missing_outcome="negative")
Rows = Callable[..., pa.Table]


def one(name: str, at: float = 0, **other: Any) -> dict[str, Any]:
    return {"prediction_id": name, "number": 0.5, "predicted_at": at} | other


def true(name: str, value: float = 1.0, at: float = 1, **other: Any) -> dict[str, Any]:
    return {"prediction_id": name, "number": value, "observed_at": at} | other


def test_a_prediction_counts_when_its_label_delay_is_over_whether_its_outcome_came_or_not(
    predicted: Rows, observed: Rows, start: datetime
) -> None:
    made = predicted(one("a"), one("b", 1), one("c", 2))
    known = observed(true("a"), true("c", at=3))
    found = join_outcomes(made, known, UNKNOWN, watermark=start + timedelta(hours=25))
    assert found.rows.column("prediction_id").to_pylist() == ["a", "b"]
    assert found.rows.column("outcome_number").to_pylist() == [1.0, None]
    assert found.immature.column("prediction_id").to_pylist() == ["c"]
    assert (found.coverage.matured, found.coverage.immature) == (2, 1)
    assert (found.coverage.with_outcome, found.coverage.missing, found.coverage.early_outcomes) == (1, 1, 1)


def test_no_outcome_means_what_the_model_declares(predicted: Rows, observed: Rows, start: datetime) -> None:
    made, known = predicted(one("a"), one("b")), observed(true("a"))
    at = start + 2 * DAY
    assert join_outcomes(made, known, UNKNOWN, watermark=at).coverage.missing == 1
    found = join_outcomes(made, known, NEGATIVE, watermark=at).coverage
    assert (found.missing, found.assumed_negative, found.share) == (0, 1, 1.0)


def test_the_outcome_observed_last_counts_and_the_first_prediction(
    predicted: Rows, observed: Rows, start: datetime
) -> None:
    made = predicted(one("a", number=0.1), one("a", number=0.9))
    known = observed(true("a", 0.0, at=3), true("a", 1.0, at=2), true("a", 1.0, at=3))
    found = join_outcomes(made, known, UNKNOWN, watermark=start + 2 * DAY)
    assert found.rows.column("number").to_pylist() == [0.1]
    assert found.rows.column("outcome_number").to_pylist() == [1.0], "of one instant the one that arrived last"
    assert (found.coverage.repeated_predictions, found.coverage.repeated_outcomes) == (1, 2)


def test_outcomes_of_nothing_of_elsewhere_and_of_another_metric(
    predicted: Rows, observed: Rows, start: datetime
) -> None:
    known = observed(true("a"), true("old"), true("nobody"), true("a", 5.0, metric="revenue"))
    found = join_outcomes(
        predicted(one("a")), known, UNKNOWN, watermark=start + 2 * DAY, elsewhere=pa.array(["old", "older"])
    ).coverage
    assert (found.outcomes, found.outcomes_elsewhere, found.outcomes_without_prediction) == (3, 1, 1)
    of_revenue = join_outcomes(predicted(one("a")), known, UNKNOWN, watermark=start + 2 * DAY, metric="revenue")
    assert of_revenue.rows.column("outcome_number").to_pylist() == [5.0]


def test_outcomes_that_are_late_or_before_their_prediction_are_used_and_counted(
    predicted: Rows, observed: Rows, start: datetime
) -> None:
    made = predicted(one("late"), one("before", 5))
    found = join_outcomes(made, observed(true("late", at=40), true("before", at=4)), UNKNOWN, watermark=start + 3 * DAY)
    assert found.coverage.with_outcome == 2
    assert (found.coverage.late_outcomes, found.coverage.outcomes_before_prediction) == (1, 1)


def test_what_is_observed_at_the_watermark_is_not_known_yet(predicted: Rows, observed: Rows, start: datetime) -> None:
    found = join_outcomes(predicted(one("a")), observed(true("a", at=24)), UNKNOWN, watermark=start + DAY)
    assert (found.coverage.matured, found.coverage.missing, found.coverage.outcomes) == (1, 1, 0)


def test_nothing_at_all_is_a_join_too(start: datetime) -> None:
    found = join_outcomes(PREDICTIONS.stored.empty_table(), OUTCOMES.stored.empty_table(), NEGATIVE, watermark=start)
    assert found.rows.num_rows == 0
    assert found.coverage == Coverage()
    assert found.coverage.share == 0.0


ids = st.sampled_from("abcdefgh")


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(ids, st.integers(0, 60))),
    st.lists(st.tuples(ids, st.integers(0, 90))),
    st.lists(ids),
    st.sampled_from([UNKNOWN, NEGATIVE]),
)
def test_the_counts_add_up(
    made: list[tuple[str, int]], known: list[tuple[str, int]], elsewhere: list[str], evaluation: Evaluation
) -> None:
    from datetime import UTC

    start = datetime(2026, 3, 1, tzinfo=UTC)

    def table(kind: Any, rows: list[tuple[str, int]]) -> pa.Table:
        at = [start + timedelta(hours=hour) for _, hour in rows]
        given_ = {"prediction_id": [name for name, _ in rows], kind.instant: at, "number": [1.0] * len(rows)}
        given_ |= {"logged_at": at} | ({"metric": [""] * len(rows)} if kind is OUTCOMES else {})
        columns = [pa.array(given_.get(one.name, [None] * len(rows)), one.type) for one in kind.stored]
        return pa.table(columns, schema=kind.stored)

    found = join_outcomes(
        table(PREDICTIONS, made),
        table(OUTCOMES, known),
        evaluation,
        watermark=start + timedelta(hours=50),
        elsewhere=pa.array(elsewhere, pa.string()),
    )
    one = found.coverage
    assert one.predictions + one.repeated_predictions == len(made)
    assert one.predictions == one.immature + one.matured
    assert one.matured == one.with_outcome + one.assumed_negative + one.missing == found.rows.num_rows
    assert one.outcomes + one.repeated_outcomes == sum(hour < 50 for _, hour in known)
    others = one.outcomes_elsewhere + one.outcomes_without_prediction
    assert one.outcomes == one.with_outcome + one.early_outcomes + others
    assert one + Coverage() == one


def test_the_order_of_rows_changes_nothing(predicted: Rows, observed: Rows, start: datetime) -> None:
    made = predicted(*(one(f"p{n}", n) for n in range(20)))
    known = observed(*(true(f"p{n}", n % 2, at=n + 1) for n in range(0, 20, 3)))
    backwards = pa.array(range(19, -1, -1))
    at = start + timedelta(hours=30)
    first = join_outcomes(made, known, UNKNOWN, watermark=at)
    again = join_outcomes(made.take(backwards), known.take(pa.array([2, 0, 1, 6, 5, 4, 3])), UNKNOWN, watermark=at)
    assert first.rows.equals(again.rows)
    assert first.coverage == again.coverage


@pytest.mark.parametrize("delay", [timedelta(0), DAY])
def test_maturity_is_inclusive(predicted: Rows, observed: Rows, start: datetime, delay: timedelta) -> None:
    evaluation = Evaluation(task="binary", label_delay=delay)
    just = start + delay
    assert join_outcomes(predicted(one("a")), observed(), evaluation, watermark=just).coverage.matured == 1
    before = just - timedelta(microseconds=1)
    assert join_outcomes(predicted(one("a")), observed(), evaluation, watermark=before).coverage.matured == 0
