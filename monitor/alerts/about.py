"""What an incident needs to know of an alert, beside its state: kept with the alert when it fires."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache
from typing import Any

from pydantic import TypeAdapter

from monitor.alerts.grouping import Subject
from monitor.alerts.incident_state import Member
from monitor.alerts.states import Alert


@dataclass(frozen=True, kw_only=True)
class About:
    """Whom an alert is about, and who hears of it.

    Attributes:
        project: the namespace.
        replay: the name of the rehearsal, or "".
        policy: the policy's name.
        service: the service version that it is about; the stream where it is about none.
        model: the model of the service, or "".
        rule: what was looked for.
        slice: which rows; "" for all.
        features: that it is about, as the service names them, those that matter most first.
        views: of these, the view of each.
        sources: of these, the names of what each is made from.
        severity: ``page``, ``ticket`` or ``info``.
        routes: channels that hear of it.
        escalate_after: how long nobody may say that they work on it before others hear of it; None for ever.
        escalate_to: the channels that do.
        runbook: where the owner wrote down what to do; "" for nowhere.
    """

    project: str
    replay: str = ""
    policy: str
    service: str
    model: str = ""
    rule: str
    slice: str = ""
    features: tuple[str, ...] = ()
    views: Mapping[str, str] = field(default_factory=dict)
    sources: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    severity: str = "page"
    routes: tuple[str, ...] = ()
    escalate_after: timedelta | None = None
    escalate_to: tuple[str, ...] = ()
    runbook: str = ""

    def subject(self) -> Subject:
        """Return it as what decides on the incident that the alert belongs to."""
        return Subject(
            project=self.project,
            replay=self.replay,
            service=self.service,
            model=self.model,
            rule=self.rule,
            slice=self.slice,
            features=self.features,
            sources=self.sources,
        )

    def member(self, alert: Alert, *, summary: str, now: datetime) -> Member:
        """Return the alert as a member of an incident that it joins now."""
        return Member(
            alert=alert.key,
            episode=alert.episode,
            policy=self.policy,
            service=self.service,
            rule=self.rule,
            slice=self.slice,
            features=self.features,
            severity=self.severity,
            routes=self.routes,
            escalate_after=self.escalate_after,
            escalate_to=self.escalate_to,
            joined_at=now,
            state=alert.state,
            firing=alert.firing,
            onset=alert.onset,
            summary=summary,
        )

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values from which :meth:`from_dict` makes it again."""
        values: dict[str, Any] = _adapter().dump_python(self, mode="json")
        return values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> About:
        """Return what :meth:`to_dict` came from."""
        return _adapter().validate_python(values)


@cache
def _adapter() -> TypeAdapter[About]:
    return TypeAdapter(About)
