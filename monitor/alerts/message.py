"""A decision -> what people and machines are told. No key, and no value of a ``pii`` field, is in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from google.protobuf import json_format
from google.protobuf.message import Message as Protobuf

from featurestore.v1 import signals_pb2 as pb
from monitor.alerts.origins import Origin
from monitor.alerts.states import Alert
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
#: Features that a message shows; of the rest it says how many there are.
SHOWN = 20
#: Fields of a finding's message that the finding itself does not know.
_ELSEWHERE = frozenset({"histogram", "importance", "view", "source"})


#: The rule of a policy whose runs fail.
JUDGING = "judging"


class Histogram(NamedTuple):
    """Shares of the rows in bins or categories, before and now; see :func:`monitor.alerts.drawing.histogram_of`."""

    labels: tuple[str, ...]
    baseline: tuple[float, ...]
    current: tuple[float, ...]


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
        origins: what each feature is made from.
        pii: fields whose values must not leave.
        slice: which rows; "" for all.
        severity: the policy's.
        runbook: where the policy's owner wrote down what to do.
    """

    project: str
    replay: str
    service: str
    baseline: str
    model: str
    views: Mapping[str, str]
    origins: Mapping[str, Origin] = field(default_factory=dict)
    pii: frozenset[str] = frozenset()
    slice: str = ""
    severity: str = "page"
    runbook: str = ""

    @property
    def whom(self) -> str:
        """The service, with its slice where it is about one: ``flight_delay@1 (carrier=AA)``."""
        return f"{self.service} ({self.slice})" if self.slice else self.service

    def view_of(self, feature: str) -> str:
        """Return the view that a feature is of, or the number ``vector.norm`` of a feature; "" if it is of none."""
        return self.views.get(column_of(feature), "")

    def sources_of(self, feature: str) -> tuple[str, ...]:
        """Return the names of the sources that a feature is made from; none where it has none."""
        origin = self.origins.get(column_of(feature))
        return () if origin is None else origin.sources


def column_of(feature: str) -> str:
    """Return the feature that a number is taken from: ``vector`` of ``vector.norm``."""
    return feature.partition(".")[0]


def moved(decision: Decision) -> list[FeatureFinding]:
    """Return the findings that drifted, the most important first."""
    return [one for one in decision.findings if one.verdict in ("drift", "severe")]


def finding_of(
    context: Context,
    decision: Decision,
    alert: Alert,
    *,
    decided_at: datetime,
    rule: str = "drift",
    histograms: Mapping[str, Histogram] | None = None,
    importances: bool = False,
) -> dict[str, Any]:
    """Return the JSON form of ``featurestore.v1.Alert`` for one alert alone, as it fires.

    Args:
        context: whom it is about.
        decision: of the window that changed the alert.
        alert: after the change.
        decided_at: end of that window.
        rule: what was looked for.
        histograms: of features, those that are to be drawn.
        importances: whether the features' importances are the model's own.
    """
    findings = moved(decision)
    shown = finding_messages(findings[:SHOWN], context=context, histograms=histograms or {}, importances=importances)
    return to_json(
        _of_alert(
            context,
            alert,
            rule,
            decided_at,
            summary=_firing(context, decision, findings, alert, rule),
            action=_action(context, findings, rule),
            # What is certain was held against no limit.
            evidence=None if findings and findings[0].certain else evidence_message(decision.evidence),
            features=shown,
            left_out=max(0, len(findings) - SHOWN),
        )
    )


def finding_of_facts(
    context: Context,
    reasons: Sequence[str],
    alert: Alert,
    *,
    rule: str,
    decided_at: datetime,
    features: Sequence[str] = (),
) -> dict[str, Any]:
    """Return the same for what is told in sentences: facts, skew, performance.

    Args:
        context: whom it is about.
        reasons: what was found, the worst first.
        alert: after the change.
        rule: what was looked for.
        decided_at: end of the window that changed it.
        features: that it is about.
    """
    rest = f" (and {len(reasons) - 1} more)" if len(reasons) > 1 else ""
    summary = f"{context.whom}, {called(rule)}: {reasons[0] if reasons else 'see the status of the monitor'}{rest}"
    return to_json(
        _of_alert(
            context,
            alert,
            rule,
            decided_at,
            summary=summary,
            action=_DO.get(rule.partition(" of ")[0]) or _look(context, features),
            reasons=reasons[:SHOWN],
        )
    )


