"""Version 3: retraining signals have states, events, and know which alerts fired when."""

from __future__ import annotations

from sqlalchemy import Connection, text

from monitor import schema


def step(connection: Connection) -> None:
    """Bring the tables of version 2 up to date.

    A signal of version 2 needed no approval, and was sent when it was made. Which alerts have fired before is not
    known; those that fire now are, so that no signal goes out meanwhile: the step of the alerts comes before this one.
    """
    for statement in _ADDED:
        connection.execute(text(statement))
    for table in (schema.signal_events, schema.signal_cursor, schema.alert_episodes):
        table.create(connection)
    for statement in _FILLED:
        connection.execute(text(statement))
    connection.execute(text(_FIRING))


_ADDED = (
    "ALTER TABLE signals ADD COLUMN policy_version INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE signals ADD COLUMN slice VARCHAR NOT NULL DEFAULT ''",
    "ALTER TABLE signals ADD COLUMN cause VARCHAR NOT NULL DEFAULT 'drift'",
    "ALTER TABLE signals ADD COLUMN subject VARCHAR NOT NULL DEFAULT ''",
    "ALTER TABLE signals ADD COLUMN attempt INTEGER NOT NULL DEFAULT 1",
    "ALTER TABLE signals ADD COLUMN model VARCHAR NOT NULL DEFAULT ''",
    "ALTER TABLE signals ADD COLUMN asked_by VARCHAR NOT NULL DEFAULT ''",
    "ALTER TABLE signals ADD COLUMN approved_by VARCHAR NOT NULL DEFAULT ''",
    "ALTER TABLE signals ADD COLUMN state VARCHAR NOT NULL DEFAULT 'approved'",
    "ALTER TABLE signals ADD COLUMN held VARCHAR NOT NULL DEFAULT ''",
    "ALTER TABLE signals ADD COLUMN sent_at BIGINT",
    "ALTER TABLE signals ADD COLUMN expires_at BIGINT",
    "ALTER TABLE signals ADD COLUMN decided_at BIGINT",
    "CREATE INDEX signals_state ON signals (state, service)",
)
_FILLED = (
    "UPDATE signals SET sent_at = created_at, subject = incident",
    """
    INSERT INTO signal_events (cursor, signal, service, state, at, who, reason, dataset, model, payload)
    SELECT ROW_NUMBER() OVER (ORDER BY created_at, id), id, service, state, created_at, '', '', '', '', payload
    FROM signals
    """,
    "UPDATE signal_cursor SET value = (SELECT COUNT(*) FROM signal_events)",
)
_FIRING = """
    INSERT INTO alert_episodes (alert, episode, policy, service, rule, slice, fault, views, features, incident, name,
        onset, ended_at, accepted)
    SELECT key, episode, policy, service, rule, slice,
        CASE WHEN rule IN ('drift', 'launch mismatch', 'prediction drift', 'stale_training_data',
            'materialization_lag') OR rule LIKE 'performance%' THEN 0 ELSE 1 END,
        '[]', '[]', key, '', COALESCE(onset, 0), NULL, 0
    FROM alerts WHERE fires
"""
