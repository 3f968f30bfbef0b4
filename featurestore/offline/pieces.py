"""A part of a view's source that is loaded as one, whatever reads it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any

import pyarrow as pa

from featurestore.config import Config

#: How the ids of loads begin that name what was read: files, and a version of a Delta table. Wherever such a load
#: stands, the same was read; so a table that took its rows over need not read them again.
FILES, DELTA = "source-", "delta-"


class Piece(ABC):
    """A file, a query's result, or what is new in a table.

    Args:
        name: for messages: the file's name, or what is queried.
        load_id: the same while the piece holds the same rows; so what was loaded is not loaded again.
        location: where it lies in this environment, without secrets; empty if a caller named it.
        notes: what the user should know of how it is read.
    """

    def __init__(self, *, name: str, load_id: str, location: str = "", notes: tuple[str, ...] = ()) -> None:
        self.name = name
        self.load_id = load_id
        self.location = location
        self.notes = notes

    @abstractmethod
    def read(self, config: Config, what: str) -> AbstractContextManager[pa.RecordBatchReader]:
        """Open the rows as a stream.

        Args:
            config: the store's settings.
            what: whose source it is, to begin messages.

        Raises:
            DataError: the rows cannot be read; the message names ``what`` and the piece.
        """

    def watermark(self) -> Mapping[str, Any] | None:
        """Return up to where the source is loaded once the rows were read, as JSON values; None if nothing says so."""
        return None
