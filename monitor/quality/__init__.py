"""Data quality in the frame of the monitor: rules over plain facts, each with a verdict, a measure and a sentence.

Null spikes, unseen categories, values out of range and NaN are evidence of the detector and not here. These rules see
what a window's profile does not: that there is no window, that values stand still, how old they are, what columns and
types a stream has, and who runs what. All are pure; :mod:`monitor.quality.reading` reads the facts.
"""

from monitor.quality.checks import QualityFacts, QualityLimits, ServedWindow, check_quality
from monitor.quality.finding import Finding
from monitor.quality.volume import filled_counts

__all__ = ["Finding", "QualityFacts", "QualityLimits", "ServedWindow", "check_quality", "filled_counts"]
