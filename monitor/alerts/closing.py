"""``monitor close``: somebody says that an incident is over, which nothing here can find out.

A service version that nobody calls any more, or a check that was switched off, gives no look that would end its alerts.
Nobody wants to be reminded of them for ever, and no signal is to wait for them.
"""

from __future__ import annotations

from datetime import datetime

from featurestore.errors import MonitorError
from monitor import retraining
from monitor.alerts.dispatching import clock_of
from monitor.alerts.incident_state import Incident
from monitor.alerts.states import closed
from monitor.alerts.taking import Change, take
from monitor.history import CLOSED, History
from monitor.store import Store


def close(store: Store, history: History, incident: Incident, *, author: str, reason: str, now: datetime) -> list[str]:
    """End every alert of an incident that fires, and tell the audit log.

    Rows of its time stay out of training requests: that it is over does not make them right. What is still wrong is
    another incident as soon as it is found again.

    Args:
        store: configuration and registry, whose audit log tells of it.
        history: the monitor's database.
        incident: which.
        author: who says so.
        reason: why.
        now: the wall clock.

    Returns:
        What was looked for, of the alerts that ended.

    Raises:
        MonitorError: it is over already, or no reason is given.
    """
    if not reason.strip():
        raise MonitorError("It has to say why this is over.", hint='Write --reason "that version is retired".')
    with history.write() as connection:
        clock = clock_of(history, connection, store.config, now)
        stored = history.stored_alerts(connection, [one.alert for one in incident.members if one.firing])
        firing = [one for one in stored.values() if one.alert.firing]
        if not incident.open or not firing:
            raise MonitorError(f"Incident {incident.name} is over.", hint="There is nothing to close.")
        history.note(connection, CLOSED, reason.strip(), incident=incident.number, who=author, at=clock, now=now)
        why = f"{author} says that it is over"
        for one in firing:
            after, _ = closed(one.alert)
            history.save_alert(connection, one.watch, one.rule, after, at=clock, now=now)
            change = Change(before=one.alert, after=after, kept=None, at=clock, clock=clock, now=now, ended=why)
            take(history, connection, change)
            retraining.ends(connection, one.alert.key, clock)
        rules = list(dict.fromkeys(one.rule for one in firing))
        # The audit log is in another database: it is written last, so that what fails there undoes all of this.
        details = {"incident": incident.number, "cause": incident.cause, "rules": rules, "reason": reason.strip()}
        store.registry.record("close", f"incident {incident.number}", details, who=author)
    return rules
