"""Messages of an earlier release: none is lost, none that was delivered goes again, and all keep their keys."""

from __future__ import annotations

import json

from sqlalchemy import create_engine, text

from monitor.alerts.outbox import listed
from monitor.migrating import v3_outbox

_VERSION_2 = """
CREATE TABLE outbox (id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, "key" VARCHAR NOT NULL, channel VARCHAR NOT NULL,
    kind VARCHAR NOT NULL, project VARCHAR NOT NULL, service VARCHAR NOT NULL, incident VARCHAR NOT NULL,
    episode INTEGER NOT NULL, payload TEXT NOT NULL, created_at BIGINT NOT NULL, attempts INTEGER NOT NULL,
    next_at BIGINT NOT NULL, delivered_at BIGINT, dead_at BIGINT, last_error VARCHAR NOT NULL, UNIQUE ("key"))
"""
_FIRING, _RETRAINING = "featurestore.v1.alert.firing", "featurestore.v1.retraining"
_ROWS = [
    ("msg_1", _FIRING, "k", 1, {"severity": "ticket"}, 5, None, ""),
    ("msg_2", _FIRING, "k", 2, {"severity": "page"}, None, 6, "410"),
    ("msg_3", _FIRING, "k", 3, {}, None, None, "500"),
    ("msg_4", _RETRAINING, "k", 3, {"id": "signal"}, None, None, ""),
]


def test_every_message_is_there_with_its_state_its_severity_and_whom_it_is_about() -> None:
    engine = create_engine("sqlite://")
    with engine.begin() as connection:
        connection.execute(text(_VERSION_2))
        connection.execute(text("CREATE INDEX outbox_open ON outbox (delivered_at, dead_at, id)"))
        for key, kind, incident, episode, payload, delivered_at, dead_at, error in _ROWS:
            connection.execute(
                text(
                    "INSERT INTO outbox VALUES (NULL, :key, 'ops', :kind, 'default', 'f@1', :incident, :episode, "
                    ":payload, 1, 2, 3, :delivered_at, :dead_at, :error)"
                ),
                {
                    "key": key,
                    "kind": kind,
                    "incident": incident,
                    "episode": episode,
                    "payload": json.dumps(payload),
                    "delivered_at": delivered_at,
                    "dead_at": dead_at,
                    "error": error,
                },
            )
        v3_outbox.step(connection)
        found = listed(connection)
        urgency = connection.execute(text("SELECT urgency FROM outbox ORDER BY id")).scalars().all()
    assert [(one.key, one.state, one.incident, one.severity, one.doubtful) for one in found] == [
        ("msg_1", "delivered", "k-1", "ticket", False),
        ("msg_2", "dead", "k-2", "page", False),
        ("msg_3", "pending", "k-3", "page", True),
        ("msg_4", "pending", "signal", "info", True),
    ]
    assert urgency == [1, 0, 0, 2]
    assert [one.attempts for one in found] == [2] * 4
    assert [one.last_error for one in found] == ["", "410", "500", ""]
    engine.dispose()
