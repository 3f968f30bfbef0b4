"""Takes messages from the outbox to their channels, each channel at its own pace."""

from __future__ import annotations

import random
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

import structlog
from sqlalchemy import Connection

from monitor.alerts.base import Channel, Message, Outcome, Status
from monitor.alerts.outbox import standing_in, turns
from monitor.alerts.outbox.entries import MessageState, disabled
from monitor.alerts.outbox.refreshing import Refresher, open_in
from monitor.history import History
from monitor.schema import outbox

#: At most so many channels are at work at once, a thread each; more of them take turns.
_THREADS = 16

#: How long a courier tries by itself what others left before it tells fallbacks of what was never tried.
_SETTLING_SECONDS = 60.0

_log = structlog.get_logger("monitor.outbox")


@dataclass(frozen=True, kw_only=True)
class DeliveryReport:
    """What became of messages.

    Attributes:
        delivered: so many were delivered.
        delayed: attempts that failed and are made again.
        dead: so many were given up.
        overtaken: so many were not sent, since a newer one says what there is.
        stood_in: pages that were also written for a fallback.
    """

    delivered: int = 0
    delayed: int = 0
    dead: int = 0
    overtaken: int = 0
    stood_in: int = 0

    def __add__(self, other: DeliveryReport) -> DeliveryReport:
        return DeliveryReport(**{name: count + getattr(other, name) for name, count in vars(self).items()})


