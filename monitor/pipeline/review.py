"""How a stream stands before its windows are judged, and how much a run may still do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from monitor.baselines import Reference
from monitor.pipeline.subjects import Subject
from monitor.windows import Closed, Position


@dataclass
class Bound:
    """How much a run may still do.

    Attributes:
        left: windows.
        stop: asked before each of them; True ends the run.
        spent: whether the run ended for lack of windows that it may judge.
        ended: whether it ended at all.
    """

    left: int
    stop: Callable[[], bool]
    spent: bool = False
    ended: bool = False

    def reached(self) -> bool:
        """Return whether the run ends here; else one more window is taken."""
        self.spent = self.spent or self.left <= 0
        self.ended = self.ended or self.spent or self.stop()
        self.left -= 1
        return self.ended


@dataclass(frozen=True, kw_only=True)
class Review:
    """What stands before the windows of a stream are judged.

    Attributes:
        subject: the stream.
        reference: what it is compared with; None while there is nothing.
        since: where the last run left off.
        closed: the windows that have closed since.
        watermark: the stream's; None where nothing can be said yet.
    """

    subject: Subject
    reference: Reference | None
    since: Position | None
    closed: Closed
    watermark: datetime | None
