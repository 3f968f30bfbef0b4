"""The false pages that people agreed to get -> how many windows must pass between two false alarms of one rule.

The budget is a route's: so many pages a quarter reach ``[channels.pager]`` by chance, on average, at most. Policies
that may page there share it by their weight, and within a policy its rules and slices share evenly, and so do the
service versions that are served beside each other: expectations add up whatever depends on what, so the whole stays
within the budget. What a rule gets is its average run length A: a detector that alarms when its value reaches A has at
least A windows between false alarms.

Pure: definitions and numbers go in, numbers come out.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta

from featurestore.definitions import MonitorPolicy

#: A quarter of a Gregorian year.
QUARTER = timedelta(days=91.3125)

#: Pages a quarter of a route that says nothing else, and of a policy that has no route: it has one for itself.
DEFAULT_BUDGET = 1.0

#: The least that an average run length may be: one that is lower would alarm in every other window by itself.
LEAST_RUN_LENGTH = 2.0


@dataclass(frozen=True, kw_only=True)
class Share:
    """What a policy may send to one of its routes by chance.

    Attributes:
        route: the channel; "" for a policy that has none.
        budget: the channel's, in pages a quarter.
        weight: the policy's part of it, over 0 and at most 1.
    """

    route: str
    budget: float
    weight: float

    @property
    def pages(self) -> float:
        """Pages a quarter."""
        return self.budget * self.weight


def shares(policy: MonitorPolicy, policies: Iterable[MonitorPolicy], budgets: Mapping[str, float]) -> tuple[Share, ...]:
    """Return a policy's share in each of its routes, in the order of its routes.

    Args:
        policy: whose.
        policies: all that are current, this one among them or not.
        budgets: pages a quarter, by channel.
    """
    if not policy.routes:
        return (Share(route="", budget=DEFAULT_BUDGET, weight=1.0),)
    others = [one for one in policies if one.name != policy.name]
    found = []
    for route in policy.routes:
        # Fixed order: a sum of floats depends on it, and the same policies have the same limits.
        whole = math.fsum(sorted(one.share for one in (policy, *others) if route in one.routes))
        budget = budgets.get(route, DEFAULT_BUDGET)
        found.append(Share(route=route, budget=budget, weight=policy.share / whole))
    return tuple(found)


def strictest(found: Iterable[Share]) -> Share:
    """Return the share with the fewest pages: what reaches several routes keeps to the budget of each."""
    return min(found, key=lambda one: (one.pages, one.route))


def windows_per_quarter(length: timedelta) -> float:
    """Return how many windows of a length a quarter has."""
    return QUARTER / length


def average_run_length(length: timedelta, share: Share, *, parts: int = 1) -> float:
    """Return the average run length of one part, in windows.

    A window uses as much of the budget as it lasts of the quarter. So windows of unequal length, those of so many rows
    among them, use no more of it together than those of equal length do.

    Args:
        length: how long the window lasts.
        share: what the policy may send.
        parts: rules, slices and streams that share it, each of which is judged once a window.
    """
    lasts = max(length, timedelta(microseconds=1))
    return max(LEAST_RUN_LENGTH, windows_per_quarter(lasts) * max(1, parts) / share.pages)
