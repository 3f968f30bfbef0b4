"""Decision -> an idempotent retraining signal."""

from __future__ import annotations

import hashlib
from datetime import datetime
from typing import Any

from featurestore.v1 import signals_pb2 as pb
from monitor.alerts.message import Context, evidence_message, finding_messages, moved, named, rehearsed, to_json
from monitor.alerts.states import Alert
from monitor.decisions import Decision


def signal_id(project: str, service: str, baseline: str, incident: str) -> str:
    """Return the signal's id: the same cause has the same one, however often it is found.

    Training on newer data makes another baseline, so that drift from there is another cause.
    """
    text = f"retraining/1\n{project}\n{service}\n{baseline}\n{incident}"
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def retraining_signal(context: Context, decision: Decision, alert: Alert, *, now: datetime) -> dict[str, Any]:
    """Return the JSON form of ``featurestore.v1.RetrainingSignal``.

    Args:
        context: whom it is about.
        decision: the one that made the alert fire.
        alert: the alert.
        now: the wall clock.
    """
    findings = moved(decision)
    reason = f"{context.whom} is served other data than {context.baseline} has: {named(findings)}"
    return to_json(
        pb.RetrainingSignal(
            id=signal_id(context.project, context.service, context.baseline, alert.key),
            project=context.project,
            service=context.service,
            baseline=context.baseline,
            reason=rehearsed(context, reason),
            created_at=now,
            evidence=evidence_message(decision.evidence),
            features=finding_messages(findings),
            incident=alert.key,
            replay=bool(context.replay),
            model=context.model,
        )
    )


def told_signal(context: Context, reason: str, alert: Alert, *, now: datetime) -> dict[str, Any]:
    """Return the JSON form of ``featurestore.v1.RetrainingSignal`` for what no distribution shows: a fall in accuracy.

    Args:
        context: whom it is about.
        reason: why, in a sentence.
        alert: the alert.
        now: the wall clock.
    """
    return to_json(
        pb.RetrainingSignal(
            id=signal_id(context.project, context.service, context.baseline, alert.key),
            project=context.project,
            service=context.service,
            baseline=context.baseline,
            reason=rehearsed(context, reason),
            created_at=now,
            incident=alert.key,
            replay=bool(context.replay),
            model=context.model,
        )
    )
