"""Alerts, with what is kept beside them."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, func, insert, select, update

from featurestore.types import microseconds
from monitor import schema
from monitor.alerts.states import Alert, State
from monitor.history.values import Watch, instant

#: States in which nothing is wrong.
_AT_REST = (str(State.OK), str(State.RESOLVED))


@dataclass(frozen=True, kw_only=True)
class Kept:
    """What is kept beside an alert's state.

    Attributes:
        finding: the JSON form of ``featurestore.v1.Alert`` for this alert alone.
        about: what the incident that it joins needs to know of it; see :class:`monitor.alerts.about.About`.
    """

    finding: Mapping[str, Any]
    about: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class StoredAlert:
    """An alert with what is kept beside it.

    Attributes:
        alert: its state.
        watch: policy, stream and slice; the policy's version is 0.
        rule: what was looked for.
        kept: see :class:`Kept`; empty values where it never fired.
        decided_at: the end of the last window that had a say; None before the first.
        changed_at: the wall clock's time of that.
    """

    alert: Alert
    watch: Watch
    rule: str
    kept: Kept
    decided_at: datetime | None
    changed_at: datetime | None


class Alerts:
    """What is wrong, by the monitor's database; every method works in the caller's transaction."""

    def alert(self, connection: Connection, key: str) -> Alert:
        """Return an alert; one that never was is ok."""
        row = connection.execute(select(schema.alerts).where(schema.alerts.c.key == key)).one_or_none()
        return Alert(key=key) if row is None else _alert(row)

    def alerts(self, connection: Connection, watch: Watch) -> dict[str, Alert]:
        """Return the alerts of a stream or slice that ever were, by rule."""
        table = schema.alerts
        query = select(table).where(
            table.c.policy == watch.policy, table.c.service == watch.service, table.c.slice == watch.slice
        )
        return {row.rule: _alert(row) for row in connection.execute(query).all()}

    def stored_alerts(self, connection: Connection, keys: Iterable[str]) -> dict[str, StoredAlert]:
        """Return alerts with what is kept beside them, by key; those that never were are left out."""
        return {one.alert.key: one for one in _stored(connection, schema.alerts.c.key.in_(list(keys)))}

    def open_alerts(self, connection: Connection, policy: str) -> list[StoredAlert]:
        """Return the alerts of a policy that are held or fire, and those that see nothing."""
        return _stored(connection, (schema.alerts.c.policy == policy) & schema.alerts.c.state.not_in(_AT_REST))

    def alerts_left_behind(self, connection: Connection, policies: Collection[str]) -> list[StoredAlert]:
        """Return the same of all policies but these."""
        table = schema.alerts
        return _stored(connection, table.c.policy.not_in(list(policies)) & table.c.state.not_in(_AT_REST))

    def firing(self, connection: Connection, policies: Sequence[str] | None = None) -> int:
        """Return how many alerts fire, of some policies or of all."""
        table = schema.alerts
        query = select(func.count()).where(table.c.fires)
        if policies is not None:
            query = query.where(table.c.policy.in_(policies))
        return int(connection.execute(query).scalar_one())

    def save_alert(
        self,
        connection: Connection,
        watch: Watch,
        rule: str,
        alert: Alert,
        kept: Kept | None = None,
        *,
        at: datetime | None = None,
        now: datetime | None = None,
    ) -> None:
        """Keep an alert.

        Args:
            connection: the transaction.
            watch: policy, stream and slice.
            rule: what was looked for.
            alert: its state.
            kept: what is kept beside it; None to leave that as it is.
            at: the end of the window that had a say; None to leave that as it is.
            now: the wall clock; None to leave that as it is.
        """
        values: dict[str, Any] = {
            "state": str(alert.state),
            "episode": alert.episode,
            "onset": None if alert.onset is None else microseconds(alert.onset),
            "span": alert.span,
            "held": alert.held,
            "quiet": alert.quiet,
            "unseen": alert.unseen,
            "before": str(alert.before),
            "fires": alert.firing,
        }
        if kept is not None:
            values |= {"finding": json.dumps(kept.finding), "about": json.dumps(kept.about)}
        if at is not None:
            values["decided_at"] = microseconds(at)
        if now is not None:
            values["changed_at"] = microseconds(now)
        table = schema.alerts
        if connection.execute(update(table).where(table.c.key == alert.key).values(**values)).rowcount:
            return
        about = {"policy": watch.policy, "service": watch.service, "rule": rule, "slice": watch.slice}
        connection.execute(insert(table).values(key=alert.key, **about, **({"finding": "{}", "about": "{}"} | values)))


def _stored(connection: Connection, which: ColumnElement[bool]) -> list[StoredAlert]:
    rows = connection.execute(select(schema.alerts).where(which).order_by(schema.alerts.c.key)).all()
    return [
        StoredAlert(
            alert=_alert(row),
            watch=Watch(policy=row.policy, policy_version=0, service=row.service, slice=row.slice),
            rule=row.rule,
            kept=Kept(finding=json.loads(row.finding), about=json.loads(row.about)),
            decided_at=instant(row.decided_at),
            changed_at=instant(row.changed_at),
        )
        for row in rows
    ]


def _alert(row: Any) -> Alert:
    return Alert(
        key=row.key,
        state=State(row.state),
        episode=row.episode,
        onset=instant(row.onset),
        span=row.span,
        held=row.held,
        quiet=row.quiet,
        unseen=row.unseen,
        before=State(row.before),
    )
