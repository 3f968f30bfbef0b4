"""The monitor's database, brought up to date when it is opened: one step for each version of its tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from sqlalchemy import Connection, select, update

from monitor import schema
from monitor.migrating import v2, v3_alerts, v3_daemon, v3_outbox, v3_results, v3_rollback, v3_signals, v4_signals


def stored_version(connection: Connection) -> int:
    """Return the version of the tables in the database."""
    found = connection.execute(select(schema.meta.c.value).where(schema.meta.c.key == "schema_version")).scalar_one()
    return int(found)


def migrate(connection: Connection) -> None:
    """Take every step that the database has not taken, in the caller's transaction: all of it is kept, or nothing."""
    for version in range(stored_version(connection) + 1, schema.VERSION + 1):
        _STEPS[version](connection)
    connection.execute(
        update(schema.meta).where(schema.meta.c.key == "schema_version").values(value=str(schema.VERSION))
    )


def _alerts_that_reach_people(connection: Connection) -> None:
    """Alerts get incidents, messages their order, signals their answers; actions and leases get tables."""
    for step in (v3_alerts.step, v3_outbox.step, v3_signals.step, v3_results.step, v3_rollback.step, v3_daemon.step):
        step(connection)


#: By the version that a step leads to. A step never changes: databases out there have taken it. One that uses a table
#: of :mod:`monitor.schema` writes that table out here once it changes again.
_STEPS: Mapping[int, Callable[[Connection], None]] = {
    2: v2.slices_rules_and_positions,
    3: _alerts_that_reach_people,
    4: v4_signals.step,
}
