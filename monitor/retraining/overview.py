"""Retraining signals as one plain value, for people and programs."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from sqlalchemy import Connection

from monitor.retraining import store as signals
from monitor.retraining.states import SignalState

#: Signals that people are shown, beside those that wait, where they did not ask for all.
NEWEST = 100


def overview(connection: Connection) -> list[dict[str, Any]]:
    """Return signals, the oldest first, as JSON values: those that wait, and the newest :data:`NEWEST`.

    Each has its message, and ``held``: why it waits, or "".
    """
    return [shown(one) for one in current(connection)]


def current(
    connection: Connection, services: Collection[str] = (), *, newest: int = NEWEST
) -> list[signals.StoredSignal]:
    """Return the signals that wait, however old, and the newest; the oldest first.

    Args:
        connection: a transaction.
        services: only of these, by name or version.
        newest: so many.
    """
    waiting = signals.list_signals(connection, services=services, states=[SignalState.HELD, SignalState.PENDING])
    others = signals.list_signals(connection, services=services, newest=newest)
    found = {one.id: one for one in (*waiting, *others)}
    return sorted(found.values(), key=lambda one: (one.noted_at, one.id))


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
