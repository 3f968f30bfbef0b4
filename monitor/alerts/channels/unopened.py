"""A channel that cannot be opened, as its secret is not there: its messages wait, and nobody else's do."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime

from featurestore.errors import ConfigError
from monitor.alerts.base import Channel, Message, Outcome, Status


class Unopened:
    """Tries to open a channel with each message that is due; see :class:`monitor.alerts.base.Channel`.

    So it is right again as soon as its settings are, and until then each message says in the outbox why it waits.

    Args:
        name: the channel's name.
        error: why it could not be opened.
        opening: opens it.
        rehearsals: whether it takes messages of a replay.
    """

    def __init__(self, name: str, error: ConfigError, opening: Callable[[], Channel], *, rehearsals: bool) -> None:
        self.name = name
        self.rehearsals = rehearsals
        self.error: ConfigError | None = error
        self._opening = opening
        self._opened: Channel | None = None
        self._lock = threading.Lock()

    def deliver(self, message: Message, *, now: datetime) -> Outcome:
        """Deliver, if it can be opened by now."""
        channel = self._open()
        return self._closed() if channel is None else channel.deliver(message, now=now)

    def probe(self, *, now: datetime) -> Outcome:
        """Find out whether a message would arrive, if it can be opened by now."""
        channel = self._open()
        return self._closed() if channel is None else channel.probe(now=now)

    def close(self) -> None:
        """Close it, where it was opened."""
        if self._opened is not None:
            self._opened.close()

    def _open(self) -> Channel | None:
        with self._lock:
            if self._opened is None:
                try:
                    self._opened, self.error = self._opening(), None
                except ConfigError as error:
                    self.error = error
            return self._opened

    def _closed(self) -> Outcome:
        assert self.error is not None  # noqa: S101 - it is not open
        return Outcome(Status.RETRY, self.error.message, untaken=True)
