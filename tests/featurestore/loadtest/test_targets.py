"""What a target says, and what reaches it."""

from __future__ import annotations

import pytest

from featurestore.errors import ConfigError
from featurestore.loadtest.targets import parse_targets


def test_targets_are_read_with_their_units() -> None:
    found = parse_targets("p99<5ms, errors<=0.1%,p99.9<1s,max<2s,rate>=2000,errors<0.02")
    assert [(one.name, one.bound, one.inclusive) for one in found] == [
        ("p99", 0.005, False),
        ("errors", 0.001, True),
        ("p99.9", 1.0, False),
        ("max", 2.0, False),
        ("rate", 2000.0, True),
        ("errors", 0.02, False),
    ]
    assert [one.percent for one in found] == [99.0, None, 99.9, 100.0, None, None]
    assert parse_targets("") == parse_targets("  ") == ()


def test_a_bound_is_good_only_where_it_is_included_and_nothing_measured_reaches_nothing() -> None:
    below, up_to, over = parse_targets("errors<1%,errors<=1%,rate>10")
    assert [below.holds(value) for value in (0.0, 0.01, 0.02, None)] == [True, False, False, False]
    assert [up_to.holds(value) for value in (0.0, 0.01, 0.02)] == [True, True, False]
    assert [over.holds(value) for value in (9, 10, 11)] == [False, False, True]


@pytest.mark.parametrize(
    "text", ["p99", "p99<5", "p99>5ms", "rate<100", "p999<5ms", "latency<5ms", "errors<x", "p99<5ms,", "p99<<5ms"]
)
def test_what_is_no_target_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ConfigError, match="--target") as caught:
        parse_targets(text)
    assert caught.value.hint
