"""One incident: what is wrong and why, what happened, and what can be done about it from here."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, select

from featurestore import plots
from featurestore.errors import FeatureStoreError, ObjectNotFoundError
from featurestore.registry.aliases import PRODUCTION
from monitor import schema
from monitor.alerts.dispatching import clock_of
from monitor.alerts.incident_message import ACCEPTABLE
from monitor.alerts.incident_state import Incident
from monitor.alerts.message import called
from monitor.alerts.outbox import listed
from monitor.alerts.plot import Shares, distinct, shares
from monitor.alerts.showing import happenings, incident_values
from monitor.alerts.silences import silenced_by
from monitor.dashboard.page import Asked, Page, Picture, Values, drawn_from
from monitor.dashboard.reading import Reader
from monitor.history import History, StoredAlert
from monitor.retraining.overview import shown as signal_values
from monitor.retraining.states import SignalState
from monitor.retraining.store import known
from monitor.rollback import ledger
from monitor.rollback.values import UNDOABLE

#: Alerts of an incident whose features are shown, and features of each.
_ALERTS, _FEATURES = 20, 20
_WIDTH, _HEIGHT = 520, 160


def read(reader: Reader, asked: Asked) -> Values:
    """Return everything about an incident.

    Raises:
        ObjectNotFoundError: there is none of that number.
    """
    history, number = reader.history, asked.number("number")
    with history.read() as connection:
        found = _incident(history, connection, number)
        lines = history.timeline(connection, number)
        messages = listed(connection, incident=found.key)
        stored = history.stored_alerts(connection, [one.alert for one in found.members])
        clock = clock_of(history, connection, reader.config, asked.now)
        silences = history.silences(connection, after=clock)
        acceptances = [one for one in history.acceptances(connection) if one.incident == number and one.holds(clock)]
        action = ledger.of_incident(connection, found.key)
        signals = _signals(connection, found.key)
    findings = {key: one.kept.finding for key, one in stored.items() if one.kept.finding}
    first = next((findings[one.alert] for one in found.members if one.alert in findings), {})
    onset = min((one.onset for one in found.members if one.onset is not None), default=found.opened_at)
    return {
        "title": f"Incident {found.name}: {found.cause}",
        **incident_values(found),
        "acknowledged_at": None if found.acknowledged_at is None else found.acknowledged_at.isoformat(),
        "onset": onset.isoformat(),
        "summary": first.get("summary", ""),
        "suggested_action": first.get("suggestedAction", "") if found.open else "",
        "runbook": _link(first.get("runbook", "")),
        "baseline": first.get("baseline", ""),
        "model": first.get("model", ""),
        "findings": [
            _finding(one.rule, one.service, one.slice, findings[one.alert])
            for one in found.members[:_ALERTS]
            if one.alert in findings
        ],
        "silences": [
            {
                "number": one.id,
                "until": one.expires_at.isoformat(),
                "author": one.author,
                "reason": one.reason,
            }
            for one in silences
            if found.open and any(silenced_by(member, found.name, [one], clock) for member in found.members)
        ],
        "acceptable": found.open and any(one.firing and one.rule in ACCEPTABLE for one in found.members),
        "acceptances": [
            {
                "number": one.id,
                "service": one.service,
                "slice": one.slice,
                "since": one.since.isoformat(),
                "until": one.until.isoformat(),
                "expires_at": one.expires_at.isoformat(),
                "author": one.author,
                "reason": one.reason,
            }
            for one in acceptances
        ],
        "timeline": [
            {"at": one.at.isoformat(), "what": one.what, "who": one.who, "text": one.text}
            for one in happenings(lines, messages)
        ],
        "action": None
        if action is None
        else {
            "number": action.number,
            "state": str(action.state),
            "summary": action.summary,
            "held": action.held,
            "error": action.error,
            "can_undo": action.state in UNDOABLE,
        },
        "signals": signals,
        "rollbacks": _rollbacks(reader, found),
    }


def _incident(history: History, connection: Connection, number: int) -> Incident:
    found = history.incident(connection, number)
    if found is None:
        raise ObjectNotFoundError(
            f"There is no incident {number}.", hint="Those that there are: featurestore monitor incidents --all"
        )
    return found


def _finding(rule: str, service: str, slice_: str, finding: Mapping[str, Any]) -> dict[str, Any]:
    evidence = finding.get("evidence")
    features = list(finding.get("features", ()))
    return {
        "rule": called(rule),
        "service": service,
        "slice": slice_,
        "reasons": list(finding.get("reasons", ())),
        "evidence": None
        if evidence is None
        else {
            "log_value": _number(evidence.get("logValue")),
            "log_limit": _number(evidence.get("logLimit")),
            "windows": evidence.get("windows"),
        },
        "features": [_feature(one) for one in features[:_FEATURES]],
        "features_left_out": max(0, len(features) - _FEATURES) + int(finding.get("featuresLeftOut", 0)),
    }


def _feature(one: Mapping[str, Any]) -> dict[str, Any]:
    bins = _bins(shares({"features": [one]}))
    return {
        "feature": one.get("feature", ""),
        "statistic": str(one.get("statistic", "")).replace("_", " "),
        "effect": _number(one.get("effect")),
        "effect_low": _number(one.get("effectLow")),
        "effect_high": _number(one.get("effectHigh")),
        "threshold": _number(one.get("threshold")),
        "view": one.get("view", ""),
        "source": one.get("source", ""),
        "baseline_rows": int(one.get("baselineRows", 0)),
        "current_rows": int(one.get("currentRows", 0)),
        "baseline_null_rate": _number(one.get("baselineNullRate")),
        "current_null_rate": _number(one.get("currentNullRate")),
        "bins": bins,
        "drawn_from": drawn_from(bins),
    }


def _bins(found: Shares | None) -> list[dict[str, Any]]:
    if found is None:
        return []
    return [
        {"label": label, "before": before, "now": now}
        for label, before, now in zip(found.labels, found.before, found.now, strict=True)
    ]


def _number(value: Any) -> float | None:
    """Return a number of protobuf's JSON form; None for one that JSON has not."""
    if value is None:
        return None
    number = float(value)
    return number if math.isfinite(number) else None


