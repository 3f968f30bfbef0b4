"""The entity rows of each key in order of their instants, and the newest feature row for each.

Sorting the entity rows is cheaper than sorting the feature rows, of which there are mostly many more: a feature row is
looked up among the instants of its key, and only the newest of those that fall between two instants is kept. So feature
rows come in any order, a batch at a time, and memory grows with the entity rows alone.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

#: The column of :attr:`Timelines.keys` with the number of a key.
CODE = "code"
_NEVER = np.iinfo(np.int64).min


@dataclass(frozen=True, kw_only=True)
class Tied:
    """Entity rows whose newest feature rows are several, with one instant.

    Attributes:
        codes: of their keys.
        instants: of the feature rows.
        slots: what :meth:`Timelines.settle` takes.
    """

    codes: NDArray[np.int32]
    instants: NDArray[np.int64]
    slots: NDArray[np.int64]


class Timelines:
    """The instants of entity rows, key by key, each a slot for the newest feature row since the instant before it.

    Attributes:
        keys: each key once: ``k0``, ``k1`` ..., and ``code``, its number: int32.
    """

    def __init__(self, keys: Sequence[pa.ChunkedArray], instants: NDArray[np.int64]) -> None:
        """Sort the entity rows.

        Args:
            keys: the key columns of the entity rows, of which there is one at least.
            instants: theirs, in microseconds.
        """
        codes, firsts = _encoded(keys)
        columns = {f"k{number}": column.take(pa.array(firsts)) for number, column in enumerate(keys)}
        self.keys = pa.table(columns | {CODE: np.arange(len(firsts), dtype=np.int32)})
        self._order = _order(codes, instants)
        self._instants = instants[self._order]
        counts = np.bincount(codes, minlength=len(firsts))
        # Places of half the width, as long as the steps of a search cannot overflow them.
        narrow = np.int32 if len(instants) < 1 << 30 else np.int64
        self._starts: NDArray[Any] = np.concatenate(([0], np.cumsum(counts))).astype(narrow)
        self._steps = [narrow(1 << power) for power in reversed(range(int(counts.max()).bit_length()))]
        self._lock = threading.Lock()
        self._newest = np.full(len(instants), _NEVER, np.int64)
        self._events = self._newest
        self._places = np.full(len(instants), -1, np.int64)
        self._ties = np.full(len(instants), _NEVER, np.int64)

    def offer(
        self,
        codes: NDArray[np.int32],
        instants: NDArray[np.int64],
        places: NDArray[np.int64],
        events: NDArray[np.int64] | None = None,
    ) -> None:
        """Take feature rows in, in any order and from any thread.

        Args:
            codes: of their keys.
            instants: from when on each counts, in microseconds; of a key, the one with the latest is the newest.
            places: what is to be known of the newest.
            events: their event times, where these are other than ``instants``: then for all rows that are ever offered.
        """
        slots, ends = self._search(codes, instants)
        with self._lock:
            if events is not None and self._events is self._newest:
                self._events = np.zeros(len(self._newest), np.int64)
            self._keep(slots, ends, instants, places, events)

    def _search(self, codes: NDArray[np.int32], instants: NDArray[np.int64]) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return for each feature row the first slot of its key that is not before it, and the end of the key's."""
        slots, ends = self._starts.take(codes), self._starts.take(codes + 1)
        # A binary search of all at once: each step is half the one before, taken where the slots passed are too early.
        for step in self._steps:
            last: NDArray[Any] = slots + (step - 1)
            passed = self._instants.take(last, mode="clip") < instants
            passed &= last < ends
            slots += passed * step
        return slots, ends

    def _keep(
        self,
        slots: NDArray[Any],
        ends: NDArray[Any],
        instants: NDArray[np.int64],
        places: NDArray[np.int64],
        events: NDArray[np.int64] | None,
    ) -> None:
        within = np.flatnonzero(slots < ends)
        slots, instants = slots[within], instants[within]
        before = self._newest[slots]
        newer = np.flatnonzero(instants >= before)
        slots, instants, before, within = slots[newer], instants[newer], before[newer], within[newer]
        np.maximum.at(self._newest, slots, instants)
        newest = np.flatnonzero(self._newest[slots] == instants)
        slots, instants, before, within = slots[newest], instants[newest], before[newest], within[newest]
        places = places[within]
        self._places[slots] = places
        if events is not None:
            self._events[slots] = events[within]
        # Another row of the same instant was there before, or stands beside it in what came now.
        tied = (before == instants) | (self._places[slots] != places)
        self._ties[slots[tied]] = instants[tied]

    def tied(self) -> Tied:
        """Return the entity rows for which several feature rows are the newest, and any one of them was kept."""
        slots = np.flatnonzero((self._ties == self._newest) & (self._places >= 0))
        codes = np.searchsorted(self._starts, slots, "right") - 1
        return Tied(codes=codes.astype(np.int32), instants=self._newest[slots], slots=slots)

    def settle(self, slots: NDArray[np.int64], places: NDArray[np.int64]) -> None:
        """Say which of the feature rows that tie are the newest: those at ``places``."""
        self._places[slots] = places

    def answers(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return place and event time of the newest feature row of each entity row; -1 and 0 where there is none."""
        # What is the newest at an instant stays so for those of its key after it, until a newer one comes.
        there = self._places >= 0
        there[self._starts[:-1]] = True
        filled = np.maximum.accumulate(np.where(there, np.arange(len(there)), 0))
        places, events = np.empty(len(there), np.int64), np.empty(len(there), np.int64)
        found = self._places[filled]
        places[self._order] = found
        events[self._order] = np.where(found >= 0, self._events[filled], 0)
        return places, events


def _encoded(keys: Sequence[pa.ChunkedArray]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Return the number of each row's key, from 0, and a row of each key, by its number."""
    codes = np.zeros(len(keys[0]), np.int32)
    for number, column in enumerate(keys):
        # Chunk by chunk, as long texts do not fit into one array; all have the dictionary of the whole.
        chunks = column.dictionary_encode("encode").chunks
        more = np.concatenate([chunk.indices.to_numpy() for chunk in chunks])
        if number:
            glued = pa.array(codes * np.int64(len(chunks[0].dictionary)) + more)
            more = glued.dictionary_encode().indices.to_numpy()
        codes = more
    firsts = np.zeros(int(codes.max()) + 1, np.int64)
    firsts[codes] = np.arange(len(codes))
    return codes, firsts


def _order(codes: NDArray[np.int32], instants: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the rows, one at least, in order of key and instant."""
    first, last = int(instants.min()), int(instants.max())
    bits = (last - first).bit_length()
    if bits + int(codes.max()).bit_length() > 63:
        return np.lexsort((instants, codes))
    # Both in one number: that sorts in a third of the time.
    glued = (codes.astype(np.int64) << bits) | (instants - first)
    return pl.Series(glued).arg_sort().to_numpy().astype(np.int64)
