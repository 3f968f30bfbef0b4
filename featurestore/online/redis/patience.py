"""How a writer waits for another one that holds a table: not for ever, and not without a word."""

from __future__ import annotations

import time
from collections.abc import Sequence

import structlog

from featurestore.errors import OnlineStoreError

#: Seconds that a holder is not heard of until others may go on: one that was killed holds them up for so long.
LEASE_SECONDS = 30.0
_LOOK_SECONDS = 0.02
_QUIET_SECONDS = 1.0

_logger = structlog.get_logger(__name__)


class Patience:
    """One wait for tables that another writer holds; it begins when it is made.

    Args:
        tables: that are waited for.
        seconds: after which it ends.
    """

    def __init__(self, tables: Sequence[str], seconds: float) -> None:
        self._tables = tables
        self._seconds = seconds
        self._began = time.monotonic()
        self._told = False

    def wait(self) -> None:
        """Wait for a moment; after a second it is logged, once, what is waited for.

        Raises:
            OnlineStoreError: the time is over.
        """
        waited = time.monotonic() - self._began
        if waited >= self._seconds:
            raise OnlineStoreError(
                f"Somebody else has written to a table of the online store for {self._seconds:g} s: "
                f"{', '.join(self._tables)}.",
                hint="Try again when the materialization, or the restore, that goes on has ended.",
            )
        if waited >= _QUIET_SECONDS and not self._told:
            self._told = True
            _logger.warning(
                "table is held by another process, or by one that was killed; this one waits",
                table=", ".join(self._tables),
                seconds_at_most=self._seconds,
                hint=f"One that was killed lets go within {LEASE_SECONDS:g} s.",
            )
        time.sleep(_LOOK_SECONDS)
