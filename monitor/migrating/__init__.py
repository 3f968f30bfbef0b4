"""The monitor's database, brought up to date: one step for each version of its tables.

As the registry, one in a file is brought up to date by whoever opens it, and one on a server by ``featurestore
upgrade``; it too says from which version on a release may use it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from sqlalchemy import Connection, delete, insert, inspect, select

from featurestore import __version__, formats
from featurestore.errors import MonitorError
from monitor import schema
from monitor.migrating import v2, v3_alerts, v3_daemon, v3_outbox, v3_results, v3_rollback, v3_signals, v4_signals


@dataclass(frozen=True, kw_only=True)
class Found:
    """What a monitor's database says of its tables.

    Attributes:
        version: theirs; 0 where there are none yet.
        readable_from: the oldest version whose releases may use them.
        release: which one brought them there; "" where it does not say.
    """

    version: int
    readable_from: int
    release: str

    @property
    def is_readable(self) -> bool:
        """Whether this release may use them as they are, or bring them up to date."""
        return self.readable_from <= schema.VERSION

    def refusal(self, name: str) -> MonitorError:
        """Return what is raised where it is not, of a database of that name."""
        found = f"The monitor's database {name}"
        return formats.newer(found, self.version, schema.VERSION, error=MonitorError, release=self.release)


def found_tables(connection: Connection) -> Found:
    """Return what the database says of its tables."""
    if not inspect(connection).has_table("meta"):
        return Found(version=0, readable_from=0, release="")
    rows = connection.execute(select(schema.meta.c.key, schema.meta.c.value))
    said: dict[str, str] = {row.key: row.value for row in rows}
    version = int(said["schema_version"])
    newer = version > schema.VERSION
    return Found(
        version=version,
        readable_from=int(said.get("readable_from", version)) if newer else version,
        release=said.get("release", ""),
    )


def facts() -> dict[str, str]:
    """Return what a database says of tables that this release made, or brought up to date."""
    return {
        "schema_version": str(schema.VERSION),
        "readable_from": str(schema.READABLE_FROM),
        "release": __version__,
    }


def migrate(connection: Connection) -> None:
    """Take every step that the database has not taken, in the caller's transaction: all of it is kept, or nothing."""
    found = found_tables(connection).version
    if found >= schema.VERSION:  # somebody else has, meanwhile
        return
    for version in range(found + 1, schema.VERSION + 1):
        _STEPS[version](connection)
    said = facts()
    connection.execute(delete(schema.meta).where(schema.meta.c.key.in_(said)))
    connection.execute(insert(schema.meta), [{"key": key, "value": value} for key, value in said.items()])


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
