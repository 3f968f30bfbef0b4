"""A decision -> what people and machines are told. No key, and no value of a ``pii`` field, is in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from google.protobuf import json_format
from google.protobuf.message import Message as Protobuf

from featurestore.v1 import signals_pb2 as pb
from monitor.alerts.states import Incident, Notification
from monitor.decisions import Decision, FeatureFinding
from monitor.detector import Evidence

_SHORT = {
    "kolmogorov_smirnov": "KS",
    "total_variation": "TV",
    "null_rate": "null rate",
    "nan_rate": "NaN rate",
}
_NAMED = 4


@dataclass(frozen=True, kw_only=True)
class Context:
    """What a message says beside the decision.

    Attributes:
        project: the namespace.
        replay: the name of the rehearsal, or "".
        service: the service version.
        baseline: the dataset.
        model: the model, or "".
        views: the view of each feature.
    """

    project: str
    replay: str
    service: str
    baseline: str
    model: str
    views: Mapping[str, str]


def moved(decision: Decision) -> list[FeatureFinding]:
    """Return the findings that drifted, the most important first."""
    return [one for one in decision.findings if one.verdict in ("drift", "severe")]


def alert(
    context: Context, decision: Decision, incident: Incident, notification: Notification, *, decided_at: datetime
) -> dict[str, Any]:
    """Return the JSON form of ``featurestore.v1.Alert``.

    Args:
        context: whom it is about.
        decision: of the window that changed the incident.
        incident: after the change.
        notification: what changed.
        decided_at: end of that window.
    """
    if notification is Notification.FIRING:
        state, findings = pb.ALERT_STATE_FIRING, moved(decision)
        summary = _firing(context, decision, findings, incident)
        action = _action(context, findings)
    else:
        state, findings = pb.ALERT_STATE_RESOLVED, []
        summary = f"{context.service} is back: for {incident.quiet} windows no feature was surely over its threshold"
        action = "Nothing; find out what it was, if you have not."
    return to_json(
        pb.Alert(
            incident=incident.key,
            project=context.project,
            service=context.service,
            state=state,
            summary=rehearsed(context, summary),
            onset=incident.onset,
            decided_at=decided_at,
            evidence=evidence_message(decision.evidence),
            features=finding_messages(findings),
            baseline=context.baseline,
            suggested_action=action,
            replay=bool(context.replay),
        )
    )


def rehearsed(context: Context, text: str) -> str:
    """Return the text, with a rehearsal's mark in front where it is one."""
    return f"REPLAY {context.replay}: {text}" if context.replay else text


def named(findings: Sequence[FeatureFinding]) -> str:
    """Return the first findings in words: ``temp (KS 0.71 [0.48, 0.94]), dewp (...) and 3 more``."""
    texts = [
        f"{one.feature} ({_SHORT[one.statistic]} {one.effect:.2f} [{one.effect_low:.2f}, {one.effect_high:.2f}])"
        for one in findings[:_NAMED]
    ]
    rest = len(findings) - _NAMED
    return ", ".join(texts) + (f" and {rest} more" if rest > 0 else "")


def evidence_message(evidence: Evidence) -> pb.Evidence:
    """Return the evidence as its message."""
    return pb.Evidence(log_value=evidence.log_value, log_limit=evidence.log_limit, windows=evidence.windows)


def finding_messages(findings: Sequence[FeatureFinding]) -> list[pb.FeatureFinding]:
    """Return findings as their messages; what the messages have no field for is left out."""
    fields = pb.FeatureFinding.DESCRIPTOR.fields_by_name
    return [pb.FeatureFinding(**{name: getattr(one, name) for name in fields}) for one in findings]


def to_json(message: Protobuf) -> dict[str, Any]:
    """Return protobuf's JSON form, with every field that has a value or a default."""
    values: dict[str, Any] = json_format.MessageToDict(message, always_print_fields_with_no_presence=True)
    return values


def _firing(context: Context, decision: Decision, findings: Sequence[FeatureFinding], incident: Incident) -> str:
    how = "drifted severely" if decision.verdict == "severe" else "drifted"
    since = f"{incident.onset:%Y-%m-%d %H:%M}".removesuffix(" 00:00") if incident.onset else "unknown"
    return f"{context.service} {how}: {named(findings)}, since {since}; retrain or check the source"


def _action(context: Context, findings: Sequence[FeatureFinding]) -> str:
    first = findings[0]
    view = context.views[first.feature]
    if first.statistic in ("null_rate", "nan_rate"):
        return (
            f'Fix the pipeline: look at the source of view "{view}", where {first.feature} is missing in '
            f"{first.current_null_rate:.1%} of the rows (baseline {first.baseline_null_rate:.1%})."
        )
    views = ", ".join(f'"{name}"' for name in dict.fromkeys(context.views[one.feature] for one in findings))
    return f"Look at the sources of {views}; if they are right, the world has changed: retrain on newer rows."
