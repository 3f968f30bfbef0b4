"""What a run did, and what it needs of a store."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from featurestore import markup
from monitor.alerts.states import State

#: What is said of a stream that has nothing to be compared with yet.
NO_BASELINE = "no baseline"
#: What is said of one that has a baseline and no closed window yet.
NO_WINDOW = "no window yet"
#: What is said where nothing could be judged.
NOT_ENOUGH = "not enough data"


@dataclass(frozen=True, kw_only=True)
class ServiceReport:
    """What a run did for one stream: a service version, another source, the predictions or the outcomes of a model.

    Attributes:
        service: the stream.
        windows: windows judged in this run.
        verdict: of the last of them; ``no baseline`` and ``no window yet`` where there was none.
        state: the worst of its alerts, after them.
        fired: alerts that began to fire.
        resolved: alerts that were resolved.
        signals: retraining signals made.
        lag: how far what has been judged lies behind the stream's watermark; None where nothing can be said.
        log_evidence: natural logarithm of the evidence over all rows; None where there is none.
        log_limit: natural logarithm of its limit.
    """

    service: str
    windows: int = 0
    verdict: str = NO_WINDOW
    state: State = State.OK
    fired: int = 0
    resolved: int = 0
    signals: int = 0
    lag: timedelta | None = None
    log_evidence: float | None = None
    log_limit: float | None = None


@dataclass(frozen=True, kw_only=True)
class RunReport:
    """What a run did.

    Attributes:
        policy: ``flight_drift@1``.
        watermark: up to where the rows were complete; None where nothing can be said yet.
        services: one for each stream that has rows.
        more: whether the run stopped at its bound, so that windows are left for the next one.
    """

    policy: str
    watermark: datetime | None
    services: tuple[ServiceReport, ...]
    more: bool = False

    def _repr_html_(self) -> str:
        """What a notebook shows: a line for each stream."""
        until = "" if self.watermark is None else f", complete up to {self.watermark:%Y-%m-%d %H:%M}"
        rows = [
            (
                one.service,
                f"{one.windows:,}",
                one.verdict,
                one.state.value,
                f"{one.fired:,} fired, {one.resolved:,} resolved",
                "" if one.log_evidence is None else f"ln {one.log_evidence:.2f} of ln {one.log_limit:.2f}",
            )
            for one in self.services
        ]
        titles = ("stream", "windows", "verdict", "state", "alerts", "evidence")
        return markup.text_of(markup.table(titles, rows, caption=f"{self.policy}{until}"))
