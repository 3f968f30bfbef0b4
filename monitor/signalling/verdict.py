"""Did retraining help? When to look, and what a look says. Pure.

A monitor that looked every minute until it liked what it saw would be wrong far more often than its interval says. So
it looks a few times only, each after twice as many days as the one before, and shares the chance to be wrong among
them (Bonferroni): all its intervals together hold with 95 %. Against intervals that hold at any time this pays where
days differ more than versions do, as both versions of a day are then seen beside each other.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum

from monitor.performance.comparison import Comparison

#: Days of matured predictions after the promotion at which it looks.
LOOKS = (2, 4, 8, 16, 32)
#: Of the interval of each look; together they are wrong at most once in twenty times.
CONFIDENCE = 1 - 0.05 / len(LOOKS)


class Verdict(StrEnum):
    """What live data says of the new version."""

    HELPED = "helped"
    WORSE = "worse"
    NO_DIFFERENCE = "no difference"  # none that could be shown in the last look
    UNKNOWN = "unknown"  # there was too little to compare, or nothing that can be
    OPEN = "open"  # there will be another look


def looks_due(promoted_at: datetime, label_delay: timedelta, now: datetime) -> int:
    """Return how many looks are due by now.

    Args:
        promoted_at: since when the new version is served.
        label_delay: after which its predictions have matured.
        now: before which outcomes are known.
    """
    matured = now - label_delay - promoted_at
    return sum(matured >= timedelta(days=days) for days in LOOKS)


def verdict(found: Comparison, look: int) -> Verdict:
    """Return what a look says.

    Args:
        found: the new version, B, against the old one, A, without a margin.
        look: which one it is, from 1.
    """
    if found.answer == "yes":
        return Verdict.HELPED
    if found.answer == "no":
        return Verdict.WORSE
    if look < len(LOOKS):
        return Verdict.OPEN
    return Verdict.NO_DIFFERENCE if found.answer == "not yet" else Verdict.UNKNOWN


def sentence(found: Comparison, said: Verdict) -> str:
    """Return a settled verdict in words, with the interval."""
    a, b = found.a.name, found.b.name
    # Without the answer to the question that was put: it is given in the words of this one.
    measured = found.text.partition(". ")[2].partition(" About ")[0]
    if said is Verdict.HELPED:
        return f"It helped: {b} is better than {a}. {measured}"
    if said is Verdict.WORSE:
        return f"It did not help: {b} is worse than {a}. {measured}"
    if said is Verdict.NO_DIFFERENCE:
        return f"No difference between {b} and {a} could be shown in {LOOKS[-1]} days. {measured}"
    return f"Whether {b} is better than {a} cannot be said: {found.text}"
