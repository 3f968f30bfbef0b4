"""The monitor's memory: which windows it has judged, where each detector stands, what is wrong, what it has said.

One window's profile, verdict, detector state, alert and messages are written in one transaction, so that a monitor
that dies at any moment goes on where it was: nothing is lost and nothing counts twice.
"""

from monitor.history.database import History
from monitor.history.values import Check, Detector, JudgedWindow, Standing, Watch, instant

__all__ = ["Check", "Detector", "History", "JudgedWindow", "Standing", "Watch", "instant"]
