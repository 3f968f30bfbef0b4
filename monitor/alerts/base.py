"""The protocol behind which every channel stands, and the values that cross it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol


class Kind(StrEnum):
    """What a message says; the value is the ``type`` of its CloudEvent."""

    FIRING = "featurestore.v1.alert.firing"
    UPDATED = "featurestore.v1.alert.updated"  # a new alert of the incident, a repetition, an escalation
    ACKNOWLEDGED = "featurestore.v1.alert.acknowledged"
    RESOLVED = "featurestore.v1.alert.resolved"
    RETRAINING = "featurestore.v1.retraining"  # where a signal stands: who trains acts on SIGNAL_STATE_APPROVED alone
    RETRAINED = "featurestore.v1.retraining.result"  # whether the model that came of it is better, on live data
    ACTION = "featurestore.v1.action"
    TEST = "featurestore.v1.test"


#: Kinds whose payload is a retraining signal.
OF_SIGNALS = frozenset({Kind.RETRAINING, Kind.RETRAINED})

#: Kinds that tell the state of an incident; a later one says all that an earlier one did.
OF_INCIDENTS = frozenset({Kind.FIRING, Kind.UPDATED, Kind.ACKNOWLEDGED, Kind.RESOLVED})


@dataclass(frozen=True, kw_only=True)
class Message:
    """One message for one channel.

    Attributes:
        key: the idempotency key: one message keeps it over all retries, no other message has it.
        kind: what it says.
        project: the namespace.
        service: ``flight_delay@1``.
        incident: the deduplication key of the incident: the same from its first message to its last, and never that of
            another one; the id of the signal or of the action for what is said of those; "" for a test.
        severity: ``page``, ``ticket`` or ``info``.
        created_at: when it was written.
        payload: the JSON form of ``featurestore.v1.Alert``, ``RetrainingSignal`` or ``Action``.
        thread: what the channel called its first message of the incident (:attr:`Outcome.reference`); "" for none.
        latest: what it called its last one; "" for none.
    """

    key: str
    kind: Kind
    project: str
    service: str
    incident: str
    created_at: datetime
    payload: Mapping[str, Any]
    severity: str = "page"
    thread: str = ""
    latest: str = ""


class Status(StrEnum):
    """What became of one attempt to deliver."""

    DELIVERED = "delivered"
    RETRY = "retry"
    REFUSED = "refused"  # this message never, whatever the attempts: it is too large, or not understood
    GONE = "gone"


@dataclass(frozen=True)
class Outcome:
    """What became of one attempt.

    Attributes:
        status: ``GONE`` means that the receiver wants no message ever again.
        reason: why it was not delivered; free of secrets, one line.
        retry_after: seconds that the receiver asked us to wait, if it did.
        reference: what the far side calls the message, by which a later one joins it; "" where it has no such thing.
        untaken: of a ``RETRY``, whether the far side surely has not taken the message: there was no connection, or it
            answered so. Not where it did not answer in time: it may have taken it, and the message is sent again
            whatever has become of its incident meanwhile.
    """

    status: Status
    reason: str = ""
    retry_after: float | None = None
    reference: str = ""
    untaken: bool = False


class Channel(Protocol):
    """Where messages go."""

    @property
    def name(self) -> str:
        """The channel's name in ``featurestore.toml``."""
        ...

    @property
    def rehearsals(self) -> bool:
        """Whether it takes messages of a replay."""
        ...

    def deliver(self, message: Message, *, now: datetime) -> Outcome:
        """Try once. Whatever the far side does is an :class:`Outcome`, not an exception.

        Args:
            message: what to deliver.
            now: the wall clock; signatures and HTTP dates are judged against it.
        """
        ...

    def probe(self, *, now: datetime) -> Outcome:
        """Find out, without a message that people see, whether one would arrive: address, certificate, password.

        Args:
            now: as for :meth:`deliver`.
        """
        ...

    def close(self) -> None:
        """Release connections."""
        ...
