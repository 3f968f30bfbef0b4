"""Messages that nobody needs any more go after ``[retention] messages``.

All messages about one incident, signal or action go together, or none: the next one about it goes into the thread that
the first one began, is in order with them, and may be one of them, which its key says. So what they are about has to be
over, and none of them may wait or be a dead letter. What happened stands in the timeline for ever.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, case, delete, func, literal, select

from featurestore.config import Config
from featurestore.offline.tables.garbage import Garbage
from featurestore.types import microseconds
from monitor.alerts.outbox import MessageState
from monitor.history import History
from monitor.retraining.states import SignalState
from monitor.rollback.values import ActionState
from monitor.schema import actions, incidents, outbox, signals

#: The messages of so many incidents are removed in one transaction: others write beside it.
AT_ONCE = 500

#: Of these a receiver has the last word, or nobody: nothing more is said by itself.
_OVER = (SignalState.LAPSED, SignalState.REJECTED, SignalState.EXPIRED, SignalState.DONE, SignalState.FAILED)
_AT_WORK = (ActionState.BEGUN, ActionState.UNDOING)
_SQLITE = "sqlite:///"

#: What messages are together for; one that is about nothing is alone.
_SUBJECT = case((outbox.c.incident == "", outbox.c.key), else_=outbox.c.incident)


@dataclass(frozen=True, kw_only=True)
class Old:
    """Messages that were settled long ago.

    Attributes:
        messages: how many may go.
        bytes: of what they say.
        kept: those that something needs still: by what, how many, and how many bytes.
    """

    messages: int = 0
    bytes: int = 0
    kept: dict[str, tuple[int, int]] = field(default_factory=dict)


def find_old(connection: Connection, *, before: datetime) -> Old:
    """Return how much was settled before an instant, and what of it something needs still."""
    found: dict[str, tuple[int, int]] = {}
    in_use = _in_use(connection)
    for row in connection.execute(_settled(before, func.sum(func.length(outbox.c.payload)))):
        keeper = _keeper(row, in_use)
        messages, size = found.get(keeper, (0, 0))
        found[keeper] = (messages + row.messages, size + row.bytes)
    messages, size = found.pop("", (0, 0))
    return Old(messages=messages, bytes=size, kept=found)


def prune(connection: Connection, *, before: datetime) -> int:
    """Remove messages that were settled before an instant and that nothing needs, and return how many there were.

    Call it until there are none: the rest is for another transaction.

    Args:
        connection: a transaction that writes.
        before: all messages of an incident have to be older.
    """
    in_use = _in_use(connection)
    going = [row.subject for row in connection.execute(_settled(before, literal(0))) if not _keeper(row, in_use)]
    return connection.execute(delete(outbox).where(_SUBJECT.in_(going[:AT_ONCE]))).rowcount if going else 0


def prune_all(history: History, config: Config, *, now: datetime, stop: Callable[[], bool] = lambda: False) -> int:
    """Remove what ``[retention] messages`` says, and return how many there were.

    Args:
        history: the monitor's database.
        config: the setting; without one everything is kept.
        now: the wall clock.
        stop: asked before each transaction.
    """
    kept, total = config.retention.messages, 0
    while kept is not None and not stop():
        with history.write() as connection:
            removed = prune(connection, before=now - kept)
        if not removed:
            break
        total += removed
    return total


def collector(config: Config) -> OldMessages:
    """Return what ``featurestore gc`` removes of the monitor's, for the entry point ``featurestore.collectors``."""
    return OldMessages(config)


class OldMessages:
    """The old messages of the monitor's database; see :class:`featurestore.store.collectors.Collector`.

    Args:
        config: says where the database lies, and how long messages are kept.
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        self._url = config.database_url(config.monitor.database)

    def find(self, *, now: datetime) -> Iterator[Garbage]:
        """Yield what may go, and what may not and why."""
        kept = self._config.retention.messages
        # Opening a database makes it.
        if kept is None or not (not self._url.startswith(_SQLITE) or Path(self._url.removeprefix(_SQLITE)).exists()):
            return
        with History(self._url) as history, history.read() as connection:
            found = find_old(connection, before=now - kept)
        if found.messages:
            yield _garbage(found.messages, found.bytes)
        for keeper, (messages, size) in found.kept.items():
            yield _garbage(messages, size, keeper)

    def remove(self, *, now: datetime) -> None:
        """Remove what may go."""
        with History(self._url) as history:
            prune_all(history, self._config, now=now)


def _garbage(messages: int, size: int, keeper: str = "") -> Garbage:
    return Garbage(kind="message", what="of the monitor", paths=(), size=size, rows=messages, kept_by=keeper)


def _settled(before: datetime, size: Any) -> Any:
    """Select what messages are about, where all that is settled of them was settled before an instant."""
    return (
        select(
            _SUBJECT.label("subject"),
            func.count().label("messages"),
            size.label("bytes"),
            func.sum(case((outbox.c.state == MessageState.PENDING, 1), else_=0)).label("waiting"),
            func.sum(case((outbox.c.state == MessageState.DEAD, 1), else_=0)).label("dead"),
        )
        .group_by(_SUBJECT)
        .having(func.max(outbox.c.settled_at) < microseconds(before))
        .order_by(func.min(outbox.c.id))
    )


def _in_use(connection: Connection) -> dict[str, str]:
    """Return what is not over, by what messages call it."""
    goes_on = select(incidents.c.key).where(~incidents.c.settled)
    waits = select(signals.c.id).where(signals.c.state.not_in([str(one) for one in _OVER]))
    at_work = select(actions.c.number).where(actions.c.state.in_([str(one) for one in _AT_WORK]))
    return {
        **dict.fromkeys(connection.execute(goes_on).scalars(), "an incident that is not over"),
        **dict.fromkeys(connection.execute(waits).scalars(), "a retraining signal that is not over"),
        **{f"action-{one}": "an action that is not done" for one in connection.execute(at_work).scalars()},
    }


def _keeper(row: Any, in_use: dict[str, str]) -> str:
    """Return what needs the messages of a row of :func:`_settled`; "" where nothing does."""
    if row.waiting:
        return "a message that waits"
    if row.dead:
        return "a dead letter: featurestore monitor outbox replay --dead"
    return in_use.get(row.subject, "")
