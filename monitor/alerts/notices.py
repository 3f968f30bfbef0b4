"""Who is told what of an incident, when, and when not.

Pure: ``now`` is a parameter. An incident keeps what each channel was told; :func:`due` compares that with how things
stand, and returns the messages that make up the difference. So a silence, a calendar or a pause of the monitor loses
nothing: what is still so at their end is told then, and what is over is not. The rules:

- A channel hears of an incident ``group_wait`` after its first alert that routes there fired, so that what breaks
  together is told together. What is over by then is told to nobody.
- A new alert is told ``group_interval`` after the last message, at the earliest; one that is more urgent than all the
  channel was told of waits for no interval.
- What still fires, and nobody has acknowledged, is told again after ``repeat_interval``.
- What was told, and not acknowledged for the time that its policy gives, is told to the channels that the policy names.
- An acknowledgement is told to those who were told of the incident. It is of the alerts that there are: one that comes
  later is told as ever, repeats, and escalates.
- When nothing fires any more, whoever was told of the incident is told that too; nobody else.
- A fallback that stood in for a channel hears from then on what that channel hears, and what it hears for itself.
- Alerts that are silenced, muted by a calendar, or inhibited by a fault that explains them, are told to nobody. While
  all that a channel was told of is silenced or muted, it hears nothing: not of an acknowledgement or the end either.
- What a fault explained is judged over windows in which the fault was: it is told when it has outlasted the fault by
  ``settle_interval``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum

from featurestore.settings.alerts import AlertsConfig
from monitor.alerts.base import Kind
from monitor.alerts.calendars import Calendar
from monitor.alerts.grouping import Faults
from monitor.alerts.incident_state import SEVERITIES, Incident, Member, Told, most_urgent
from monitor.alerts.silences import Silence, silenced_by


class Change(StrEnum):
    """Why something is said now: ``ALERT_CHANGE_*`` of ``featurestore.v1.AlertChange``."""

    FIRED = "fired"
    ALERT_ADDED = "alert_added"
    REPEATED = "repeated"
    ESCALATED = "escalated"
    ACKNOWLEDGED = "acknowledged"
    RESOLVED = "resolved"
    CLOSED = "closed"  # nothing of it fires any more, and of some of it nobody has seen that it is over


@dataclass(frozen=True, kw_only=True)
class Timers:
    """How long people are left in peace: ``[alerts]`` of ``featurestore.toml``.

    Attributes:
        group_wait: between an alert and the first message of it.
        group_interval: between a message and one that tells of a new alert.
        repeat_interval: between a message and one that says the same again.
        settle_interval: between the end of a fault and a message of what it explained.
    """

    group_wait: timedelta = timedelta(minutes=2)
    group_interval: timedelta = timedelta(hours=1)
    repeat_interval: timedelta = timedelta(hours=24)
    settle_interval: timedelta = timedelta(hours=24)

    @classmethod
    def of(cls, config: AlertsConfig) -> Timers:
        """Return the timers that the settings give."""
        return cls(
            group_wait=config.group_wait,
            group_interval=config.group_interval,
            repeat_interval=config.repeat_interval,
            settle_interval=config.settle_interval,
        )


@dataclass(frozen=True, kw_only=True)
class Around:
    """What decides, beside the incident itself, who is told.

    Attributes:
        timers: how long people are left in peace.
        silences: those that hold; others do no harm.
        calendars: when what is not urgent is muted.
        faults: of all open incidents, this one included.
    """

    timers: Timers = Timers()
    silences: Sequence[Silence] = ()
    calendars: Sequence[Calendar] = ()
    faults: Faults = field(default_factory=Faults)


@dataclass(frozen=True, kw_only=True)
class Notice:
    """One message for one channel.

    Attributes:
        channel: its name.
        kind: of the message.
        change: why it is sent now.
        sequence: its place among the incident's messages for the channel: the same for the same message.
        severity: of what it tells.
        members: the alerts to tell of: of one that says that all is over, those that the channel was told of.
        fresh: those of them that the channel has not been told of before.
    """

    channel: str
    kind: Kind
    change: Change
    sequence: str
    severity: str
    members: tuple[Member, ...]
    fresh: tuple[Member, ...] = ()


def hushed(incident: Incident, member: Member, around: Around, *, now: datetime) -> str:
    """Return why an alert is told to nobody by someone's wish, ``silence 3``, ``calendar nights``; "" where it is."""
    silences = silenced_by(member, incident.name, around.silences, now)
    if silences:
        return "silence " + ", ".join(str(one.id) for one in silences)
    calendar = next((one for one in around.calendars if one.mutes(member.policy, member.severity, now)), None)
    return f"calendar {calendar.name}" if calendar is not None else ""


