"""What a model declares of its outcomes."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from featurestore.definitions import Evaluation
from featurestore.errors import DefinitionError


def test_it_comes_back_from_json_as_it_was() -> None:
    for one in (
        Evaluation(),
        Evaluation(task="regression", label_delay=timedelta(microseconds=1)),
        Evaluation(task="binary", missing_outcome="negative", positive_label="goes", decision_threshold=0.3),
    ):
        assert Evaluation.from_dict(one.to_dict()) == one
    assert Evaluation().to_dict() == {}


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"task": "binry"}, 'task="binry"'),
        ({"task": 1}, "not a text"),
        ({"missing_outcome": "positive"}, 'missing_outcome="positive"'),
        ({"task": "regression", "missing_outcome": "negative"}, 'its task is "regression"'),
        ({"label_delay": 3600}, "not a timedelta"),
        ({"label_delay": timedelta(seconds=-1)}, "label_delay"),
        ({"decision_threshold": 1.5}, "does not lie between 0 and 1"),
        ({"decision_threshold": True}, "does not lie between 0 and 1"),
    ],
)
def test_what_cannot_be_meant_is_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(DefinitionError, match=message):
        Evaluation(**wrong)
