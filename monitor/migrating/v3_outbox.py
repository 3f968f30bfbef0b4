"""Version 3: the outbox."""

from __future__ import annotations

from sqlalchemy import Connection, text

from monitor import schema


def step(connection: Connection) -> None:
    """Messages get a state, a severity, and what their receivers called them; receivers have a table of their own.

    What waits may have been sent before: whether, the old table does not say, so it is sent again under its key. An
    incident is told of under a key for each of its episodes, a retraining signal under its id.
    """
    connection.execute(text("ALTER TABLE outbox RENAME TO outbox_2"))
    connection.execute(text("DROP INDEX IF EXISTS outbox_open"))
    schema.outbox.create(connection)
    schema.receivers.create(connection)
    connection.execute(text(_MOVED))
    connection.execute(text("DROP TABLE outbox_2"))


#: Databases of earlier versions are all of SQLite.
_MOVED = """
    INSERT INTO outbox (id, "key", channel, kind, project, service, incident, sequence, severity, urgency, payload,
        created_at, state, settled_at, attempts, next_at, doubtful, last_error, reference, overtaken_by, stands_in_for)
    SELECT id, "key", channel, kind, project, service, subject, sequence, severity,
        CASE severity WHEN 'page' THEN 0 WHEN 'ticket' THEN 1 ELSE 2 END, payload,
        created_at, state, settled_at, attempts, next_at, state = 'pending', last_error, '', '', ''
    FROM (
        SELECT *,
            CAST(episode AS TEXT) AS sequence,
            CASE WHEN kind = 'featurestore.v1.retraining' THEN COALESCE(json_extract(payload, '$.id'), incident)
                ELSE incident || '-' || episode END AS subject,
            CASE WHEN delivered_at IS NOT NULL THEN 'delivered' WHEN dead_at IS NOT NULL THEN 'dead' ELSE 'pending' END
                AS state,
            COALESCE(delivered_at, dead_at) AS settled_at,
            CASE WHEN kind = 'featurestore.v1.retraining' THEN 'info'
                ELSE COALESCE(NULLIF(json_extract(payload, '$.severity'), ''), 'page') END AS severity
        FROM outbox_2
    )
"""
