"""A message of a topic, and one that cannot become a row."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Message:
    """One message, as it came.

    Attributes:
        topic: where it was.
        partition: of the topic.
        offset: its place there.
        timestamp: when it was written, in milliseconds since 1970.
        key: by which its partition was chosen; None for none.
        value: what it says; None is a tombstone.
    """

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None

    @property
    def place(self) -> tuple[str, int, int]:
        """Topic, partition and offset: no two messages have the same."""
        return self.topic, self.partition, self.offset


@dataclass(frozen=True, kw_only=True)
class Poisoned:
    """A message that cannot become a row, or whose row fails a check.

    Attributes:
        message: it.
        reason: why; no value of it is named.
    """

    message: Message
    reason: str
