"""Evidence over time: a mixture Shiryaev-Roberts e-detector on frozen bins.

Under "every row's chance to fall into an event is at most its limit" the detector's value grows by at most one a
window in expectation, however the features depend on each other. So with a limit of A on the value there are at least
A windows between false alarms, on average: the budget that a policy sets (Shin, Ramdas and Rinaldo, arXiv
2203.03532).

For each event of a feature (values up to a cut, values over it, one category, not that category, null, unseen ...):

- its limit b is its share in the baseline, plus that share's own error, plus the smallest change that matters; for a
  feature that follows the clock, its share in the hours of the window;
- each alternative q lies over b; a window with c of n rows in the event multiplies by (q/b)^c ((1-q)/(1-b))^(n-c);
- c and n are divided by the design effect, since rows of one day are hardly independent;
- one block multiplies by at most D + 1, with D the blocks of the baseline. However odd a day is, among D + 1 days that
  differ by chance alone one is the oddest, so no more than that can be said without assuming how odd days can be: no
  single blizzard raises an alarm by itself. (A factor made smaller keeps the guarantee.)

A feature's value is the mean over its events of one kind and alternatives, a kind's is the mean over features by
weight, the model's is the mean over kinds by their shares of the budget: a mean of e-detectors is one.
"""

from monitor.detector.events import KINDS, Event, Kind
from monitor.detector.launch import LAUNCH_BLOCKS
from monitor.detector.limits import ALTERNATIVES, SHARES, FeatureLimits, Limits, fit_limits
from monitor.detector.state import DetectorState, Evidence, Moved
from monitor.detector.stepping import Budget, step

__all__ = [
    "ALTERNATIVES",
    "KINDS",
    "LAUNCH_BLOCKS",
    "SHARES",
    "Budget",
    "DetectorState",
    "Event",
    "Evidence",
    "FeatureLimits",
    "Kind",
    "Limits",
    "Moved",
    "fit_limits",
    "step",
]
