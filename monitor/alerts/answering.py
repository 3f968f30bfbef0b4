"""What people answer to an incident: that they work on it, and that nobody is to be told of it for a while."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from featurestore.errors import MonitorError
from monitor.accepting import find_incident
from monitor.alerts.dispatching import clock_of, dispatch
from monitor.alerts.incident_state import Incident
from monitor.alerts.incidents import acknowledged
from monitor.alerts.silences import Silence, new_silence, silenced_by
from monitor.history import History
from monitor.store import Store


@dataclass(frozen=True, kw_only=True)
class Silenced:
    """A silence that was made.

    Attributes:
        silence: with its number.
        about: the open incidents of which nobody is told because of it.
    """

    silence: Silence
    about: tuple[Incident, ...]


def acknowledge(store: Store, history: History, number: int, *, who: str, reason: str, now: datetime) -> Incident:
    """Keep that somebody works on an incident, and have those told who were told of it.

    Args:
        store: settings, and the registry whose audit log tells of it.
        history: the monitor's database.
        number: the incident's.
        who: who works on it.
        reason: what they are doing; may be "".
        now: the wall clock.

    Raises:
        MonitorError: there is no such incident, or it is over.
    """
    with history.write() as connection:
        clock = clock_of(history, connection, store.config, now)
        taken = acknowledged(find_incident(history, connection, number), by=who, now=clock)
        history.save_incident(connection, taken)
        history.acknowledge(connection, number, who=who, reason=reason, now=now)
        history.note(connection, "acknowledged", reason, incident=number, who=who, at=clock, now=now)
        details = {"incident": number, "cause": taken.cause, "reason": reason}
        store.registry.record("acknowledge", f"incident {number}", details, who=who)
    dispatch(history, store.config, now=now)
    return taken


def silence(
    store: Store,
    history: History,
    matchers: Sequence[str],
    *,
    until: datetime,
    who: str,
    reason: str,
    now: datetime,
) -> Silenced:
    """Keep what nobody is told of for some time.

    Args:
        store: settings, and the registry whose audit log tells of it.
        history: the monitor's database.
        matchers: ``incident=12``, ``feature=~temp.*``: all of them together.
        until: when it ends, by the clock that incidents go by.
        who: who says so.
        reason: why.
        now: the wall clock.

    Raises:
        MonitorError: a matcher is none, or the time does not suit.
    """
    with history.write() as connection:
        clock = clock_of(history, connection, store.config, now)
        made = new_silence(matchers, starts_at=clock, expires_at=until, author=who, reason=reason)
        made = replace(made, id=history.add_silence(connection, made, now=now))
        hit: list[Incident] = []
        for one in history.open_incidents(connection):
            if any(silenced_by(member, one.name, [made], clock) for member in one.members):
                hit.append(one)
                said = f"until {until:%Y-%m-%d %H:%M}: {reason}"
                history.note(connection, "silenced", said, incident=one.number, who=who, at=clock, now=now)
        details = {"silence": made.id, "matchers": list(matchers), "until": until.isoformat(), "reason": reason}
        store.registry.record("silence", f"silence {made.id}", details, who=who)
    return Silenced(silence=made, about=tuple(hit))


def unsilence(store: Store, history: History, number: int, *, who: str, now: datetime) -> None:
    """End a silence now: what is still wrong is told at once.

    Args:
        store: settings, and the registry whose audit log tells of it.
        history: the monitor's database.
        number: the silence's.
        who: who says so.
        now: the wall clock.

    Raises:
        MonitorError: there is no such silence, or it is over.
    """
    with history.write() as connection:
        clock = clock_of(history, connection, store.config, now)
        if not history.end_silence(connection, number, by=who, now=clock):
            raise MonitorError(f"There is no silence {number} that goes on.", hint="featurestore monitor silences")
        store.registry.record("unsilence", f"silence {number}", {"silence": number}, who=who)
    dispatch(history, store.config, now=now)
