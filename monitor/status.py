"""What the monitor knows, as one plain value: for people, for programs, for whoever watches the watcher."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, func, select

from featurestore.definitions import MonitorPolicy
from featurestore.registry import Registered
from monitor import budget, retraining, schema
from monitor.alerts import outbox
from monitor.alerts.showing import incident_values
from monitor.alerts.states import State, worst
from monitor.history import History, instant
from monitor.pipeline import NO_BASELINE, NO_WINDOW


def status(
    history: History,
    policies: Sequence[Registered[MonitorPolicy]],
    *,
    watermark: datetime | None,
    replay: str,
    budgets: Mapping[str, float] | None = None,
) -> dict[str, Any]:
    """Return JSON values.

    Args:
        history: the monitor's database.
        policies: those to tell about.
        watermark: of the serving log.
        replay: the name of the rehearsal, or "".
        budgets: pages a quarter, by channel.

    Returns:
        ``replay``, ``watermark``, ``daemon`` (null if none ever ran), ``policies`` (each with its ``budget`` by route,
        its ``services`` and slices, with windows, last verdict, evidence against its limit and findings, and the last
        of its ``checks``), ``alerts`` (all that ever fired, or are held), ``incidents`` (those that go on), ``outbox``
        (counts), ``disabled_channels`` (what the receiver of each said) and ``signals``.
    """
    definitions = [one.definition for one in policies]
    with history.read() as connection:
        return {
            "replay": replay,
            "watermark": _iso(watermark),
            "daemon": _daemon(connection),
            "policies": [_policy(connection, policy, definitions, budgets or {}) for policy in policies],
            "alerts": _alerts(connection),
            "incidents": [incident_values(one) for one in history.open_incidents(connection)],
            "outbox": outbox.counts(connection),
            "disabled_channels": outbox.disabled(connection),
            "signals": retraining.overview(connection),
        }


def _policy(
    connection: Connection,
    policy: Registered[MonitorPolicy],
    policies: Sequence[MonitorPolicy],
    budgets: Mapping[str, float],
) -> dict[str, Any]:
    table = schema.streams
    streams = connection.execute(
        select(table)
        .where(table.c.policy == policy.name, table.c.policy_version == policy.version)
        .order_by(table.c.service)
    ).all()
    service = policy.definition.service
    return {
        "policy": policy.id,
        "service": policy.name if service is None else service.name,
        "budget": [asdict(one) | {"pages": one.pages} for one in budget.shares(policy.definition, policies, budgets)],
        "services": [
            _service(connection, stream, slice_) for stream in streams for slice_ in _slices(connection, stream)
        ],
        "checks": _checks(connection, policy),
    }


def _slices(connection: Connection, stream: Any) -> list[str]:
    """Return the slices of a stream that were judged, that of all rows first and always."""
    table = schema.windows
    query = select(table.c.slice).where(_mine(table, stream)).distinct().order_by(table.c.slice)
    return ["", *(one for one in connection.execute(query).scalars() if one)]


def _service(connection: Connection, stream: Any, slice_: str) -> dict[str, Any]:
    table = schema.windows
    mine = _mine(table, stream) & (table.c.slice == slice_)
    count, rows, late = connection.execute(
        select(
            func.count(), func.coalesce(func.sum(table.c.rows), 0), func.coalesce(func.sum(table.c.late_rows), 0)
        ).where(mine)
    ).one()
    newest = select(table).where(mine).order_by(table.c.window_start.desc(), table.c.window_offset.desc()).limit(1)
    last = connection.execute(newest).one_or_none()
    decision = {"evidence": None, "findings": []} if last is None else json.loads(last.decision)
    verdict = NO_WINDOW if stream.baseline else NO_BASELINE
    alerts = schema.alerts
    states = connection.execute(
        select(alerts.c.state).where(
            alerts.c.policy == stream.policy, alerts.c.service == stream.service, alerts.c.slice == slice_
        )
    ).scalars()
    return {
        "service": stream.service,
        "slice": slice_,
        "baseline": stream.baseline,
        "windows": count,
        "rows": int(rows),
        "late_rows": int(late),
        "verdict": verdict if last is None else last.verdict,
        "state": str(worst(State(one) for one in states)),
        "last_window": None if last is None else _iso(instant(last.window_start)),
        "evidence": decision["evidence"],
        "findings": decision["findings"],
    }


def _mine(table: Any, stream: Any) -> ColumnElement[bool]:
    return and_(
        table.c.policy == stream.policy,
        table.c.policy_version == stream.policy_version,
        table.c.service == stream.service,
    )


def _checks(connection: Connection, policy: Registered[MonitorPolicy]) -> list[dict[str, Any]]:
    """Return the newest result of each check of each stream."""
    table = schema.checks
    mine = (table.c.policy == policy.name) & (table.c.policy_version == policy.version)
    latest = (
        select(table.c.service, table.c.subject, func.max(table.c.at).label("at"))
        .where(mine)
        .group_by(table.c.service, table.c.subject)
        .subquery()
    )
    same = (table.c.service == latest.c.service) & (table.c.subject == latest.c.subject) & (table.c.at == latest.c.at)
    rows = connection.execute(
        select(table).join(latest, same).where(mine).order_by(table.c.service, table.c.subject)
    ).all()
    return [
        {
            "service": row.service,
            "check": row.subject,
            "at": _iso(instant(row.at)),
            "verdict": row.verdict,
            "findings": json.loads(row.findings),
        }
        for row in rows
    ]


def _alerts(connection: Connection) -> list[dict[str, Any]]:
    rows = connection.execute(
        select(schema.alerts).where(schema.alerts.c.state != str(State.OK)).order_by(schema.alerts.c.onset)
    )
    return [
        {
            "alert": row.key,
            "policy": row.policy,
            "service": row.service,
            "rule": row.rule,
            "slice": row.slice,
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
