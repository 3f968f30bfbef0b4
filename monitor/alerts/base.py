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
    RESOLVED = "featurestore.v1.alert.resolved"
    RETRAINING = "featurestore.v1.retraining"


@dataclass(frozen=True, kw_only=True)
class Message:
    """One message for one channel.

    Attributes:
        key: the idempotency key: one message keeps it over all retries, no other message has it.
        kind: what it says.
        project: the namespace.
        service: ``flight_delay@1``.
        incident: the deduplication key of the incident that it is about.
        created_at: when it was written.
        payload: the JSON form of ``featurestore.v1.Alert`` or ``featurestore.v1.RetrainingSignal``.
    """

    key: str
    kind: Kind
    project: str
    service: str
    incident: str
    created_at: datetime
    payload: Mapping[str, Any]


class Status(StrEnum):
    """What became of one attempt to deliver."""

    DELIVERED = "delivered"
    RETRY = "retry"
    GONE = "gone"


@dataclass(frozen=True)
class Outcome:
    """What became of one attempt.

    Attributes:
        status: ``GONE`` means that the receiver wants no message ever again.
        reason: why it was not delivered; free of secrets, one line.
        retry_after: seconds that the receiver asked us to wait, if it did.
    """

    status: Status
    reason: str = ""
    retry_after: float | None = None


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

    def close(self) -> None:
        """Release connections."""
        ...
