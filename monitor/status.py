"""What the monitor knows, as one plain value: for people, for programs, for whoever watches the watcher."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, func, select

from featurestore.definitions import MonitorPolicy
from featurestore.registry import Registered
from monitor import schema
from monitor.alerts import outbox
from monitor.alerts.states import State
from monitor.history import History, instant
from monitor.pipeline import NO_BASELINE, NO_WINDOW


def status(
    history: History, policies: Sequence[Registered[MonitorPolicy]], *, watermark: datetime | None, replay: str
) -> dict[str, Any]:
    """Return JSON values.

    Args:
        history: the monitor's database.
        policies: those to tell about.
        watermark: of the serving log.
        replay: the name of the rehearsal, or "".

    Returns:
        ``replay``, ``watermark``, ``daemon`` (null if none ever ran), ``policies`` (each with its ``services``, and
        their windows, last verdict, evidence against its limit and findings), ``incidents``, ``outbox`` (counts) and
        ``signals``.
    """
    with history.read() as connection:
        return {
            "replay": replay,
            "watermark": _iso(watermark),
            "daemon": _daemon(connection),
            "policies": [_policy(connection, policy) for policy in policies],
            "incidents": _incidents(connection),
            "outbox": outbox.counts(connection),
            "signals": [
                json.loads(payload)
                for payload in connection.execute(
                    select(schema.signals.c.payload).order_by(schema.signals.c.created_at)
                ).scalars()
            ],
        }


def _policy(connection: Connection, policy: Registered[MonitorPolicy]) -> dict[str, Any]:
    detectors = connection.execute(
        select(schema.detectors)
        .where(schema.detectors.c.policy == policy.name, schema.detectors.c.policy_version == policy.version)
        .order_by(schema.detectors.c.service)
    ).all()
    return {
        "policy": policy.id,
        "service": policy.definition.service.name,
        "services": [_service(connection, detector) for detector in detectors],
    }


def _service(connection: Connection, detector: Any) -> dict[str, Any]:
    table = schema.windows
    mine = (
        (table.c.policy == detector.policy)
        & (table.c.policy_version == detector.policy_version)
        & (table.c.service == detector.service)
    )
    count, rows = connection.execute(select(func.count(), func.coalesce(func.sum(table.c.rows), 0)).where(mine)).one()
    last = connection.execute(select(table).where(mine).order_by(table.c.window_start.desc()).limit(1)).one_or_none()
    decision = {"evidence": None, "findings": []} if last is None else json.loads(last.decision)
    verdict = NO_WINDOW if detector.baseline else NO_BASELINE
    incident = connection.execute(
        select(schema.incidents.c.state).where(
            schema.incidents.c.policy == detector.policy, schema.incidents.c.service == detector.service
        )
    ).scalar()
    return {
        "service": detector.service,
        "baseline": detector.baseline,
        "windows": count,
        "rows": int(rows),
        "verdict": verdict if last is None else last.verdict,
        "state": incident or str(State.OK),
        "last_window": None if last is None else _iso(instant(last.window_start)),
        "evidence": decision["evidence"],
        "findings": decision["findings"],
    }


def _incidents(connection: Connection) -> list[dict[str, Any]]:
    rows = connection.execute(
        select(schema.incidents).where(schema.incidents.c.state != str(State.OK)).order_by(schema.incidents.c.onset)
    )
    return [
        {
            "incident": row.key,
            "policy": row.policy,
            "service": row.service,
            "state": row.state,
            "episode": row.episode,
            "onset": _iso(instant(row.onset)),
        }
        for row in rows
    ]


def _daemon(connection: Connection) -> dict[str, Any] | None:
    row = connection.execute(select(schema.heartbeats)).one_or_none()
    if row is None:
        return None
    return {
        "host": row.host,
        "pid": row.pid,
        "started_at": _iso(instant(row.started_at)),
        "beat_at": _iso(instant(row.beat_at)),
    }


def _iso(value: datetime | None) -> str | None:
    return None if value is None else value.isoformat()
