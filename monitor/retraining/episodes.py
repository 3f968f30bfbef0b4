"""When which alert fired: what is broken now, what was broken when, and whether a cause still stands.

Every function works in the caller's transaction.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, func, select, update
from sqlalchemy.engine import Row

from featurestore.types import microseconds
from monitor.history.upserting import put
from monitor.history.values import EPOCH, Watch, instant
from monitor.retraining.gates import Fault
from monitor.schema import alert_episodes


def fires(
    connection: Connection,
    watch: Watch,
    *,
    alert: str,
    episode: int,
    service: str,
    rule: str,
    fault: bool,
    views: Collection[str],
    features: Collection[str],
    incident: str,
    name: str,
    onset: datetime,
) -> bool:
    """Keep that an alert fires, and return whether that is new.

    Said again, it is kept as it is known by now, and what it was about before as well.

    Args:
        connection: the transaction.
        watch: policy and stream.
        alert: the alert's key.
        episode: how often it has fired, this time included.
        service: the service version.
        rule: what is violated.
        fault: whether something is broken.
        views: upstream of it.
        features: that it is about.
        incident: the incident's deduplication key, or "".
        name: the incident's name for people, or "".
        onset: start of the first window that is likely different.
    """
    table = alert_episodes
    mine = (table.c.alert == alert) & (table.c.episode == episode)
    before = connection.execute(select(table).where(mine)).one_or_none()
    known_views = [] if before is None else json.loads(before.views)
    known_features = [] if before is None else json.loads(before.features)
    put(
        connection,
        table,
        {"alert": alert, "episode": episode},
        {
            "policy": watch.policy,
            "service": service,
            "rule": rule,
            "slice": watch.slice,
            "fault": int(fault),
            "views": json.dumps(list(dict.fromkeys([*known_views, *views]))),
            "features": json.dumps(list(dict.fromkeys([*known_features, *features]))),
            "incident": incident or ("" if before is None else before.incident),
            "name": name or ("" if before is None else before.name),
            "onset": microseconds(onset) if before is None else min(before.onset, microseconds(onset)),
            "ended_at": None,
            "accepted": 0 if before is None else before.accepted,
        },
    )
    return before is None


def ends(connection: Connection, alert: str, at: datetime) -> None:
    """Keep that an alert fires no more; its rows are wrong up to there."""
    mine = (alert_episodes.c.alert == alert) & alert_episodes.c.ended_at.is_(None)
    connection.execute(update(alert_episodes).where(mine).values(ended_at=microseconds(at)))


def accept(connection: Connection, alert: str, *, now: datetime) -> None:
    """Keep that what an alert says is the new normal: nothing is broken, and its rows may be learnt from.

    Args:
        connection: the transaction.
        alert: the alert's key; of its latest episode.
        now: the wall clock.
    """
    newest = (
        select(alert_episodes.c.episode)
        .where(alert_episodes.c.alert == alert)
        .order_by(alert_episodes.c.episode.desc())
        .limit(1)
        .scalar_subquery()
    )
    mine = (alert_episodes.c.alert == alert) & (alert_episodes.c.episode == newest)
    connection.execute(update(alert_episodes).where(mine).values(accepted=1))
    connection.execute(
        update(alert_episodes).where(mine & alert_episodes.c.ended_at.is_(None)).values(ended_at=microseconds(now))
    )


def stands(connection: Connection, alert: str) -> bool:
    """Return whether an alert fires."""
    query = select(alert_episodes.c.alert).where(alert_episodes.c.alert == alert, alert_episodes.c.ended_at.is_(None))
    return connection.execute(query).first() is not None


def latest_episode(connection: Connection, alert: str) -> int:
    """Return the number of the last time that an alert fired; 0 where it never did."""
    query = select(func.max(alert_episodes.c.episode)).where(alert_episodes.c.alert == alert)
    return int(connection.execute(query).scalar() or 0)


def open_faults(connection: Connection, service: str, views: Collection[str]) -> list[Fault]:
    """Return what is broken now of the features of a service, the oldest first.

    Args:
        connection: the transaction.
        service: its name, or a version: what is found of one version holds for all.
        views: the views that it reads: what was found of them by another service's policy is its business too.
    """
    query = select(alert_episodes).where(
        alert_episodes.c.fault == 1, alert_episodes.c.accepted == 0, alert_episodes.c.ended_at.is_(None)
    )
    return _faults(connection, query, service, views)


def faults_between(
    connection: Connection, service: str, views: Collection[str], since: datetime, until: datetime
) -> list[Fault]:
    """Return what was broken of the features of a service in a period, the oldest first; see :func:`open_faults`."""
    table = alert_episodes
    query = select(table).where(
        table.c.fault == 1,
        table.c.accepted == 0,
        table.c.onset < microseconds(until),
        table.c.ended_at.is_(None) | (table.c.ended_at > microseconds(since)),
    )
    return _faults(connection, query, service, views)


def _faults(connection: Connection, query: Any, service: str, views: Collection[str]) -> list[Fault]:
    name = service.partition("@")[0]
    rows = connection.execute(query.order_by(alert_episodes.c.onset, alert_episodes.c.alert)).all()
    return [
        _fault(row)
        for row in rows
        if row.service.partition("@")[0] == name or not set(views).isdisjoint(json.loads(row.views))
    ]


def _fault(row: Row[Any]) -> Fault:
    return Fault(
        rule=row.rule,
        name=row.name,
        service=row.service,
        features=tuple(json.loads(row.features)),
        onset=instant(row.onset) or EPOCH,
        ended=instant(row.ended_at),
    )
