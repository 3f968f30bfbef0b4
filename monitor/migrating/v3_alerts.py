"""Version 3: alerts and incidents."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, text

from monitor import schema


def step(connection: Connection) -> None:
    """What was an incident is an alert by now; each that fires gets an incident, of which people have been told.

    The incident has the deduplication key that its messages had, episode included, so that whoever was told of it hears
    of its end, and nobody hears of it twice.
    """
    for statement in _RENAMED:
        connection.execute(text(statement))
    schema.alerts.create(connection)
    connection.execute(text(_MOVED))
    connection.execute(text("DROP TABLE alerts_2"))
    for table in _NEW:
        table.create(connection)
    for alert in connection.execute(text("SELECT * FROM alerts WHERE fires")).all():
        _open_incident(connection, alert)


_RENAMED = ("ALTER TABLE incidents RENAME TO alerts_2",)
_NEW = (
    schema.incidents,
    schema.members,
    schema.timeline,
    schema.acknowledgements,
    schema.silences,
    schema.acceptances,
)
#: Databases of earlier versions are all of SQLite.
_MOVED = """
    INSERT INTO alerts (key, policy, service, rule, slice, state, episode, onset, span, held, quiet, unseen, before,
        fires, decided_at, changed_at, finding, about)
    SELECT key, policy, service, rule, slice,
        CASE WHEN state = 'firing' AND quiet > 0 THEN 'recovering' ELSE state END,
        episode, onset, span, held, quiet, 0, 'ok', state = 'firing', NULL, NULL, '{}', '{}' FROM alerts_2
"""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def _open_incident(connection: Connection, alert: Any) -> None:
    messages = connection.execute(
        text(
            "SELECT channel, created_at, payload FROM outbox WHERE incident = :incident AND episode = :episode "
            "AND kind = 'featurestore.v1.alert.firing' ORDER BY id"
        ),
        {"incident": alert.key, "episode": alert.episode},
    ).all()
    opened_at = min((one.created_at for one in messages), default=alert.onset or 0)
    payload = json.loads(messages[0].payload) if messages else {}
    severity = payload.get("severity") or "page"
    values = {
        "key": f"{alert.key}-{alert.episode}",
        "cause_group": alert.key,
        "episode": alert.episode,
        "cause": f"service {alert.service}",
        "severity": severity,
        "opened_at": opened_at,
        "resolved_at": None,
        "settled": False,
        "machine": "{}",
    }
    connection.execute(schema.incidents.insert().values(**values))
    number = connection.execute(text("SELECT max(number) FROM incidents")).scalar_one()
    machine = _machine(alert, number, severity, opened_at, payload, [one.channel for one in messages])
    where = schema.incidents.c.number == number
    connection.execute(schema.incidents.update().where(where).values(machine=json.dumps(machine)))
    joined = {"alert": alert.key, "episode": alert.episode, "incident": number, "joined_at": opened_at}
    connection.execute(schema.members.insert().values(**joined))
    connection.execute(
        schema.alerts.update().where(schema.alerts.c.key == alert.key).values(finding=json.dumps(payload))
    )


def _machine(
    alert: Any, number: int, severity: str, opened_at: int, payload: dict[str, Any], channels: Sequence[str]
) -> dict[str, Any]:
    """Return the incident as version 3 keeps it, told to the channels of its first message."""
    told = list(dict.fromkeys(channels))
    member = {
        "alert": alert.key,
        "episode": alert.episode,
        "policy": alert.policy,
        "service": payload.get("service") or alert.service,
        "rule": alert.rule,
        "slice": alert.slice,
        "features": [one["feature"].partition(".")[0] for one in payload.get("features", ())],
        "severity": severity,
        "routes": told,
        "joined_at": _iso(opened_at),
        "state": alert.state,
        "firing": True,
        "onset": None if alert.onset is None else _iso(alert.onset),
        "summary": payload.get("summary", ""),
        "told_at": _iso(opened_at) if told else None,
    }
    return {
        "number": number,
        "group": alert.key,
        "episode": alert.episode,
        "cause": f"service {alert.service}",
        "opened_at": _iso(opened_at),
        "members": [member],
        "told": [
            {
                "channel": one,
                "last_at": _iso(opened_at),
                "messages": 1,
                "members": [f"{alert.key}/{alert.episode}"],
                "severity": severity,
            }
            for one in told
        ],
    }


def _iso(microseconds: int) -> str:
    return (_EPOCH + timedelta(microseconds=microseconds)).isoformat()
