"""How long things are kept, as people write it."""

from __future__ import annotations

from datetime import timedelta

import pytest
from pydantic import ValidationError

from featurestore.settings.retention import RetentionConfig


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("90 days", timedelta(days=90)),
        ("1 day", timedelta(days=1)),
        ("12h", timedelta(hours=12)),
        ("1.5 hours", timedelta(minutes=90)),
        ("30m", timedelta(minutes=30)),
        ("0 seconds", timedelta(0)),
        (" 2 weeks ", timedelta(days=14)),
    ],
)
def test_a_duration_is_a_number_and_a_unit(text: str, meant: timedelta) -> None:
    assert RetentionConfig.model_validate({"log": text}).log == meant


@pytest.mark.parametrize("text", ["", "90", "days", "-1 day", "1 year", "1 d ays", 90, True])
def test_anything_else_is_refused(text: object) -> None:
    with pytest.raises(ValidationError, match="is no duration"):
        RetentionConfig.model_validate({"log": text})


def test_only_the_history_of_tables_and_messages_have_an_end_unless_one_is_set() -> None:
    ends = RetentionConfig().model_dump()
    assert ends.pop("history") == timedelta(days=30)
    assert ends.pop("messages") == timedelta(days=90)
    assert set(ends.values()) == {None}