class Courier:
    """Delivers what is due; a context manager, or call :meth:`close`. Every method may be called from any thread.

    A channel has a thread while it has something to deliver: one whose receiver is slow delays no other.

    Args:
        history: the database.
        channels: by name.
        fallbacks: by channel; see :func:`fallbacks`.
        clock: the wall clock.
        chance: the source of jitter.
        may_send: asked right before each delivery; see :class:`monitor.leading.Lead`.
    """

    def __init__(
        self,
        history: History,
        channels: Mapping[str, Channel],
        *,
        fallbacks: Mapping[str, str] | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        chance: random.Random | None = None,
        may_send: Callable[[], bool] = lambda: True,
    ) -> None:
        self._history = history
        self._channels = channels
        self._fallbacks = dict(fallbacks or {})
        self._clock = clock
        self._chance = chance if chance is not None else random.Random()  # noqa: S311 - jitter, not a secret
        self._may_send = may_send
        self._began = time.monotonic()
        self._stopping = threading.Event()
        # One transaction at a time: channels are slow and the database is not, and connections are few.
        self._database = threading.Lock()
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="courier")
        self._kicking = threading.RLock()
        self._rounds: dict[str, Future[DeliveryReport]] = {}
        self._refresher = Refresher(channels)

    def __enter__(self) -> Courier:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Begin no delivery any more, and wait for those that are under way."""
        self._stopping.set()
        self._pool.shutdown(wait=True)

    def kick(self) -> DeliveryReport:
        """Have every channel that has something due begin, unless it is at it; return what ended since the last time.

        Raises:
            MonitorError: the database failed a channel since the last time; it is tried again.
        """
        with self._kicking:
            return self._kicked()

    def _kicked(self) -> DeliveryReport:
        done = DeliveryReport(stood_in=self._stand_in())
        ended = {name: future for name, future in self._rounds.items() if future.done()}
        for name in ended:
            del self._rounds[name]
        with self._history.read() as connection:
            ahead = turns.was_set_back(connection, now=self._clock())
        if ahead:
            with self._transaction() as connection:
                written = turns.set_back(connection, now=self._clock())
            _log.warning("the clock was set back", messages=written)
        with self._history.read() as connection:
            names = turns.due(connection, now=self._clock())
        for name in dict.fromkeys((*names, *self._refresher.due(self._clock()))):
            if name not in self._rounds and not self._stopping.is_set():
                self._rounds[name] = self._pool.submit(self._round, name)
        # Last: what went wrong in one channel holds up none.
        return sum((future.result() for future in ended.values()), done)

    def deliver_due(self, *, stop: Callable[[], bool] = lambda: False) -> DeliveryReport:
        """Deliver until nothing is due, or until told to stop, and return what became of it.

        Args:
            stop: asked before each message.

        Raises:
            MonitorError: the database failed.
        """
        total = DeliveryReport()
        while not stop():
            report = self.kick()
            while any(not future.done() for future in self._rounds.values()):
                wait(self._rounds.values(), timeout=0.1)
                if stop():
                    self._stopping.set()
            ended, self._rounds = self._rounds, {}
            report += sum((future.result() for future in ended.values()), DeliveryReport())
            total += report
            if report == DeliveryReport():
                break
        return total

    def _round(self, name: str) -> DeliveryReport:
        """Deliver what is due in one channel."""
        total = DeliveryReport()
        while not self._stopping.is_set() and self._may_send():
            with self._transaction() as connection:
                reason = disabled(connection).get(name)
                if reason is not None:
                    self._refresher.told(name, self._clock())
                    return total + self._buried(connection, name, reason)
                turn, overtaken = turns.take(connection, name, now=self._clock())
            total += DeliveryReport(overtaken=overtaken)
            # Between the transaction and here this process may have been stopped, and another may lead since: what the
            # database says of the message is right either way.
            if turn is None or not self._may_send():
                break
            outcome = self._deliver(turn.channel, turn.message)
            total += self._settled(turn, outcome)
        self._refresh(name)
        return total

    def _refresh(self, name: str) -> None:
        """Say again what is open in a channel that forgets; in its own round, so that nothing old follows the new."""
        if name not in self._refresher.due(self._clock()):
            return
        with self._database, self._history.read() as connection:
            messages = open_in(connection, name)
        for message in messages:
            if self._stopping.is_set() or not self._may_send():
                return
            outcome = self._deliver(name, message)
            if outcome.status is not Status.DELIVERED:
                _log.warning("not told again", channel=name, key=message.key, reason=outcome.reason)
                break
        self._refresher.told(name, self._clock())

    def _deliver(self, name: str, message: Message) -> Outcome:
        channel = self._channels.get(name)
        if channel is None:
            reason = f'there is no channel "{name}" in featurestore.toml'
            return Outcome(Status.RETRY, reason, untaken=True)
        try:
            return channel.deliver(message, now=self._clock())
        except Exception as error:  # noqa: BLE001 - a fault of the channel's own code is one attempt that failed
            # Not what the error says: it may quote an address that is a secret.
            where = traceback.format_tb(error.__traceback__)
            _log.error("channel failed", channel=name, key=message.key, where="".join(where))
            return Outcome(Status.RETRY, f"the channel failed: {type(error).__name__}")

    def _settled(self, turn: turns.Turn, outcome: Outcome) -> DeliveryReport:
        now, key = self._clock(), turn.message.key
        with self._transaction() as connection:
            settled = turns.settle(connection, turn, outcome, now=now, chance=self._chance)
            stood_in = self._stand_in_for(connection, turn.channel, settled.dead, now)
        if settled.state is MessageState.DELIVERED:
            return DeliveryReport(delivered=1)
        if settled.state is MessageState.DEAD:
            _log.error("message is dead", channel=turn.channel, key=key, reason=outcome.reason)
            return DeliveryReport(dead=len(settled.dead), stood_in=stood_in)
        _log.warning(
            "delivery failed", channel=turn.channel, key=key, reason=outcome.reason, retry_in=round(settled.wait, 1)
        )
        return DeliveryReport(delayed=1)

    def _buried(self, connection: Connection, name: str, reason: str) -> DeliveryReport:
        now = self._clock()
        dead = turns.bury(connection, outbox.c.channel == name, reason, now=now)
        if dead:
            _log.error("messages are dead", channel=name, count=len(dead), reason=reason)
        return DeliveryReport(dead=len(dead), stood_in=self._stand_in_for(connection, name, dead, now))

    def _stand_in_for(self, connection: Connection, name: str, incidents: tuple[str, ...], now: datetime) -> int:
        fallback = self._fallbacks.get(name)
        if fallback is None or not incidents:
            return 0
        return standing_in.stand_in(self._history, connection, incidents, name, fallback, now=now)

    def _stand_in(self) -> int:
        """Write the pages that are late for the fallbacks of their channels."""
        now, untried = self._clock(), time.monotonic() - self._began > _SETTLING_SECONDS
        with self._history.read() as connection:
            late = list(standing_in.late(connection, self._fallbacks, now=now, untried=untried))
        if not late:
            return 0
        written = 0
        with self._transaction() as connection:
            for channel, incident in late:
                written += self._stand_in_for(connection, channel, (incident,), now)
        return written

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        with self._database, self._history.write() as connection:
            yield connection
