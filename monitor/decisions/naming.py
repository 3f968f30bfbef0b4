"""Which features an alarm is about: e-BH over the features' evidence."""

from __future__ import annotations

import math
from collections.abc import Mapping


def named_features(log_evidence: Mapping[str, float], windows: int, *, false_discovery_rate: float) -> tuple[str, ...]:
    """Return the features whose evidence stands when false discoveries among all are controlled, strongest first.

    e-BH (Wang and Ramdas, 2022): the k features with the largest e-values, for the largest k with which the smallest of
    them is at least J / (k * rate); it holds under any dependence of the features. A Shiryaev-Roberts value grows by at
    most 1 a window in expectation, so divided by the windows since its start it is an e-value.

    Args:
        log_evidence: by feature, the natural logarithm of its detector's value.
        windows: since the detectors' start.
        false_discovery_rate: the expected share of the named that are named in error, at most.
    """
    if not log_evidence or windows < 1:
        return ()
    ordered = sorted(log_evidence, key=lambda name: (-log_evidence[name], name))
    least = math.log(len(ordered) / false_discovery_rate) + math.log(windows)
    for count in range(len(ordered), 0, -1):
        if log_evidence[ordered[count - 1]] >= least - math.log(count):
            return tuple(ordered[:count])
    return ()
