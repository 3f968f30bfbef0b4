"""Version 2: slices, rules and positions."""

from __future__ import annotations

from sqlalchemy import Connection, text

from monitor import schema


def slices_rules_and_positions(connection: Connection) -> None:
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
