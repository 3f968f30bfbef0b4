"""A cause, and where its signal stands -> the JSON form of ``featurestore.v1.RetrainingSignal``. Pure.

No key, and no value of a field tagged ``pii``, is in it: findings come as alerts show them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from featurestore.v1 import signals_pb2 as pb
from monitor.alerts.message import Context, evidence_message, finding_messages, moved, named, rehearsed, to_json
from monitor.decisions import Decision
from monitor.retraining.states import SignalState

#: How much of a signal's id people see and type.
SHOWN = 12

#: Features that a signal names, those that matter most first; of more it says how many.
TOLD = 100


def signal_message(
    context: Context,
    *,
    cause: str,
    reason: str,
    incident: str = "",
    decision: Decision | None = None,
    now: datetime,
) -> dict[str, Any]:
    """Return the JSON form of a signal that waits to be sent, and has no id yet.

    Args:
        context: whom it is about.
        cause: what asks for it.
        reason: why, in a sentence.
        incident: the deduplication key of the incident, or "".
        decision: what moved, where a distribution has.
        now: the wall clock.
    """
    findings = [] if decision is None else moved(decision)
    return to_json(
        pb.RetrainingSignal(
            project=context.project,
            service=context.service,
            baseline=context.baseline,
            reason=rehearsed(context, reason),
            created_at=now,
            evidence=None if decision is None else evidence_message(decision.evidence),
            features=finding_messages(findings[:TOLD], context=context),
            features_left_out=max(0, len(findings) - TOLD),
            incident=incident,
            replay=bool(context.replay),
            model=context.model,
            cause=cause,
        )
    )


def reason_of(context: Context, decision: Decision | None, sentences: Sequence[str]) -> str:
    """Return why an alert asks for a new model, in a sentence."""
    if decision is None:
        return "; ".join(sentences) or f"{context.whom} does worse than {context.baseline} lets expect"
    return f"{context.whom} is served other data than {context.baseline} has: {named(moved(decision))}"


def commands(signal: str, state: SignalState, *, replay: str, has_request: bool) -> list[dict[str, str]]:
    """Return what can be done about a signal from a terminal, as JSON of ``featurestore.v1.Command``."""
    found: list[str] = []
    if state is SignalState.PENDING:
        found = ["approve", "reject", *(["request"] if has_request else [])]
    elif has_request and state.may_be_trained:
        found = ["dataset"]
    return [{"name": one, "text": command(one, signal, replay=replay)} for one in [*found, "signal"]]


def command(name: str, signal: str, *, replay: str) -> str:
    """Return a command on a signal: ``featurestore monitor approve 1cbb615e83e8``."""
    rest = f" --replay {replay}" if replay else ""
    if name == "reject":
        rest += ' --reason "..."'  # which it needs
    return f"featurestore monitor {name} {signal[:SHOWN]}{rest}"


def standing(
    payload: Mapping[str, Any],
    state: SignalState,
    *,
    replay: str,
    request: Mapping[str, Any] | None = None,
    expires_at: datetime | None = None,
) -> dict[str, Any]:
    """Return a signal's payload as it is in another state.

    Args:
        payload: as it was.
        state: where it stands now.
        replay: the name of the rehearsal, or "".
        request: what to train on, the JSON form of ``featurestore.v1.TrainingRequest``; None leaves what is there.
        expires_at: until when somebody may agree; None leaves what is there.
    """
    found = dict(payload) | {"state": state.wire}
    if request is not None:
        found["request"] = dict(request)
    if state is not SignalState.PENDING:
        found.pop("expiresAt", None)
    elif expires_at is not None:
        found["expiresAt"] = expires_at.isoformat().replace("+00:00", "Z")
    found["commands"] = commands(str(payload["id"]), state, replay=replay, has_request="request" in found)
    return found