def _link(text: str) -> str:
    """Return an address that may be followed; "" for what is none: its text is on the page all the same."""
    return text if text.startswith(("https://", "http://")) else ""


def _signals(connection: Connection, key: str) -> list[dict[str, Any]]:
    mine = connection.execute(select(schema.signals.c.id).where(schema.signals.c.incident == key)).scalars().all()
    return [
        {
            "id": one.id,
            "short": one.id[:12],
            "state": str(one.state),
            "service": one.service,
            "reason": str(signal_values(one).get("reason", "")),
            "held": one.held,
            "asked_by": one.asked_by,
            "can_decide": one.state is SignalState.PENDING,
        }
        for one in known(connection, mine)
    ]


def _rollbacks(reader: Reader, incident: Incident) -> list[dict[str, Any]]:
    """Return where the production alias of each service of an incident would lead back to."""
    if not incident.open or reader.config.replay:
        return []
    names = dict.fromkeys(one.service.partition("@")[0] for one in incident.members)
    try:
        registry = reader.registry
        services = {one.name for one in registry.list("feature_service")}
        aliases = [
            alias
            for name in names
            if name in services
            for alias in registry.alias_records(name)
            if alias.alias == PRODUCTION and alias.before
        ]
    except FeatureStoreError:
        return []  # the incident is told without it
    return [{"service": one.service, "from": one.id, "to": f"{one.service}@{one.before[0]}"} for one in aliases]


def draw(reader: Reader, asked: Asked) -> str:
    """Return the bars of one feature of an incident.

    Raises:
        ObjectNotFoundError: there is nothing to draw.
    """
    history = reader.history
    with history.read() as connection:
        found = _incident(history, connection, asked.number("number"))
        stored = history.stored_alerts(connection, [one.alert for one in found.members])
    seen = shares(
        {"features": [one for one in _features(found, stored) if one.get("feature") == asked.path["feature"]]}
    )
    if seen is None:
        raise ObjectNotFoundError(f'Nothing is known of the bins of "{asked.path["feature"]}".')
    bars = plots.Bars(labels=distinct(seen.labels), series={"before": seen.before, "now": seen.now}, y="share of rows")
    return plots.svg(plots.bars("", bars, width=_WIDTH, height=_HEIGHT), dark="dark" in asked.query)


def _features(incident: Incident, stored: Mapping[str, StoredAlert]) -> Sequence[Mapping[str, Any]]:
    return [
        feature
        for one in incident.members
        if one.alert in stored
        for feature in stored[one.alert].kept.finding.get("features", ())
    ]


PAGE = Page(
    name="incident",
    path="/incidents/{number:int}",
    read=read,
    twin=lambda asked: ("monitor", "incident", asked.path["number"]),
)
PICTURE = Picture(path="/incidents/{number:int}/features/{feature}.svg", draw=draw)
