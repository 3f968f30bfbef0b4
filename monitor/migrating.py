"""The monitor's database, brought up to date when it is opened: one step for each version of its tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from sqlalchemy import Connection, select, text, update

from monitor import schema


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


def _slices_rules_and_positions(connection: Connection) -> None:
    """Windows and detectors get their slice, incidents their rule; streams and checks have tables of their own.

    SQLite cannot change a primary key: a new table takes the rows, and then the name, of the old one.
    """
    for statement in _RENAMED:
        connection.execute(text(statement))
    for table in (schema.windows, schema.streams, schema.detectors, schema.checks):
        table.create(connection)
    for statement in _MOVED:
        connection.execute(text(statement))


_RENAMED = ("ALTER TABLE windows RENAME TO windows_1", "ALTER TABLE detectors RENAME TO detectors_1")
_MOVED = (
    """
    INSERT INTO windows (policy, policy_version, service, slice, window_start, window_offset, window_end, stop_at,
        stop_offset, baseline, rows, late_rows, profile, verdict, decision, decided_at)
    SELECT policy, policy_version, service, '', window_start, 0, window_end, window_end,
        0, baseline, rows, 0, profile, verdict, decision, decided_at FROM windows_1
    """,
    """
    INSERT INTO streams (policy, policy_version, service, baseline, next_start, next_offset)
    SELECT policy, policy_version, service, baseline, next_start, 0 FROM detectors_1
    """,
    """
    INSERT INTO detectors (policy, policy_version, service, slice, subject, baseline, state)
    SELECT policy, policy_version, service, '', 'features', baseline, state FROM detectors_1 WHERE baseline <> ''
    """,
    "DROP TABLE windows_1",
    "DROP TABLE detectors_1",
    "ALTER TABLE incidents ADD COLUMN rule VARCHAR NOT NULL DEFAULT 'drift'",
    "ALTER TABLE incidents ADD COLUMN slice VARCHAR NOT NULL DEFAULT ''",
    "ALTER TABLE incidents ADD COLUMN held INTEGER NOT NULL DEFAULT 0",
)


#: By the version that a step leads to. A step never changes: databases out there have taken it. One that uses a table
#: of :mod:`monitor.schema` writes that table out here once it changes again.
_STEPS: Mapping[int, Callable[[Connection], None]] = {2: _slices_rules_and_positions}
