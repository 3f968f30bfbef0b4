"""A decision -> what people and machines are told. No key, and no value of a ``pii`` field, is in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from google.protobuf import json_format
from google.protobuf.message import Message as Protobuf

from featurestore.v1 import signals_pb2 as pb
from monitor.alerts.states import Alert, Notification
from monitor.decisions import Decision, FeatureFinding
from monitor.detector import Evidence

_SHORT = {
    "kolmogorov_smirnov": "KS",
    "total_variation": "TV",
    "null_rate": "null rate",
    "nan_rate": "NaN rate",
    "unseen_rate": "unseen categories",
    "out_of_range_rate": "out of range",
    "wasserstein": "W1 in standard deviations",
}
_NAMED = 4
#: Fields of a finding's message that the finding itself does not know.
_ELSEWHERE = frozenset({"histogram", "importance", "view", "source"})


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
        slice: which rows; "" for all.
        severity: the policy's.
    """

    project: str
    replay: str
    service: str
    baseline: str
    model: str
    views: Mapping[str, str]
    slice: str = ""
    severity: str = "page"

    @property
    def whom(self) -> str:
        """The service, with its slice where it is about one: ``flight_delay@1 (carrier=AA)``."""
        return f"{self.service} ({self.slice})" if self.slice else self.service

    def view_of(self, feature: str) -> str:
        """Return the view that a feature is of, or the number ``vector.norm`` of a feature; "" if it is of none."""
        return self.views.get(feature.partition(".")[0], "")


def moved(decision: Decision) -> list[FeatureFinding]:
    """Return the findings that drifted, the most important first."""
    return [one for one in decision.findings if one.verdict in ("drift", "severe")]


def alert(
    context: Context,
    decision: Decision,
    alert: Alert,
    notification: Notification,
    *,
    decided_at: datetime,
    rule: str = "drift",
) -> dict[str, Any]:
    """Return the JSON form of ``featurestore.v1.Alert``.

    Args:
        context: whom it is about.
        decision: of the window that changed the alert.
        alert: after the change.
        notification: what changed.
        decided_at: end of that window.
        rule: what was looked for.
    """
    if notification is Notification.FIRING:
        state, findings = pb.ALERT_STATE_FIRING, moved(decision)
        summary = _firing(context, decision, findings, alert, rule)
        action = _action(context, findings, rule)
    else:
        state, findings = pb.ALERT_STATE_RESOLVED, []
        summary = f"{context.whom} is back: for {alert.quiet} windows no feature was surely over its threshold"
        action = _NOTHING
    return to_json(
        pb.Alert(
            incident=alert.key,
            project=context.project,
            service=context.service,
            state=state,
            summary=rehearsed(context, summary),
            onset=alert.onset,
            decided_at=decided_at,
            evidence=evidence_message(decision.evidence),
            features=finding_messages(findings),
            baseline=context.baseline,
            suggested_action=action,
            replay=bool(context.replay),
            rule=rule,
            slice=context.slice,
            severity=context.severity,
        )
    )


def told(
    context: Context,
    reasons: Sequence[str],
    alert: Alert,
    notification: Notification,
    *,
    rule: str,
    decided_at: datetime,
) -> dict[str, Any]:
    """Return the JSON form of ``featurestore.v1.Alert`` for what is told in sentences: facts, skew, performance.

    Args:
        context: whom it is about.
        reasons: what was found, the worst first.
        alert: after the change.
        notification: what changed.
        rule: what was looked for.
        decided_at: end of the window that changed it.
    """
    firing = notification is Notification.FIRING
    name = rule.replace("_", " ")
    if firing:
        rest = f" (and {len(reasons) - 1} more)" if len(reasons) > 1 else ""
        summary = f"{context.whom}, {name}: {reasons[0] if reasons else 'see the status of the monitor'}{rest}"
    else:
        summary = f"{context.whom} is back: {name} was not seen {alert.quiet} times in a row"
    return to_json(
        pb.Alert(
            incident=alert.key,
            project=context.project,
            service=context.service,
            state=pb.ALERT_STATE_FIRING if firing else pb.ALERT_STATE_RESOLVED,
            summary=rehearsed(context, summary),
            onset=alert.onset,
            decided_at=decided_at,
            baseline=context.baseline,
            suggested_action=_DO.get(rule, _LOOK) if firing else _NOTHING,
            replay=bool(context.replay),
            rule=rule,
            slice=context.slice,
            severity=context.severity,
            reasons=reasons if firing else (),
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
    fields = [name for name in pb.FeatureFinding.DESCRIPTOR.fields_by_name if name not in _ELSEWHERE]
    return [pb.FeatureFinding(**{name: getattr(one, name) for name in fields}) for one in findings]


def to_json(message: Protobuf) -> dict[str, Any]:
    """Return protobuf's JSON form, with every field that has a value or a default."""
    values: dict[str, Any] = json_format.MessageToDict(message, always_print_fields_with_no_presence=True)
    return values


#: How a rule reads as a verb, where it is not that something drifted, and what to do about it.
_VERBS = {
    "launch mismatch": "is not what it was trained on, from the start",
    "null spike": "has values missing",
    "unseen categories": "has values that training never saw",
    "out of range": "has values out of range",
    "constant": "has stopped changing",
    "prediction drift": "is predicted otherwise",
}
_NOTHING = "Nothing; find out what it was, if you have not."
_LOOK = "Do what the reasons say."
_DO = {
    "training_serving_skew": "Fix the pipeline or the deployment; retraining would teach the model the fault. "
    "featurestore monitor parity shows rows.",
    "performance": "See which features drifted; if their sources are right, retrain on newer rows.",
}


def _firing(context: Context, decision: Decision, findings: Sequence[FeatureFinding], alert: Alert, rule: str) -> str:
    how = _VERBS.get(rule, "drifted") + (" severely" if decision.verdict == "severe" and rule not in _VERBS else "")
    since = f"{alert.onset:%Y-%m-%d %H:%M}".removesuffix(" 00:00") if alert.onset else "unknown"
    what = "retrain or check the source" if rule == "drift" else "check the source"
    return f"{context.whom} {how}: {named(findings)}, since {since}; {what}"


def _action(context: Context, findings: Sequence[FeatureFinding], rule: str) -> str:
    if rule == "launch mismatch":
        return (
            "Compare the training set with the traffic: filters, sampling, joins, request fields. It was different "
            "before anything could drift, so newer rows of the same kind change nothing."
        )
    first = findings[0]
    view = context.view_of(first.feature)
    if first.statistic in ("null_rate", "nan_rate"):
        return (
            f'Fix the pipeline: look at the source of view "{view}", where {first.feature} is missing in '
            f"{first.current_null_rate:.1%} of the rows (baseline {first.baseline_null_rate:.1%})."
        )
    if not view:
        return "Look at what the rows are made of; if that is right, the world has changed: retrain on newer rows."
    names = dict.fromkeys(context.view_of(one.feature) or one.feature for one in findings)
    views = ", ".join(f'"{name}"' for name in names)
    return f"Look at the sources of {views}; if they are right, the world has changed: retrain on newer rows."
