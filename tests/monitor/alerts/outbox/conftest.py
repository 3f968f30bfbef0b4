"""A database of each kind with an outbox, a clock that a test moves, and a channel that answers as told."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Connection

from monitor.alerts.base import Kind, Message, Outcome, Status
from monitor.alerts.outbox import Entry, counts, enqueue, listed
from monitor.history import History
from tests import backends

START = datetime(2026, 5, 1, tzinfo=UTC)


@dataclass
class Scripted:
    """A channel that answers as told; delivered when the script is over.

    Attributes:
        name: the channel's name.
        script: the next answers.
        tried: what was to be delivered, in order.
        held: while it is not set, deliveries hang.
    """

    name: str = "ops"
    rehearsals: bool = True
    script: list[Outcome] = field(default_factory=list)
    tried: list[Message] = field(default_factory=list)
    held: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.held.set()

    def deliver(self, message: Message, *, now: datetime) -> Outcome:  # noqa: ARG002 - the protocol's signature
        self.tried.append(message)
        assert self.held.wait(30)
        return self.script.pop(0) if self.script else Outcome(Status.DELIVERED)

    def probe(self, *, now: datetime) -> Outcome:  # noqa: ARG002 - the protocol's signature
        return Outcome(Status.DELIVERED)

    def close(self) -> None:
        pass

    @property
    def said(self) -> list[tuple[str, Kind]]:
        """Incident and kind of what was to be delivered, in order."""
        return [(one.incident, one.kind) for one in self.tried]


@dataclass
class Clock:
    """A clock that a test moves."""

    now: datetime = START

    def __call__(self) -> datetime:
        return self.now

    def forward(self, **amount: float) -> datetime:
        self.now += timedelta(**amount)
        return self.now


@dataclass
class Box:
    """An outbox.

    Attributes:
        history: its database.
        clock: what messages are written by.
    """

    history: History
    clock: Clock

    def put(
        self,
        kind: Kind,
        *,
        incident: str = "i-1",
        sequence: str = "1",
        channels: tuple[str, ...] = ("ops",),
        severity: str = "page",
    ) -> list[bool]:
        """Write a message for each channel."""
        with self.history.write() as connection:
            return self.put_in(connection, kind, incident, sequence, channels, severity)

    def put_in(
        self,
        connection: Connection,
        kind: Kind,
        incident: str = "i-1",
        sequence: str = "1",
        channels: tuple[str, ...] = ("ops",),
        severity: str = "page",
    ) -> list[bool]:
        """Write them in a transaction of the caller."""
        return [
            enqueue(
                connection,
                instance=self.history.instance,
                channel=channel,
                kind=kind,
                project="default",
                service="f@1",
                incident=incident,
                sequence=sequence,
                severity=severity,
                payload={"summary": f"{kind} of {incident}"},
                now=self.clock(),
            )
            for channel in channels
        ]

    def counted(self) -> dict[str, int]:
        with self.history.read() as connection:
            return counts(connection)

    def entries(self, channel: str = "") -> list[Entry]:
        with self.history.read() as connection:
            return listed(connection, channel=channel)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=backends.params("monitor", "sqlite", "postgresql"))
def history(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[History]:
    url = f"sqlite:///{tmp_path}/monitor.db"
    if request.param == "postgresql":
        url = request.getfixturevalue("postgresql").replace("postgresql://", "postgresql+psycopg://")
    with History(url) as opened:
        yield opened


@pytest.fixture
def box(history: History, clock: Clock) -> Box:
    return Box(history, clock)


@pytest.fixture
def scripted() -> Callable[..., Scripted]:
    return Scripted
