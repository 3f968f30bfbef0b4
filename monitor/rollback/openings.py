"""The alerts of open incidents, as the rules of actions see them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection

from featurestore.definitions import MonitorPolicy
from featurestore.registry.records import Registered
from monitor.alerts.incident_state import Incident, Member
from monitor.history import History
from monitor.history.alerts import StoredAlert
from monitor.rollback.values import Opened


@dataclass(frozen=True, kw_only=True)
class Opening:
    """An alert of an open incident, and who else has the like.

    Attributes:
        opened: the alert.
        ill: services that have a firing alert of the same rule.
    """

    opened: Opened
    ill: frozenset[str]


def openings(history: History, connection: Connection, policy: Registered[MonitorPolicy]) -> list[Opening]:
    """Return the alerts of a policy that fire in incidents that go on; those that joined first come first."""
    mine = {one.alert.key: one for one in history.open_alerts(connection, policy.name) if one.alert.firing}
    return [
        Opening(
            opened=_opened(incident, member, mine[member.alert], policy.definition),
            ill=frozenset(str(one.kept.about.get("service", "")) for one in mine.values() if one.rule == member.rule),
        )
        for incident in history.open_incidents(connection)
        for member in incident.members
        if member.firing and member.policy == policy.name and member.alert in mine
    ]


def _opened(incident: Incident, member: Member, stored: StoredAlert, policy: MonitorPolicy) -> Opened:
    return Opened(
        incident=incident.number,
        key=incident.key,
        service=member.service,
        rule=member.rule,
        features=member.features,
        views=stored.kept.about.get("views", {}),
        source=incident.cause.removeprefix("source ") if incident.cause.startswith("source ") else "",
        onset=member.onset,
        since=member.joined_at,
        window=_window(policy, member.onset, member.joined_at, stored.alert.span),
        slice=member.slice,
        judged=stored.decided_at,
    )


def _window(policy: MonitorPolicy, onset: datetime | None, since: datetime, span: int) -> timedelta:
    if isinstance(policy.window, timedelta):
        return policy.window
    return timedelta(0) if onset is None else max(since - onset, timedelta(0)) / max(span, 1)
