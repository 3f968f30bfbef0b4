"""Retraining signals as values: a cause, a signal as it stands, and an event of its life."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy.engine import Row

from monitor.history.values import EPOCH, instant
from monitor.retraining.states import SignalState


@dataclass(frozen=True, kw_only=True)
class Cause:
    """What asks for a new model, before anything is sent.

    Attributes:
        id: the signal's, see :func:`monitor.retraining.causes.signal_id`.
        policy: whose rules hold for it.
        policy_version: the same.
        service: the service version, or the stream that a policy watches by itself.
        slice: which rows; "" for all.
        cause: what kind it is: ``drift``.
        subject: what it is about: the key of an alert, a dataset, a definition.
        attempt: how often it was found after nobody decided in time, or the training failed.
        baseline: the training data of the model at hand; "" where there is none.
        model: the model, or "".
        incident: the deduplication key of the incident, or "".
        asked_by: who asks for it; "" where it is the monitor.
        payload: the JSON form of ``featurestore.v1.RetrainingSignal``, without state and request.
    """

    id: str
    policy: str
    policy_version: int
    service: str
    slice: str = ""
    cause: str
    subject: str
    attempt: int = 1
    baseline: str
    model: str
    incident: str
    asked_by: str = ""
    payload: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class StoredSignal(Cause):
    """A signal, as it stands.

    Attributes:
        state: where it stands.
        held: why it waits; "" where it does not.
        approved_by: who agreed; "" for nobody.
        noted_at: when its cause was found.
        sent_at: when it went out, or was asked about where it has not; None while neither was.
        expires_at: until when somebody may agree; None where nobody has to.
        decided_at: when somebody has.
    """

    state: SignalState
    held: str
    approved_by: str
    noted_at: datetime
    sent_at: datetime | None
    expires_at: datetime | None
    decided_at: datetime | None

    @property
    def name(self) -> str:
        """The bare name of its service: ``flight_delay``."""
        return self.service.partition("@")[0]


@dataclass(frozen=True, kw_only=True)
class SignalEvent:
    """One event in the life of a signal.

    Attributes:
        cursor: grows from event to event.
        signal: the signal's id.
        service: its service version.
        state: where it stands after the event.
        at: when.
        who: who; "" where it is the monitor.
        reason: why, in a sentence.
        dataset: what was made of it, once something was.
        model: the same.
        payload: the JSON form of ``featurestore.v1.RetrainingSignal`` after the event.
    """

    cursor: int
    signal: str
    service: str
    state: SignalState
    at: datetime
    who: str
    reason: str
    dataset: str
    model: str
    payload: Mapping[str, Any]


def signal_of(row: Row[Any]) -> StoredSignal:
    """Return the signal of a row."""
    return StoredSignal(
        id=row.id,
        policy=row.policy,
        policy_version=row.policy_version,
        service=row.service,
        slice=row.slice,
        cause=row.cause,
        subject=row.subject,
        attempt=row.attempt,
        baseline=row.baseline,
        model=row.model,
        incident=row.incident,
        asked_by=row.asked_by,
        payload=json.loads(row.payload),
        state=SignalState(row.state),
        held=row.held,
        approved_by=row.approved_by,
        noted_at=instant(row.created_at) or EPOCH,
        sent_at=instant(row.sent_at),
        expires_at=instant(row.expires_at),
        decided_at=instant(row.decided_at),
    )


def event_of(row: Row[Any]) -> SignalEvent:
    """Return the event of a row."""
    return SignalEvent(
        cursor=row.cursor,
        signal=row.signal,
        service=row.service,
        state=SignalState(row.state),
        at=instant(row.at) or EPOCH,
        who=row.who,
        reason=row.reason,
        dataset=row.dataset,
        model=row.model,
        payload=json.loads(row.payload),
    )
