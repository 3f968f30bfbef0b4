"""Where a baseline comes from: what may be said of it, and that it comes back as it was."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from featurestore.definitions import BaselineSource
from featurestore.errors import DefinitionError, FeatureStoreError, TimestampError
from featurestore.queries import check_condition

_MARCH, _APRIL = datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 4, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"dataset": "delays@1", "filter": "label IS NOT NULL", "weight": "sample_weight"},
        {"since": _MARCH, "until": _APRIL, "filter": "carrier = 'UA'"},
    ],
)
def test_it_comes_back_from_its_spec(given: dict[str, Any]) -> None:
    source = BaselineSource(**given)
    assert BaselineSource.from_spec(json.loads(json.dumps(source.spec()))) == source


def test_instants_are_utc_and_texts_may_stand_for_them() -> None:
    there = timezone(timedelta(hours=2))
    given = BaselineSource(since="2026-03-01", until=datetime(2026, 4, 1, 2, tzinfo=there))  # type: ignore[arg-type]
    assert (given.since, given.until) == (_MARCH, _APRIL)
    assert given == BaselineSource(since=_MARCH, until=_APRIL)


def test_only_without_a_period_a_filter_and_weights_it_is_what_is_stored() -> None:
    assert BaselineSource().automatic
    assert BaselineSource(dataset="delays@1").automatic
    assert not BaselineSource(filter="x > 1").automatic
    assert not BaselineSource(weight="w").automatic
    assert not BaselineSource(since=_MARCH, until=_APRIL).automatic


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"dataset": "two words"}, "names none"),
        ({"dataset": 3}, "names none"),
        ({"since": _MARCH}, "half a period"),
        ({"until": _MARCH}, "half a period"),
        ({"since": _APRIL, "until": _MARCH}, "not before its end"),
        ({"since": _MARCH, "until": _MARCH}, "not before its end"),
        ({"dataset": "delays@1", "since": _MARCH, "until": _APRIL}, "both a dataset and a period"),
        ({"filter": 3}, "filter"),
        ({"weight": None}, "weight"),
    ],
)
def test_what_cannot_be_is_said(wrong: dict[str, Any], says: str) -> None:
    with pytest.raises(DefinitionError, match=says):
        BaselineSource(**wrong)


def test_an_instant_names_its_zone() -> None:
    with pytest.raises(TimestampError, match="no time zone"):
        BaselineSource(since=datetime(2026, 3, 1), until=_APRIL)  # noqa: DTZ001 - is refused


@pytest.mark.parametrize(
    "text", ["a > 1", "a IN (1, 2) AND NOT b -- why", "list_contains(tags, 'x')", "a BETWEEN 1 AND 2"]
)
def test_a_condition_over_the_columns_of_a_row_is_taken(text: str) -> None:
    check_condition(text, "The filter")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a >",
        "a = 1) OR (b = 2",
        "1 = 1) UNION ALL SELECT * FROM read_csv('/etc/passwd') WHERE (1 = 1",
        "a IN (SELECT a FROM other)",
        "1 = 1); DROP TABLE x; SELECT (1",
        "count(*) > 1",
        "row_number() OVER (ORDER BY a) = 1",
        "random() < 0.5",
        "a < now()",
        "1 = 1) GROUP BY (a",
        "1 = 1) LIMIT (1",
    ],
)
def test_what_is_no_condition_of_one_row_is_refused(text: str) -> None:
    with pytest.raises(FeatureStoreError):
        check_condition(text, "The filter")
