"""Logged predictions and outcomes as arrays: numbers, labels, probabilities, and what cannot be measured."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from featurestore.definitions import Evaluation
from featurestore.errors import MonitorError
from monitor.performance.joining import join_outcomes
from monitor.performance.sample import Sample, to_sample

Rows = Callable[..., pa.Table]
Read = Callable[[list[dict[str, Any]], list[dict[str, Any]], Evaluation], Sample]


@pytest.fixture
def read(predicted: Rows, observed: Rows, start: datetime) -> Read:
    def join(made: list[dict[str, Any]], known: list[dict[str, Any]], evaluation: Evaluation) -> Sample:
        numbered = [{"prediction_id": f"{n}", "predicted_at": n} | one for n, one in enumerate(made)]
        outcomes = [{"prediction_id": f"{n}", "observed_at": n + 1} | one for n, one in enumerate(known) if one]
        found = join_outcomes(
            predicted(*numbered), observed(*outcomes), evaluation, watermark=start + timedelta(days=9)
        )
        return to_sample(found.rows, evaluation)

    return join


def test_scores_are_numbers_or_the_probability_of_the_positive_label(read: Read) -> None:
    made = [{"number": 0.7}, {"label": "stays", "probabilities": [("goes", 0.2), ("stays", 0.8)]}, {"number": 0.1}]
    known = [{"number": 1.0}, {"label": "goes"}, {"label": "stays"}]
    found = read(made, known, Evaluation(task="binary", positive_label="goes"))
    assert found.truth.tolist() == [1, 1, 0]
    assert found.scores is not None
    assert found.scores.tolist() == [0.7, 0.2, 0.1]
    assert found.predicted.tolist() == [1, 0, 0]


def test_a_label_that_was_predicted_is_the_decision_whatever_the_threshold(read: Read) -> None:
    made = [{"label": "goes", "probabilities": [("goes", 0.3), ("stays", 0.7)]}]
    found = read(made, [{"number": 1.0}], Evaluation(task="binary", positive_label="goes"))
    assert found.predicted.tolist() == [1]
    assert read([{"number": 0.4}], [{"number": 1.0}], Evaluation(task="binary", decision_threshold=0.4)).predicted == 1


def test_labels_alone_have_no_scores_and_say_so(read: Read) -> None:
    found = read([{"label": "goes"}], [{"label": "stays"}], Evaluation(task="binary", positive_label="goes"))
    assert found.scores is None
    assert found.scores_missing == "some predictions are labels without a probability"
    assert (found.truth.tolist(), found.predicted.tolist()) == ([0], [1])


def test_no_outcome_counts_as_negative_where_that_is_declared(read: Read) -> None:
    negative = Evaluation(task="binary", missing_outcome="negative")
    assert read([{"number": 0.4}, {"number": 0.9}], [{}, {"number": 1.0}], negative).truth.tolist() == [0, 1]
    assert read([{"number": 0.4}], [{}], Evaluation(task="binary")).rows == 0


def test_what_cannot_be_measured_is_left_out(read: Read) -> None:
    made = [{"number": 0.4}, {"number": 0.4}, {"label": "goes"}, {"number": 0.6}]
    known = [{"number": 0.5}, {"label": "goes"}, {"number": 1.0}, {"number": 1.0}]
    found = read(made, known, Evaluation(task="binary"))
    assert found.places.tolist() == [3], "an outcome between 0 and 1, and labels of which none is positive"


def test_classes_are_labels_and_numbers_are_the_labels_that_they_are_written_as(read: Read) -> None:
    made = [{"label": "b"}, {"number": 3}, {"number": 2.5, "label": None}]
    known = [{"label": "a"}, {"label": "3"}, {"number": 2.5}]
    found = read(made, known, Evaluation(task="multiclass"))
    assert found.classes == ("2.5", "3", "a", "b")
    assert [found.classes[int(n)] for n in found.truth] == ["a", "3", "2.5"]
    assert (found.predicted == found.truth).tolist() == [False, True, True]
    assert found.scores_missing == "some predictions have no probabilities"


def test_probabilities_that_overlap_are_no_distribution(read: Read) -> None:
    made = [{"label": "b", "probabilities": [("a", 0.9), ("b", 0.9)]}]
    assert read(made, [{"label": "a"}], Evaluation(task="multiclass")).scores_missing == (
        "the probabilities of some predictions do not add up to 1"
    )


def test_regressions_take_numbers_alone(read: Read) -> None:
    found = read([{"number": 1.5}, {"label": "x"}], [{"number": 2.0}, {"number": 1.0}], Evaluation(task="regression"))
    assert (found.truth.tolist(), found.predicted.tolist()) == ([2.0], [1.5])


def test_a_model_that_declares_no_task_says_what_to_do() -> None:
    with pytest.raises(MonitorError, match="declares no task") as caught:
        to_sample(pa.table({}), Evaluation())
    assert "task=" in caught.value.hint


def test_no_rows_are_a_sample(read: Read) -> None:
    for task in ("binary", "multiclass", "regression"):
        assert read([], [], Evaluation(task=task)).rows == 0
    assert np.zeros(0).shape == (0,)
