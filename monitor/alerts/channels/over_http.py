"""What channels whose far side speaks HTTP have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from datetime import datetime
from typing import Protocol

from monitor.alerts.base import Message, Outcome, Status
from monitor.alerts.channels.addresses import UnreachableError
from monitor.alerts.channels.http import Client, Settings


class Section(Settings, Protocol):
    """The section of such a channel."""

    @property
    def rehearsals(self) -> bool:
        """Whether it takes messages of a replay."""
        ...


class HttpChannel(ABC):
    """Makes an outcome of whatever happens to a request; see :class:`monitor.alerts.base.Channel`.

    Args:
        name: the channel's name in ``featurestore.toml``.
        section: its section, with the secrets read.

    Raises:
        ConfigError: the CA file cannot be used.
    """

    def __init__(self, name: str, section: Section) -> None:
        self.name = name
        self.rehearsals = section.rehearsals
        self._client = Client(name, section)

    def deliver(self, message: Message, *, now: datetime) -> Outcome:
        """Try once; see :class:`monitor.alerts.base.Channel`."""
        return _tried(lambda: self._send(message, now))

    def probe(self, *, now: datetime) -> Outcome:
        """Find out whether a message would arrive; see :class:`monitor.alerts.base.Channel`."""
        return _tried(lambda: self._look(now))

    def close(self) -> None:  # noqa: B027 - a kind that keeps something open overrides it
        """There is nothing to release: each request has a connection of its own."""

    @abstractmethod
    def _send(self, message: Message, now: datetime) -> Outcome:
        """Deliver; may raise UnreachableError."""

    @abstractmethod
    def _look(self, now: datetime) -> Outcome:
        """Probe; may raise UnreachableError."""


def _tried(attempt: Callable[[], Outcome]) -> Outcome:
    try:
        return attempt()
    except UnreachableError as error:
        return Outcome(Status.RETRY, error.reason, untaken=error.untaken)
