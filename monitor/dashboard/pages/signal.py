"""One retraining signal: why, what it asks to train on, what became of it, and the decision."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from featurestore.errors import MonitorError, ObjectNotFoundError
from monitor.dashboard.deciding import decided
from monitor.dashboard.page import Action, Asked, Doing, Page, Values
from monitor.dashboard.pages.signals import signal_values
from monitor.dashboard.people import Role
from monitor.dashboard.reading import Reader
from monitor.retraining.overview import timeline
from monitor.retraining.store import find_signal


def read(reader: Reader, asked: Asked) -> Values:
    """Return everything about a signal.

    Raises:
        ObjectNotFoundError: there is no such signal.
    """
    history = reader.history
    with history.read() as connection:
        try:
            found = find_signal(connection, asked.path["id"])
        except MonitorError as error:
            raise ObjectNotFoundError(error.message, hint=error.hint) from None
        events = timeline(connection, found)
        incident = history.incident_by_key(connection, found.incident) if found.incident else None
    request: Mapping[str, Any] = found.payload.get("request", {})
    return {
        "title": f"Retraining signal {found.id[:12]}",
        **signal_values(found),
        "incident": None if incident is None else incident.number,
        "request": {
            key: str(request[key])
            for key in ("dataset", "since", "until", "asOf", "label", "hash", "command")
            if request.get(key)
        },
        "left_out": [
            {"since": one["since"], "until": one["until"], "reason": one["reason"]}
            for one in request.get("leftOut", ())
        ],
        "events": events,
    }


def _approve(reader: Reader, doing: Doing) -> str:
    return decided(reader, doing, doing.path["id"], approve=True)


def _reject(reader: Reader, doing: Doing) -> str:
    return decided(reader, doing, doing.path["id"], approve=False)


def _back(path: Mapping[str, str]) -> str:
    return f"/signals/{path['id']}"


PAGE = Page(
    name="signal",
    path="/signals/{id}",
    read=read,
    twin=lambda asked: ("monitor", "signal", asked.path["id"][:12]),
)
ACTIONS = (
    Action(path="/signals/{id}/approve", role=Role.approver, act=_approve, back=_back),
    Action(path="/signals/{id}/reject", role=Role.approver, act=_reject, back=_back),
)
