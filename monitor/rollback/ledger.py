"""Actions in the monitor's database; every function works in the caller's transaction."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, func, insert, select, update

from featurestore.errors import MonitorError
from featurestore.types import microseconds
from monitor.history import instant
from monitor.history.upserting import put
from monitor.rollback.rules import OF_ROWS
from monitor.rollback.values import ACTED, Action, ActionState, Deed, Opened, Proposal
from monitor.schema import action_looks, actions

_DAY = timedelta(days=1)


def add(
    connection: Connection,
    opened: Opened,
    proposal: Proposal,
    *,
    policy: str,
    severity: str,
    channels: Collection[str],
    held: str,
    now: datetime,
) -> Action:
    """Write an action down before it is done, or as proposed if something holds it."""
    state = ActionState.PROPOSED if held else ActionState.BEGUN
    values = {
        "incident": opened.key,
        "incident_number": opened.incident,
        "policy": policy,
        "service": opened.service,
        "kind": str(proposal.deed),
        "target": proposal.target,
        "subject": proposal.subject,
        "state": str(state),
        "summary": proposal.summary,
        "held": held,
        "severity": severity,
        "details": json.dumps(proposal.details),
        "channels": json.dumps(list(channels)),
        "attempts": 0,
        "error": "",
        "begun_at": microseconds(now),
        "ended_at": microseconds(now) if held else None,
        "undone_by": "",
    }
    written = connection.execute(insert(actions).values(**values).returning(actions.c.number)).scalar_one()
    return find(connection, int(written))


def find(connection: Connection, number: int) -> Action:
    """Return an action.

    Raises:
        MonitorError: there is none of that number.
    """
    row = connection.execute(select(actions).where(actions.c.number == number)).one_or_none()
    if row is None:
        raise MonitorError(f"There is no action {number}.", hint="List them: featurestore monitor actions")
    return _action(row)


def of_incident(connection: Connection, key: str) -> Action | None:
    """Return the action of an incident; None if it has none."""
    row = connection.execute(select(actions).where(actions.c.incident == key)).one_or_none()
    return None if row is None else _action(row)


def in_state(connection: Connection, *states: ActionState) -> list[Action]:
    """Return the actions in some states, in their order."""
    query = select(actions).where(actions.c.state.in_([str(one) for one in states])).order_by(actions.c.number)
    return [_action(row) for row in connection.execute(query)]


def newest(connection: Connection, limit: int) -> list[Action]:
    """Return the newest actions, the oldest of them first."""
    query = select(actions).order_by(actions.c.number.desc()).limit(limit)
    return [_action(row) for row in connection.execute(query)][::-1]


def done_in_a_day(connection: Connection, policy: str, now: datetime) -> int:
    """Return how many actions a policy had in the last 24 hours, whatever became of them."""
    query = select(func.count()).where(
        actions.c.policy == policy,
        actions.c.state.in_([str(one) for one in ACTED]),
        actions.c.begun_at > microseconds(now - _DAY),
    )
    return int(connection.execute(query).scalar_one())


def undone_by(connection: Connection, subject: str) -> str:
    """Return who has taken back an action on the same thing last; "" if nobody has."""
    query = (
        select(actions.c.undone_by)
        .where(actions.c.subject == subject, actions.c.state == str(ActionState.UNDONE))
        .order_by(actions.c.number.desc())
        .limit(1)
    )
    return connection.execute(query).scalar() or ""


def change(
    connection: Connection,
    action: Action,
    state: ActionState,
    *,
    details: Mapping[str, Any] | None = None,
    **values: Any,
) -> Action:
    """Take an action into a state, with other values, and return it as it is then."""
    if details is not None:
        values["details"] = json.dumps(details)
    for name, value in values.items():
        values[name] = microseconds(value) if isinstance(value, datetime) else value
    connection.execute(update(actions).where(actions.c.number == action.number).values(state=str(state), **values))
    return find(connection, action.number)


def looked(connection: Connection, opened: Opened) -> bool:
    """Return whether an alert was looked at, and can justify no more than it did then.

    Which load brought a fault is known at once; whether a version is worse, with each window that is judged.
    """
    query = select(action_looks.c.judged)
    for name, value in _look(opened).items():
        query = query.where(action_looks.c[name] == value)
    judged = connection.execute(query).scalar()
    if judged is None:
        return False
    return opened.rule in OF_ROWS or opened.judged is None or judged >= microseconds(opened.judged)


def note_look(connection: Connection, opened: Opened) -> None:
    """Write down that an alert was looked at, and justified nothing."""
    judged = 0 if opened.judged is None else microseconds(opened.judged)
    put(connection, action_looks, _look(opened), {"judged": judged})


def _look(opened: Opened) -> dict[str, str]:
    return {"incident": opened.key, "service": opened.service, "rule": opened.rule, "slice": opened.slice}


def _action(row: Any) -> Action:
    begun = instant(row.begun_at)
    assert begun is not None  # noqa: S101 - the column has no nulls
    return Action(
        number=row.number,
        incident=row.incident,
        incident_number=row.incident_number,
        policy=row.policy,
        service=row.service,
        kind=Deed(row.kind),
        target=row.target,
        subject=row.subject,
        state=ActionState(row.state),
        summary=row.summary,
        held=row.held,
        severity=row.severity,
        details=json.loads(row.details),
        channels=tuple(json.loads(row.channels)),
        attempts=row.attempts,
        error=row.error,
        begun_at=begun,
        ended_at=instant(row.ended_at),
        undone_at=instant(row.undone_at),
        undone_by=row.undone_by,
    )