def quiet(incident: Incident, member: Member, around: Around, *, now: datetime) -> str:
    """Return why an alert is told to nobody: as :func:`hushed`, or the fault that explains it; "" where it is."""
    wish = hushed(incident, member, around, now=now)
    faults = dict.fromkeys(one.rule for one in around.faults.inhibits(member))
    if wish or faults:
        return wish or ", ".join(faults)
    if member.settling(now):
        return f"a fault that is over, until {member.settles_at:%Y-%m-%d %H:%M}"
    return ""


def due(incident: Incident, around: Around, *, now: datetime) -> tuple[Incident, tuple[Notice, ...]]:
    """Return the messages that are due, and the incident after they are written.

    The two belong into one transaction. Asking again at the same instant gives no message.

    Args:
        incident: as it stands.
        around: what decides who is told.
        now: the clock that opened the incident. Where it was set back, what seems to have been told in time to come
            was told now: the next message has to wait for its interval, and not for the clock as well.
    """
    incident = _set_back(incident, now)
    if not incident.open:
        return _ended(incident, around, now)
    incident = _explained(incident, around, now)
    seen = [one for one in incident.members if one.firing and not quiet(incident, one, around, now=now)]
    raised = {one.id for one in seen if _escalates(one, now)}
    seen = [replace(one, escalated=True) if one.id in raised else one for one in seen]
    told = {one.channel: one for one in incident.told}
    notices: list[Notice] = []
    for channel in _channels(incident, seen):
        for notice in _due_on(channel, incident, told, seen, raised, around, now):
            notices.append(notice)
            told[channel] = _after(told.get(channel), notice, seen, incident, now)
    heard = {
        one.id
        for notice in notices
        if notice.kind is not Kind.ACKNOWLEDGED
        for one in _heard(seen, notice.channel, told.get(notice.channel))
    }
    members = tuple(
        replace(
            one,
            escalated=one.escalated or one.id in raised,
            told_at=one.told_at or (now if one.id in heard else None),
        )
        for one in incident.members
    )
    return replace(incident, members=members, told=tuple(told.values())), tuple(notices)


def _set_back(incident: Incident, now: datetime) -> Incident:
    """Return an incident of which nothing was told later than now."""
    if not any(_late(one.last_at, now) for one in incident.told) and not any(
        _late(one.joined_at, now) or _late(one.told_at, now) for one in incident.members
    ):
        return incident
    members = tuple(
        replace(
            one,
            joined_at=min(one.joined_at, now),
            told_at=None if one.told_at is None else min(one.told_at, now),
        )
        for one in incident.members
    )
    return replace(
        incident, members=members, told=tuple(replace(one, last_at=min(one.last_at, now)) for one in incident.told)
    )


def _late(instant: datetime | None, now: datetime) -> bool:
    return instant is not None and instant > now


def _explained(incident: Incident, around: Around, now: datetime) -> Incident:
    """Return an incident that knows which of its alerts faults explain, and until when one settles after them."""
    members: list[Member] = []
    for one in incident.members:
        if around.faults.inhibits(one):
            members.append(replace(one, explained=one.features, settles_at=None))
        elif one.explained and one.settles_at is None:
            members.append(replace(one, settles_at=now + around.timers.settle_interval))
        else:
            members.append(one)
    return replace(incident, members=tuple(members))


def _due_on(
    channel: str,
    incident: Incident,
    told: dict[str, Told],
    seen: Sequence[Member],
    raised: set[str],
    around: Around,
    now: datetime,
) -> Iterator[Notice]:
    """Give what is due on one channel; between two, ``told`` is brought up to date."""
    heard = _heard(seen, channel, told.get(channel))
    change = _news(told.get(channel), heard, [one for one in heard if one.id in raised], channel, around.timers, now)
    if change is not None:
        known = set(told[channel].members) if channel in told else set()
        yield Notice(
            channel=channel,
            kind=Kind.UPDATED if channel in told else Kind.FIRING,
            change=change,
            sequence=_sequence(told.get(channel)),
            severity=most_urgent(one.severity for one in seen),
            members=tuple(seen),
            fresh=tuple(one for one in heard if one.id not in known),
        )
    last = told.get(channel)
    if last is None or incident.acknowledgement == last.acknowledgement:
        return
    # What a channel hears of and nobody works on yet must not look as if somebody did.
    if all(one.acknowledged for one in heard) and _reachable(incident, last, around, now):
        yield Notice(
            channel=channel,
            kind=Kind.ACKNOWLEDGED,
            change=Change.ACKNOWLEDGED,
            sequence=_sequence(last),
            severity=most_urgent(one.severity for one in seen) if seen else last.severity,
            members=tuple(seen),
        )


