"""The monitor's memory: which windows it has judged, where each detector stands, what is wrong, what it has said.

One window's profile, verdict, detector state, alert and messages are written in one transaction, so that a monitor
that dies at any moment goes on where it was: nothing is lost and nothing counts twice.
"""

from monitor.history.alerts import Kept, StoredAlert
from monitor.history.database import History
from monitor.history.incidents import CLOSED, Line
from monitor.history.people import Acceptance
from monitor.history.values import Check, Detector, JudgedWindow, Standing, Watch, instant

__all__ = [
    "CLOSED",
    "Acceptance",
    "Check",
    "Detector",
    "History",
    "JudgedWindow",
    "Kept",
    "Line",
    "Standing",
    "StoredAlert",
    "Watch",
    "instant",
]
