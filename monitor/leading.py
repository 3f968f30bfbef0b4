"""One monitor leads a database: it alone judges and delivers. The others stand by.

On SQLite by a lock on a file (:mod:`monitor.lock`), on PostgreSQL by a lease (:mod:`monitor.lease`).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

import structlog
from sqlalchemy import Connection

from featurestore.errors import FeatureStoreError, MonitorError
from monitor.history import History
from monitor.lease import Lease
from monitor.lock import FileLock

#: How long a lease lasts that is not renewed, in seconds, unless the configuration says otherwise.
LEASE_SECONDS = 15.0

#: How often a monitor that stands by tries to take over.
_TURN_SECONDS = 0.5

_log = structlog.get_logger("monitor.leading")


class Lead(Protocol):
    """That this process leads."""

    def valid(self) -> bool:
        """Return whether it surely leads now. Ask right before what cannot be taken back, such as a message.

        False may pass: the database cannot be reached, and nobody else leads perhaps.
        """
        ...

    def lost(self) -> bool:
        """Return whether another one has taken over, for good."""
        ...


class _Claim(Lead, Protocol):
    """What leads when it is taken."""

    def take(self) -> bool:
        """Take it, and return whether it is ours."""
        ...

    def holder(self) -> str:
        """Return who has it."""
        ...

    def fence(self, connection: Connection) -> None:
        """See :attr:`monitor.history.History.fence`."""
        ...

    def close(self) -> None:
        """Give it back, if it is ours."""
        ...


@contextmanager
def sole_monitor(history: History, *, lease_seconds: float = LEASE_SECONDS) -> Iterator[Lead]:
    """Lead a database while the block runs.

    Args:
        history: the database.
        lease_seconds: after so long another one may take over from a process that stopped.

    Raises:
        MonitorError: another process leads; the message names it.
    """
    with _claimed(history, lease_seconds) as claim:
        if not claim.take():
            raise MonitorError(
                f"Another monitor ({claim.holder()}) works on {history.name}.",
                hint="It does the same; see featurestore monitor status. To take over, stop it first.",
            )
        yield claim


@contextmanager
def next_monitor(
    history: History, *, stop: threading.Event, waiting: Callable[[str], None], lease_seconds: float = LEASE_SECONDS
) -> Iterator[Lead | None]:
    """Lead a database while the block runs, when who leads it has ended.

    Args:
        history: the database.
        stop: ends the waiting.
        waiting: told who leads, when there is one to wait for and when it is another one.
        lease_seconds: see :func:`sole_monitor`.

    Yields:
        The lead; None when the waiting was ended.
    """
    with _claimed(history, lease_seconds) as claim:
        told = ""
        while not _taken(claim):
            holder = _holder(claim)
            if holder and holder != told:
                waiting(holder)
                told = holder
            if stop.wait(_TURN_SECONDS):
                yield None
                return
        yield claim


def _taken(claim: _Claim) -> bool:
    try:
        return claim.take()
    except FeatureStoreError as error:
        # Who stands by has time: a database that is away may come back.
        _log.warning("cannot take over", error=error.message, hint=error.hint)
        return False


def _holder(claim: _Claim) -> str:
    try:
        return claim.holder()
    except FeatureStoreError:
        return ""


@contextmanager
def _claimed(history: History, lease_seconds: float) -> Iterator[_Claim]:
    claim: _Claim = FileLock(history.path) if history.path else Lease(history, seconds=lease_seconds)
    history.fence = claim.fence
    try:
        yield claim
    finally:
        claim.close()
        history.fence = None
