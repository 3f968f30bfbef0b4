"""A split is refused where it does not say which row is in which part."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from featurestore import GroupSplit, KeySplit, RandomSplit, TimeSplit
from featurestore.definitions import Split
from featurestore.definitions.splits import split_from_spec
from featurestore.errors import DefinitionError, TimestampError

MAY, JUNE = datetime(2013, 5, 1, tzinfo=UTC), datetime(2013, 6, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    "split",
    [
        TimeSplit(test=JUNE),
        TimeSplit(validation=MAY, test=JUNE),
        TimeSplit(validation=MAY),
        TimeSplit(shares={"train": 0.7, "validation": 0.1, "test": 0.2}),
        KeySplit(shares={"train": 0.9, "test": 0.1}, seed=7),
        GroupSplit(column="customer"),
        RandomSplit(shares={"train": 1}, seed=-3),
    ],
    ids=str,
)
def test_a_split_is_read_back_from_its_json(split: Split) -> None:
    assert split_from_spec(split.spec()) == split


def test_shares_stand_in_the_order_of_time_however_they_are_written() -> None:
    split = TimeSplit(shares={"test": 0.2, "validation": 0.2, "train": 0.6})
    assert split.shares is not None
    assert list(split.shares) == ["train", "validation", "test"]


def test_an_instant_of_another_zone_is_the_same_instant() -> None:
    berlin = timezone(timedelta(hours=2))
    assert TimeSplit(test=datetime(2013, 6, 1, 2, tzinfo=berlin)) == TimeSplit(test=JUNE)


@pytest.mark.parametrize(
    ("shares", "says"),
    [
        ({"train": 0.8, "test": 0.3}, "add up to 1.1, not to 1"),
        ({"train": 0.8}, "add up to 0.8"),
        ({"validation": 0.5, "test": 0.5}, "leaves no rows to train on"),
        ({"train": 0.8, "tests": 0.2}, "'tests': 0.2"),
        ({"train": 1.0, "test": 0.0}, "'test': 0.0"),
        ({"train": True}, "'train': True"),
        ({"train": "0.8", "test": "0.2"}, "'train': '0.8'"),
        ([0.8, 0.2], "is not a dict"),
        ({}, "leaves no rows"),
    ],
)
@pytest.mark.parametrize("kind", [TimeSplit, KeySplit, RandomSplit])
def test_shares_that_are_none_are_refused(kind: Any, shares: Any, says: str) -> None:
    with pytest.raises(DefinitionError, match=says) as raised:
        kind(shares=shares)
    assert kind.__name__ in raised.value.message
    assert raised.value.hint


def test_a_third_and_two_thirds_are_a_whole() -> None:
    assert KeySplit(shares={"train": 2 / 3, "test": 1 / 3}).shares == {"train": 2 / 3, "test": 1 / 3}


def test_a_split_by_time_takes_instants_or_shares() -> None:
    for given in ({}, {"test": JUNE, "shares": {"train": 0.8, "test": 0.2}}):
        with pytest.raises(DefinitionError, match="the instants at which parts begin, or shares"):
            TimeSplit(**given)  # type: ignore[arg-type]
    with pytest.raises(DefinitionError, match="which is not before test"):
        TimeSplit(validation=JUNE, test=MAY)
    with pytest.raises(TimestampError, match=r"test of TimeSplit is .* which names no time zone"):
        TimeSplit(test=datetime(2013, 6, 1))  # noqa: DTZ001 - that is the point


def test_a_seed_is_a_whole_number_and_a_column_a_text() -> None:
    for seed in (1.5, "7", True):
        with pytest.raises(DefinitionError, match="has seed="):
            KeySplit(seed=seed)  # type: ignore[arg-type]
    with pytest.raises(DefinitionError, match="column=7"):
        GroupSplit(column=7)  # type: ignore[arg-type]
