"""The monitor's database -> what a report says: incidents with their stories, and how the evidence went."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, func, select

from monitor import schema
from monitor.accepting import find_incident
from monitor.alerts.incident_state import Incident
from monitor.alerts.outbox import listed
from monitor.alerts.showing import Happening, happenings
from monitor.history import History, instant

#: The most windows of which the evidence is shown, of each stream: the newest.
WINDOWS = 240
#: A decision of a thousand features is a megabyte; what is read of it stands at its beginning.
_BEGINNING = 400
_EVIDENCE = re.compile(r'"log_value": ([^,]+), "log_limit": ([^,]+),')


@dataclass(frozen=True, kw_only=True)
class Story:
    """An incident as a report tells it.

    Attributes:
        incident: with its alerts.
        happened: its timeline.
        findings: the JSON form of ``featurestore.v1.Alert`` of each of its alerts that fired, the first of them first;
            values of fields tagged ``pii`` are in none.
    """

    incident: Incident
    happened: tuple[Happening, ...]
    findings: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True, kw_only=True)
class Series:
    """The evidence of a stream over its windows, the oldest first.

    Attributes:
        policy: its name.
        service: the service version.
        ends: of the windows.
        evidence: natural logarithms; None where there is none.
        limits: the same of the limit.
    """

    policy: str
    service: str
    ends: tuple[datetime, ...]
    evidence: tuple[float | None, ...]
    limits: tuple[float | None, ...]


@dataclass(frozen=True, kw_only=True)
class Report:
    """What a report says.

    Attributes:
        project: the namespace.
        replay: the name of the rehearsal, or "".
        made_at: when it was read.
        status: what :func:`monitor.status.status` returns.
        stories: of the incident that was asked for, or of all that go on.
        series: of each stream that was judged.
    """

    project: str
    replay: str
    made_at: datetime
    status: Mapping[str, Any]
    stories: tuple[Story, ...]
    series: tuple[Series, ...]


def read_report(
    history: History,
    status: Mapping[str, Any],
    *,
    project: str,
    replay: str,
    now: datetime,
    incident: int | None = None,
) -> Report:
    """Return what a report says.

    Args:
        history: the monitor's database.
        status: what :func:`monitor.status.status` returned.
        project: the namespace.
        replay: the name of the rehearsal, or "".
        now: the wall clock.
        incident: the number of the one to tell, also one that is over; all that go on, if None.

    Raises:
        MonitorError: there is no such incident.
    """
    with history.read() as connection:
        chosen = (
            history.open_incidents(connection) if incident is None else [find_incident(history, connection, incident)]
        )
        return Report(
            project=project,
            replay=replay,
            made_at=now,
            status=status,
            stories=tuple(_story(history, connection, one) for one in chosen),
            series=tuple(_series(connection)),
        )


def _story(history: History, connection: Connection, incident: Incident) -> Story:
    stored = history.stored_alerts(connection, [one.alert for one in incident.members])
    kept = (stored[one.alert].kept.finding for one in incident.members if one.alert in stored)
    shown = happenings(history.timeline(connection, incident.number), listed(connection, incident=incident.key))
    return Story(incident=incident, happened=tuple(shown), findings=tuple(one for one in kept if one))


def _series(connection: Connection) -> list[Series]:
    table = schema.windows
    keys = (table.c.policy, table.c.policy_version, table.c.service)
    found = []
    for policy, version, service in connection.execute(select(*keys).distinct().order_by(*keys)).all():
        mine = (table.c.policy == policy) & (table.c.policy_version == version) & (table.c.service == service)
        newest = (
            select(table.c.window_end, func.substr(table.c.decision, 1, _BEGINNING).label("beginning"))
            .where(mine, table.c.slice == "")
            .order_by(table.c.window_start.desc(), table.c.window_offset.desc())
            .limit(WINDOWS)
        )
        rows = connection.execute(newest).all()[::-1]
        read = [(instant(row.window_end), _evidence(row.beginning)) for row in rows]
        known = [(end, *numbers) for end, numbers in read if end is not None]
        if known:
            ends, evidence, limits = zip(*known, strict=True)
            named = f"{policy}@{version}"
            found.append(Series(policy=named, service=service, ends=ends, evidence=evidence, limits=limits))
    return found


def _evidence(beginning: str) -> tuple[float | None, float | None]:
    said = _EVIDENCE.search(beginning)
    if said is None:
        return None, None
    value, limit = (_number(one) for one in said.groups())
    return value, limit


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None
