"""Reads of an LMDB store's rows: one transaction each, and what a snapshot says beside its rows is read once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from featurestore.online.base import Read
from featurestore.online.lmdb_files import STATE, Environment
from featurestore.online.lmdb_state import SNAPSHOT, State


class _Seen(NamedTuple):
    """What one snapshot says beside its rows. Of one file, a transaction with the same number sees the same.

    Attributes:
        shared: the file.
        number: of the transaction that made the snapshot.
        state: its state record.
        written: by storage id, as far as it was asked, the snapshot in which the table was last written.
    """

    shared: Environment
    number: int
    state: State
    written: dict[str, int]


class SnapshotReader:
    """Reads rows; threads may share it."""

    def __init__(self) -> None:
        # Each is one value, as threads that see different snapshots share it.
        #: The state record last read, and what it says: most transactions leave it as it is.
        self._known: tuple[bytes | None, State] = (None, State(None))
        self._seen: _Seen | None = None

    def read(self, shared: Environment, requests: Sequence[tuple[str, Sequence[bytes | None]]]) -> Read | None:
        """Return the rows of one snapshot; None if the file is no longer the store.

        Args:
            shared: the file.
            requests: storage ids with the keys wanted; None is no key.

        Raises:
            lmdb.Error: the file cannot be read.
            OnlineStoreError: the store has a format that this release does not read.
        """
        # Every get lets go of Python's lock, so what is known is not asked for again.
        with shared.env.begin(shared.rows) as transaction:
            get, number = transaction.get, transaction.id()
            seen = self._seen
            if seen is None or seen.number != number or seen.shared is not shared:
                self._seen = seen = _Seen(shared, number, self._state(get(STATE, None, shared.state)), {})
            state, written = seen.state, seen.written
            if state.moved:
                return None
            snapshot = shared.confirm(number, state.base)
            generations: list[int] = []
            values: list[list[bytes | None]] = []
            writes: list[int] = []
            for name, keys in requests:
                prefix = state.prefixes.get(name)
                if prefix is None:
                    generations.append(0)
                    values.append([None] * len(keys))
                    writes.append(0)
                    continue
                generations.append(state.tables[name][1])
                values.append([None if key is None else get(prefix + key) for key in keys])
                last = written.get(name)
                if last is None:
                    record = get(state.writes_key(name), None, shared.state)
                    # A store of before these were noted has none: its rows count as written before every snapshot.
                    last = written[name] = 0 if record is None else SNAPSHOT.unpack(record)[0]
                writes.append(last)
            return Read(state.clock, generations, values, snapshot, writes)

    def _state(self, record: bytes | None) -> State:
        known, state = self._known
        if record != known:
            state = State(record)
            self._known = (record, state)
        return state
