"""Retraining signals as one plain value, for people and programs."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection

from monitor.retraining import store as signals


def overview(connection: Connection) -> list[dict[str, Any]]:
    """Return every signal, the oldest first, as JSON values: its message, and ``held``: why it waits, or ""."""
    return [shown(one) for one in signals.list_signals(connection)]


def shown(signal: signals.StoredSignal) -> dict[str, Any]:
    """Return a signal as JSON values: its message, where it stands, and why it waits."""
    return dict(signal.payload) | {"standing": str(signal.state), "held": signal.held}


def timeline(connection: Connection, signal: signals.StoredSignal) -> list[dict[str, Any]]:
    """Return every event of a signal, the oldest first, as JSON values."""
    return [
        {
            "cursor": one.cursor,
            "at": one.at.isoformat(),
            "state": str(one.state),
            "who": one.who,
            "reason": one.reason,
            "dataset": one.dataset,
            "model": one.model,
        }
        for one in signals.signal_events(connection, signal=signal.id, limit=signals.ALL, every=True)
    ]