def _of_alert(
    context: Context,
    alert: Alert,
    rule: str,
    decided_at: datetime,
    *,
    summary: str,
    action: str,
    evidence: pb.Evidence | None = None,
    features: Sequence[pb.FeatureFinding] = (),
    left_out: int = 0,
    reasons: Sequence[str] = (),
) -> pb.Alert:
    return pb.Alert(
        incident=alert.key,
        project=context.project,
        service=context.service,
        state=pb.ALERT_STATE_FIRING,
        summary=rehearsed(context, summary),
        onset=alert.onset,
        decided_at=decided_at,
        evidence=evidence,
        features=features,
        features_left_out=left_out,
        baseline=context.baseline,
        suggested_action=action,
        replay=bool(context.replay),
        rule=rule,
        slice=context.slice,
        severity=context.severity,
        reasons=reasons,
        model=context.model,
        runbook=context.runbook,
    )


def called(rule: str) -> str:
    """Return a rule as people read it: ``stale training data``."""
    return rule.replace("_", " ")


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


def finding_messages(
    findings: Sequence[FeatureFinding],
    *,
    context: Context | None = None,
    histograms: Mapping[str, Histogram] | None = None,
    importances: bool = False,
) -> list[pb.FeatureFinding]:
    """Return findings as their messages.

    Args:
        findings: in the order in which they are shown.
        context: knows views and sources; without it they are left out.
        histograms: by feature; those that are not there are left out.
        importances: whether the importance of a finding is the model's own, and so worth telling.
    """
    fields = [name for name in pb.FeatureFinding.DESCRIPTOR.fields_by_name if name not in _ELSEWHERE]
    found = []
    for one in findings:
        told = pb.FeatureFinding(**{name: getattr(one, name) for name in fields})
        if importances:
            told.importance = one.importance
        if context is not None:
            told.view = context.view_of(one.feature)
            told.source = ", ".join(context.sources_of(one.feature))
        drawn = (histograms or {}).get(one.feature)
        if drawn is not None:
            told.histogram.CopyFrom(pb.Histogram(**drawn._asdict()))
        found.append(told)
    return found


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
_LOOK = "Do what the reasons say."
_DO = {
    "training_serving_skew": "Fix the pipeline or the deployment; retraining would teach the model the fault. "
    "featurestore monitor parity shows rows.",
    "performance": "See which features drifted; if their sources are right, retrain on newer rows.",
    JUDGING: "Read the reason, and try it by hand: featurestore monitor run-once. Until it works, nothing is watched.",
}


def _firing(context: Context, decision: Decision, findings: Sequence[FeatureFinding], alert: Alert, rule: str) -> str:
    how = _VERBS.get(rule, "drifted") + (" severely" if decision.verdict == "severe" and rule not in _VERBS else "")
    source = common_source(context, [one.feature for one in findings])
    look = f'check source "{source}"' if source else "check the source"
    what = f"retrain or {look}" if rule == "drift" else look
    return f"{context.whom} {how}: {named(findings)}, since {moment(alert.onset)}; {what}"


def moment(at: datetime | None) -> str:
    """Return an instant as people read it: a day where it begins one."""
    return f"{at:%Y-%m-%d %H:%M}".removesuffix(" 00:00") if at is not None else "unknown"


def common_source(context: Context, features: Sequence[str]) -> str:
    """Return the one source that all features are made from; "" where there is none, or several."""
    each = [set(context.sources_of(one)) for one in features]
    shared = set.intersection(*each) if each else set()
    return shared.pop() if len(shared) == 1 else ""


def _look(context: Context, features: Sequence[str]) -> str:
    source = common_source(context, features)
    return f'{_LOOK} What it is about comes of source "{source}".' if source else _LOOK


def _action(context: Context, findings: Sequence[FeatureFinding], rule: str) -> str:
    if rule == "launch mismatch":
        return (
            "Compare the training set with the traffic: filters, sampling, joins, request fields. It was different "
            "before anything could drift, so newer rows of the same kind change nothing."
        )
    first = findings[0]
    view = context.view_of(first.feature)
    source = common_source(context, [one.feature for one in findings])
    if first.statistic in ("null_rate", "nan_rate"):
        where = f'source "{source}", from which view "{view}" comes' if source else f'the source of view "{view}"'
        return (
            f"Fix the pipeline: look at {where}, where {first.feature} is missing in "
            f"{first.current_null_rate:.1%} of the rows (baseline {first.baseline_null_rate:.1%})."
        )
    if not view:
        return "Look at what the rows are made of; if that is right, the world has changed: retrain on newer rows."
    names = list(dict.fromkeys(context.view_of(one.feature) or one.feature for one in findings))
    views = ", ".join(f'"{name}"' for name in names[:SHOWN])
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f"Look at the sources of {views}{more}; if they are right, the world has changed: retrain on newer rows."