def _news(
    told: Told | None, heard: Sequence[Member], raised: Sequence[Member], channel: str, timers: Timers, now: datetime
) -> Change | None:
    """Return why a channel has to hear something now; None where it has not."""
    if raised and any(channel in one.escalate_to for one in raised):
        return Change.ESCALATED
    if told is None:
        waited = any(now >= one.joined_at + timers.group_wait for one in heard)
        return Change.FIRED if waited else None
    known = set(told.members)
    fresh = [one for one in heard if one.id not in known and now >= one.joined_at + timers.group_wait]
    urgent = any(SEVERITIES.index(one.severity) > SEVERITIES.index(told.severity) for one in fresh)
    if fresh and (urgent or now >= told.last_at + timers.group_interval):
        return Change.ALERT_ADDED
    if any(not one.acknowledged for one in heard) and now >= told.last_at + timers.repeat_interval:
        return Change.REPEATED
    return None


def _after(told: Told | None, notice: Notice, seen: Sequence[Member], incident: Incident, now: datetime) -> Told:
    """Return what a channel was told, after a message."""
    if notice.kind is Kind.ACKNOWLEDGED:
        assert told is not None  # noqa: S101 - only who was told of an incident hears that somebody works on it
        return replace(told, messages=told.messages + 1, acknowledgement=incident.acknowledgement)
    heard = _heard(seen, notice.channel, told)
    before = told.members if told is not None else ()
    latest = {one.rpartition("/")[0]: one for one in (*before, *(each.id for each in heard))}
    return Told(
        channel=notice.channel,
        last_at=now,
        messages=(told.messages if told is not None else 0) + 1,
        members=tuple(latest.values()),
        severity=most_urgent([*(one.severity for one in heard), *([told.severity] if told is not None else [])]),
        acknowledgement=told.acknowledgement if told is not None else "",
        stands_in_for=told.stands_in_for if told is not None else (),
    )


def _ended(incident: Incident, around: Around, now: datetime) -> tuple[Incident, tuple[Notice, ...]]:
    """Tell who was told of an incident that it is over, once they may hear of it."""
    told: list[Told] = []
    notices: list[Notice] = []
    for one in incident.told:
        if one.resolved or not _reachable(incident, one, around, now):
            told.append(one)
            continue
        members = tuple(_told_of(incident, one))
        notices.append(
            Notice(
                channel=one.channel,
                kind=Kind.RESOLVED,
                change=Change.CLOSED if any(member.ended for member in members) else Change.RESOLVED,
                sequence=_sequence(one),
                severity=one.severity,
                members=members,
            )
        )
        told.append(replace(one, messages=one.messages + 1, resolved=True))
    return replace(incident, told=tuple(told)), tuple(notices)


def _reachable(incident: Incident, told: Told, around: Around, now: datetime) -> bool:
    """Return whether anything that a channel was told of is neither silenced nor muted."""
    return any(not hushed(incident, one, around, now=now) for one in _told_of(incident, told))


def _told_of(incident: Incident, told: Told) -> list[Member]:
    """Return the alerts that a channel was told of, in whatever episode they are by now."""
    alerts = {one.rpartition("/")[0] for one in told.members}
    return [one for one in incident.members if one.alert in alerts]


def _escalates(member: Member, now: datetime) -> bool:
    after, told_at = member.escalate_after, member.told_at
    if after is None or told_at is None or not member.escalate_to or member.acknowledged or member.escalated:
        return False
    return now >= told_at + after


def _channels(incident: Incident, seen: Iterable[Member]) -> list[str]:
    """Return the channels that were told of an incident, and those that hear of what fires, in a fixed order."""
    wanted = [one.channel for one in incident.told]
    for member in seen:
        wanted += [*member.routes, *(member.escalate_to if member.escalated else ())]
    return list(dict.fromkeys(wanted))


def _heard(seen: Iterable[Member], channel: str, told: Told | None) -> list[Member]:
    """Return the alerts that a channel hears of: for itself, or for those that it stands in for."""
    hears = (channel, *(told.stands_in_for if told is not None else ()))
    return [one for one in seen if any(one.heard_on(name) for name in hears)]


def _sequence(told: Told | None) -> str:
    return str((told.messages if told is not None else 0) + 1)
