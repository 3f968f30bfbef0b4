"""What becomes of an incident: it is opened, alerts join and end, somebody takes it on; pure, ``now`` is a parameter.

It is over when nothing of it fires any more, and stays so: what fires next begins another one. Who is told of all this
is :mod:`monitor.alerts.notices`'s.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from featurestore.errors import MonitorError
from monitor.alerts.grouping import Group
from monitor.alerts.incident_state import Incident, Member
from monitor.alerts.states import Alert


def opened(group: Group, *, episode: int, now: datetime) -> Incident:
    """Return a new incident of a group, without alerts.

    Args:
        group: what its alerts have in common.
        episode: 1 for the first incident of the group, one more for each later one.
        now: when its first alert fired.
    """
    return Incident(group=group.key, episode=episode, cause=group.cause, opened_at=now)


def joined(incident: Incident, member: Member) -> Incident:
    """Return an incident with an alert that fires, or with what has become known of one that it has.

    What people were told and did of an alert stays, as long as its episode is the same.

    Raises:
        ValueError: the incident is over: what fires now begins another one.
    """
    if not incident.open:
        raise ValueError(f"incident {incident.name} is over, and takes no alert")
    before = next((one for one in incident.members if one.alert == member.alert), None)
    if before is not None and before.episode == member.episode:
        kept = replace(
            member,
            joined_at=before.joined_at,
            told_at=before.told_at,
            acknowledged=before.acknowledged,
            escalated=before.escalated,
            explained=before.explained,
            settles_at=before.settles_at,
        )
        return replace(incident, members=tuple(kept if one is before else one for one in incident.members))
    others = tuple(one for one in incident.members if one is not before)
    return replace(incident, members=(*others, member))


def followed(incident: Incident, alert: Alert, *, now: datetime, ended: str = "") -> Incident:
    """Return an incident after one of its alerts has changed; it is over when none fires any more.

    An alert, or an episode of one, that is not the incident's changes nothing.

    Args:
        incident: as it stands.
        alert: after the change.
        now: the clock that opened the incident.
        ended: why the alert has ended, where no look has shown that it is over.
    """
    members = tuple(
        replace(one, state=alert.state, firing=alert.firing, onset=alert.onset, ended=ended)
        if (one.alert, one.episode) == (alert.key, alert.episode)
        else one
        for one in incident.members
    )
    over = incident.open and not any(one.firing for one in members)
    return replace(incident, members=members, resolved_at=now if over else incident.resolved_at)


def stood_in(incident: Incident, fallback: str, channel: str) -> Incident:
    """Return an incident of which a fallback was told what a channel did not take in time.

    Args:
        incident: as it stands.
        fallback: was told the newest page, and hears of the incident from now on; it was told nothing of it before.
        channel: did not take it.
    """
    late = next((one for one in incident.told if one.channel == channel), None)
    if late is None or any(one.channel == fallback for one in incident.told):
        return incident
    hears = replace(late, channel=fallback, messages=1, stands_in_for=(*late.stands_in_for, channel))
    return replace(incident, told=(*incident.told, hears))


def acknowledged(incident: Incident, *, by: str, now: datetime) -> Incident:
    """Return an incident of which somebody says that they work on it: on all that it is made of by now.

    Raises:
        MonitorError: it is over.
    """
    if not incident.open:
        raise MonitorError(
            f"Incident {incident.name} is over since {incident.resolved_at:%Y-%m-%d %H:%M}.",
            hint="There is nothing to acknowledge.",
        )
    members = tuple(replace(one, acknowledged=True) for one in incident.members)
    return replace(incident, members=members, acknowledged_by=by, acknowledged_at=now)
