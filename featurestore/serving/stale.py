"""What is served while the online store is away: the rows of its local copy, with the instant that they are as of."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from featurestore.errors import OnlineStoreAwayError, OnlineStoreError
from featurestore.online import LmdbStore
from featurestore.online.local_copy import LocalCopy
from featurestore.serving.plan import StoredView
from featurestore.serving.rows import RowReader, StoredRows

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class StaleRows:
    """Reads rows of a local copy.

    Args:
        copy: the copy.
        limit: bytes, about, that rows which were read may take.
    """

    def __init__(self, copy: LocalCopy, *, limit: int) -> None:
        self._copy = copy
        self._limit = limit
        self._read: tuple[LmdbStore, RowReader] | None = None

    def read(
        self, views: Sequence[StoredView], columns: Mapping[str, Sequence[Any]], error: OnlineStoreAwayError
    ) -> tuple[StoredRows, int]:
        """Return the rows of some views, and up to when they are complete, microseconds since 1970.

        Args:
            views: uses of stored views.
            columns: by name of a request's column, its values; all of one length.
            error: why the store cannot be read.

        Raises:
            OnlineStoreAwayError: the copy lacks a table, or is too old; so the store's being away is the answer.
        """
        if not views:
            raise error
        try:
            complete_to = self._copy.complete_to({view.storage_id for view in views})
            store = self._copy.store
            if complete_to is None or store is None:
                raise _instead(error, "There is no local copy of these views yet.")
            if complete_to < time.time_ns() // 1000 - self._copy.max_age // timedelta(microseconds=1):
                at = _EPOCH + timedelta(microseconds=complete_to)
                raise _instead(
                    error, f"The local copy is of {at:%Y-%m-%d %H:%M:%S} UTC, longer ago than fallback_max_age."
                )
            if self._read is None or self._read[0] is not store:
                self._read = store, RowReader(store, limit=self._limit)
            return self._read[1].read(views, columns), complete_to
        except OnlineStoreAwayError:
            raise
        except OnlineStoreError as broken:
            raise _instead(error, broken.message) from broken

    def complete_to(self, names: set[str]) -> int | None:
        """Return up to when the copy of some tables is complete, microseconds since 1970; None if there is none."""
        try:
            return self._copy.complete_to(names) if names else None
        except OnlineStoreError:  # whoever needs the copy is told; this only says how it stands
            return None


def _instead(error: OnlineStoreAwayError, why: str) -> OnlineStoreAwayError:
    return OnlineStoreAwayError(f"{error.message} {why}", hint=error.hint)
