"""e-BH names the features of an alarm."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from monitor.decisions.naming import named_features

ONE_WINDOW = 1


def test_the_procedure_is_the_paper_s() -> None:
    evidence = {"a": math.log(41), "b": math.log(19), "c": math.log(14), "d": 0.0}
    # Four features at a rate of 10 %: 40 for one, 20 for two, 13.3 for three, 10 for four.
    assert named_features(evidence, ONE_WINDOW, false_discovery_rate=0.1) == ("a", "b", "c")
    assert named_features(evidence | {"c": math.log(13)}, ONE_WINDOW, false_discovery_rate=0.1) == ("a",)
    assert named_features(evidence | {"a": math.log(39), "c": 0.0}, ONE_WINDOW, false_discovery_rate=0.1) == ()
    # Over many windows as much evidence says less.
    assert named_features(evidence, 10, false_discovery_rate=0.1) == ()
    assert named_features({}, ONE_WINDOW, false_discovery_rate=0.1) == ()
    assert named_features(evidence, 0, false_discovery_rate=0.1) == ()


@given(st.dictionaries(st.text(max_size=3), st.floats(-50, 50), max_size=8), st.integers(1, 100))
def test_who_is_named_has_more_evidence_than_who_is_not(evidence: dict[str, float], windows: int) -> None:
    named = named_features(evidence, windows, false_discovery_rate=0.1)
    least = min((evidence[name] for name in named), default=math.inf)
    assert all(evidence[name] <= least for name in evidence if name not in named)
    assert list(named) == sorted(named, key=lambda name: (-evidence[name], name))


def test_few_are_named_in_error() -> None:
    rng = np.random.default_rng(3)
    wrong = []
    for _ in range(2000):
        # Exponentials of N(-s^2/2, s^2) have mean 1; three of ten features have moved.
        values = rng.normal(-8, 4, 10)
        values[:3] += 12
        evidence = {f"x{at}": float(value) for at, value in enumerate(values)}
        named = named_features(evidence, ONE_WINDOW, false_discovery_rate=0.1)
        wrong.append(sum(int(name[1:]) >= 3 for name in named) / max(1, len(named)))
    assert np.mean(wrong) < 0.1
