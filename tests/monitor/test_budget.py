"""Budgets of routes -> run lengths of rules."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from featurestore.definitions import Entity, FeatureService, FeatureView, Field, MonitorPolicy
from featurestore.types import Float64
from monitor import budget

SERVICE = FeatureService(
    name="s",
    features=[
        FeatureView(name="v", entities=[Entity(name="e")], schema=[Field(name="x", dtype=Float64)], ttl=timedelta(1))
    ],
)


def policy(name: str, **parts: Any) -> MonitorPolicy:
    return MonitorPolicy(name=name, service=SERVICE, **parts)


def test_one_page_a_quarter_of_hourly_windows_is_a_run_length_of_2191_and_a_half() -> None:
    alone = policy("a", routes=["pager"])
    (share,) = budget.shares(alone, [alone], {"pager": 1.0})
    assert budget.average_run_length(timedelta(hours=1), share) == 2191.5
    assert budget.average_run_length(timedelta(days=1), share) == pytest.approx(91.3125)


def test_policies_share_a_route_by_weight_and_parts_share_a_policy() -> None:
    one, two = policy("one", routes=["pager"], share=3), policy("two", routes=["pager", "mail"])
    (share,) = budget.shares(one, [one, two], {"pager": 2.0})
    assert (share.weight, share.pages) == (0.75, 1.5)
    assert budget.average_run_length(timedelta(hours=1), share, parts=4) == 2191.5 * 4 / 1.5


def test_of_several_routes_the_strictest_counts() -> None:
    one, two = policy("one", routes=["mail", "pager"]), policy("two", routes=["pager"])
    found = budget.shares(one, [two, one], {"mail": 10.0, "pager": 1.0})
    assert budget.strictest(found) == budget.Share(route="pager", budget=1.0, weight=0.5)


def test_a_policy_that_tells_nobody_has_a_budget_for_itself() -> None:
    (share,) = budget.shares(policy("a"), [policy("b")], {})
    assert (share.route, share.pages) == ("", budget.DEFAULT_BUDGET)


def test_a_budget_that_allows_anything_still_takes_evidence() -> None:
    (share,) = budget.shares(policy("a", routes=["r"]), [], {"r": 1e9})
    assert budget.average_run_length(timedelta(days=1), share) == budget.LEAST_RUN_LENGTH


@given(
    st.lists(st.floats(0.1, 100), min_size=1, max_size=6),
    st.lists(st.integers(1, 40), min_size=6, max_size=6),
    st.floats(0.01, 50),
)
def test_false_pages_of_all_parts_of_all_policies_add_up_to_the_budget(
    weights: list[float], parts: list[int], pages: float
) -> None:
    policies = [policy(f"p{at}", routes=["pager"], share=weight) for at, weight in enumerate(weights)]
    hour = timedelta(hours=1)
    total = 0.0
    for one, count in zip(policies, parts, strict=False):
        share = budget.strictest(budget.shares(one, policies, {"pager": pages}))
        total += count * budget.windows_per_quarter(hour) / budget.average_run_length(hour, share, parts=count)
    assert total == pytest.approx(pages)


@given(st.lists(st.integers(1, 10_000), min_size=1, max_size=50))
def test_windows_of_unequal_length_use_no_more_than_their_time(minutes: list[int]) -> None:
    share = budget.Share(route="r", budget=1.0, weight=1.0)
    lengths = [timedelta(minutes=one) for one in minutes]
    used = sum(1 / budget.average_run_length(one, share) for one in lengths)
    assert used == pytest.approx(sum(lengths, timedelta(0)) / budget.QUARTER)
