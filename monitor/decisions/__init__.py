"""Statistics, evidence and the policy's numbers -> a decision.

Two keys open the door to a person: evidence that something changed (the detector's alarm), and an effect that matters
(an interval over the policy's threshold). Either alone stays inside: with many rows anything is evidence, and with few
rows any distance is large. One thing needs no key: values that are missing where none ever was.
"""

from monitor.decisions.deciding import decide
from monitor.decisions.finding import (
    Association,
    Decision,
    Direction,
    FeatureFinding,
    Kind,
    Move,
    SecondOpinion,
    Statistic,
    Verdict,
)
from monitor.decisions.second_opinion import second_opinion

__all__ = [
    "Association",
    "Decision",
    "Direction",
    "FeatureFinding",
    "Kind",
    "Move",
    "SecondOpinion",
    "Statistic",
    "Verdict",
    "decide",
    "second_opinion",
]
