"""Incidents -> messages in the outbox: who is due to hear what, in the transaction that keeps that they were told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from sqlalchemy import Connection

from featurestore.config import Config
from monitor.alerts.calendars import calendars_of
from monitor.alerts.grouping import Faults
from monitor.alerts.incident_message import MEMBERS, Telling, payload_of
from monitor.alerts.incident_state import Incident
from monitor.alerts.notices import Around, Notice, Timers, due
from monitor.alerts.outbox import enqueue
from monitor.history import History

#: Nothing is told again in a rehearsal: its days pass in seconds.
_NEVER = timedelta(days=365_000)


@dataclass(frozen=True, kw_only=True)
class Dispatched:
    """What a pass did: incidents of which something was said, and messages that were written."""

    incidents: int = 0
    messages: int = 0


def dispatch(history: History, config: Config, *, now: datetime, wait: bool = True) -> Dispatched:
    """Write the messages that are due, in one transaction; nothing is written where nothing is due.

    Args:
        history: the monitor's database.
        config: timers and mute calendars, and whether it is a rehearsal.
        now: the wall clock. A rehearsal goes by the clock of its data.
        wait: whether an alert waits for others of its incident: without it only where ``featurestore.toml`` says
            how long. Who looks once and exits tells what it found, since nobody comes back in two minutes.
    """
    with history.read() as connection:
        # Most of the time nothing is wrong, or all of it was told: then nobody has to wait for us.
        if not any(_due(history, connection, config, now=now, wait=wait)):
            return Dispatched()
    with history.write() as connection:
        # Asked again: another process may have told it meanwhile.
        found = _due(history, connection, config, now=now, wait=wait)
        said = [_tell(history, connection, config, *one, now=now) for one in found]
    return Dispatched(incidents=len(said), messages=sum(said))


def dispatch_within(history: History, connection: Connection, config: Config, *, now: datetime) -> None:
    """Write the messages that are due, in the caller's transaction: as a rehearsal does with every window.

    So what it says does not depend on how fast it goes.
    """
    for before, after, notices in _due(history, connection, config, now=now, wait=True):
        _tell(history, connection, config, before, after, notices, now=now)


def around(history: History, connection: Connection, config: Config, *, clock: datetime, wait: bool = True) -> Around:
    """Return what decides who is told: timers, silences, calendars, and the faults of all open incidents."""
    return Around(
        timers=timers_of(config, wait=wait),
        silences=history.silences(connection, after=clock),
        calendars=calendars_of(config.mute),
        faults=Faults(history.open_incidents(connection)),
    )


def timers_of(config: Config, *, wait: bool) -> Timers:
    """Return the timers: of the configuration; none that waits in a rehearsal, whose last alert would wait for ever."""
    timers = Timers.of(config.alerts)
    if config.replay:
        return replace(timers, group_wait=timedelta(0), group_interval=timedelta(0), repeat_interval=_NEVER)
    if not wait and "group_wait" not in config.alerts.model_fields_set:
        return replace(timers, group_wait=timedelta(0))
    return timers


def clock_of(history: History, connection: Connection, config: Config, now: datetime) -> datetime:
    """Return what the timers of incidents go by: the wall clock, or in a rehearsal the clock of its data."""
    return (history.data_clock(connection) or now) if config.replay else now


def _due(
    history: History, connection: Connection, config: Config, *, now: datetime, wait: bool
) -> list[tuple[Incident, Incident, Sequence[Notice]]]:
    """Return the incidents that have changed by themselves, before and after, with the messages that are due."""
    unsettled = history.unsettled_incidents(connection)
    if not unsettled:
        return []
    clock = clock_of(history, connection, config, now)
    decides = around(history, connection, config, clock=clock, wait=wait)
    found = [(one, *due(one, decides, now=clock)) for one in unsettled]
    return [(before, after, notices) for before, after, notices in found if notices or after != before]


def _tell(
    history: History,
    connection: Connection,
    config: Config,
    before: Incident,
    after: Incident,
    notices: Sequence[Notice],
    *,
    now: datetime,
) -> int:
    history.save_incident(connection, after)
    shown = {one.alert for notice in notices for one in (notice.members or after.members)[:MEMBERS]}
    stored = history.stored_alerts(connection, shown)
    accepted = [one for one in history.acceptances(connection) if one.incident == after.number and not after.open]
    closed = None if after.open else history.closed_by(connection, after.number)
    telling = Telling(
        project=config.project,
        incident=after,
        alerts=stored,
        accepted=accepted,
        closed=closed,
        replay=config.replay,
    )
    written = 0
    for notice in notices:
        payload = payload_of(telling, notice)
        written += enqueue(
            connection,
            instance=history.instance,
            channel=notice.channel,
            kind=notice.kind,
            project=config.project,
            service=payload["service"],
            incident=before.key,
            sequence=notice.sequence,
            severity=notice.severity,
            payload=payload,
            now=now,
        )
    return written
