"""Retraining signals: what waits for somebody, and what became of the others; and the one that is asked for by hand."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from featurestore.errors import FeatureStoreError
from monitor.dashboard.page import Action, Asked, Doing, Page, Values
from monitor.dashboard.people import Role
from monitor.dashboard.reading import Reader
from monitor.retraining.asking import ask
from monitor.retraining.overview import current
from monitor.retraining.states import SignalState
from monitor.retraining.store import StoredSignal


def read(reader: Reader, _: Asked) -> Values:
    """Return the signals that wait, however old, and the newest; the newest first."""
    with reader.history.read() as connection:
        found = current(connection)
    try:
        services = [one.name for one in reader.registry.list("feature_service")]
    except FeatureStoreError:
        services = []  # what there is to read is read all the same
    return {
        "title": "Retraining signals",
        "signals": [signal_values(one) for one in reversed(found)],
        "services": services,
    }


def signal_values(one: StoredSignal) -> dict[str, Any]:
    """Return a signal as JSON values."""
    return {
        "id": one.id,
        "short": one.id[:12],
        "state": str(one.state),
        "service": one.service,
        "slice": one.slice,
        "cause": one.cause.replace("_", " "),
        "reason": str(one.payload.get("reason", "")),
        "held": one.held,
        "asked_by": one.asked_by,
        "approved_by": one.approved_by,
        "baseline": one.baseline,
        "model": one.model,
        "noted_at": _text(one.noted_at),
        "expires_at": _text(one.expires_at),
        "can_decide": one.state is SignalState.PENDING,
    }


def _text(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat()


def _ask(reader: Reader, doing: Doing) -> str:
    service, reason = doing.form.get("service", ""), doing.form.get("reason", "")
    with reader.acting_as(doing.who) as store:
        found = ask(store, reader.history, service, reason=reason, who=store.who(), now=doing.now)
    why = found.held or str(found.payload.get("reason", ""))
    return f"Retraining signal {found.id[:12]} of {found.service} is {found.state}: {why}"


PAGE = Page(name="signals", path="/signals", menu="Signals", read=read, twin=lambda _: ("monitor", "signals"))
ACTIONS = (Action(path="/signals", role=Role.operator, act=_ask, back=lambda _: "/signals"),)
