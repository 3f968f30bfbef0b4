"""Incidents, and the retraining signals that came of them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, func, select

from featurestore.types import microseconds
from monitor import schema
from monitor.alerts.states import Incident, State
from monitor.history.upserting import add, put
from monitor.history.values import Watch, instant


class Incidents:
    """What is wrong, by the monitor's database; every method works in the caller's transaction."""

    def incident(self, connection: Connection, key: str) -> Incident:
        """Return an incident; one that never was is ok."""
        row = connection.execute(select(schema.incidents).where(schema.incidents.c.key == key)).one_or_none()
        if row is None:
            return Incident(key=key)
        return Incident(
            key=key,
            state=State(row.state),
            episode=row.episode,
            onset=instant(row.onset),
            span=row.span,
            held=row.held,
            quiet=row.quiet,
        )

    def incidents(self, connection: Connection, watch: Watch) -> dict[str, Incident]:
        """Return the incidents of a stream or slice that ever were, by rule."""
        table = schema.incidents
        query = select(table.c.rule, table.c.key).where(
            table.c.policy == watch.policy, table.c.service == watch.service, table.c.slice == watch.slice
        )
        return {row.rule: self.incident(connection, row.key) for row in connection.execute(query).all()}

    def firing_rules(self, connection: Connection, service: str) -> set[str]:
        """Return the rules of any policy that have a firing incident of a stream."""
        table = schema.incidents
        query = select(table.c.rule).where(table.c.service == service, table.c.state == str(State.FIRING))
        return set(connection.execute(query).scalars())

    def firing(self, connection: Connection, policies: Sequence[str] | None = None) -> int:
        """Return how many incidents fire, of some policies or of all."""
        table = schema.incidents
        query = select(func.count()).where(table.c.state == str(State.FIRING))
        if policies is not None:
            query = query.where(table.c.policy.in_(policies))
        return int(connection.execute(query).scalar_one())

    def save_incident(self, connection: Connection, watch: Watch, rule: str, incident: Incident) -> None:
        """Keep an incident."""
        values = {
            "state": str(incident.state),
            "episode": incident.episode,
            "onset": None if incident.onset is None else microseconds(incident.onset),
            "span": incident.span,
            "held": incident.held,
            "quiet": incident.quiet,
        }
        about = {"policy": watch.policy, "service": watch.service, "rule": rule, "slice": watch.slice}
        put(connection, schema.incidents, {"key": incident.key}, about | values)

    def record_signal(self, connection: Connection, watch: Watch, payload: Mapping[str, Any], *, now: datetime) -> bool:
        """Write a retraining signal (its JSON form); return False if one of its id was written before."""
        return add(
            connection,
            schema.signals,
            {
                "id": payload["id"],
                "policy": watch.policy,
                "service": watch.service,
                "baseline": payload["baseline"],
                "incident": payload["incident"],
                "payload": json.dumps(payload),
                "created_at": microseconds(now),
            },
        )
