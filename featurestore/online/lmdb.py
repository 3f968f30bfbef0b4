"""The online store in an LMDB file: several processes read while one writes; the default.

Two sub-databases, opened once: ``rows`` has every row under an 8-byte prefix (number of the table, generation), and
``state`` one JSON record with the clock and each table's number and generation. A read transaction sees both as they
were at one instant. A sub-database for each table would need its handle opened in every server process while a
materialization holds the write lock; a prefix needs nothing.
"""

from __future__ import annotations

import json
import os
import struct
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lmdb

from featurestore.errors import OnlineStoreError
from featurestore.online.base import ORDER_BYTES, Read, Row, TableStatus, Written

#: Address space, not disk: the file grows as rows come.
_MAP_SIZE = 1 << 38
_MAX_READERS = 1024
_FORMAT = 1
_STATE = b"state"
_PREFIX = struct.Struct(">II")


class _State:
    """The state record: the clock, and by storage id [number, generation]."""

    def __init__(self, record: bytes | None) -> None:
        values = {"format": _FORMAT, "clock": None, "tables": {}} if record is None else json.loads(record)
        if values["format"] != _FORMAT:
            raise OnlineStoreError(
                f"The online store has format {values['format']}; this release reads {_FORMAT}.",
                hint="Materialize into a new store, or use the release that wrote it.",
            )
        self.clock: int | None = values["clock"]
        self.tables: dict[str, list[int]] = values["tables"]
        self.prefixes = {name: _PREFIX.pack(*table) for name, table in self.tables.items()}

    def to_json(self) -> bytes:
        return json.dumps({"format": _FORMAT, "clock": self.clock, "tables": self.tables}).encode()

    def prefix(self, storage_id: str) -> bytes:
        """Return the prefix of a table's rows, which is given a number if it has none."""
        number, generation = self.tables.setdefault(storage_id, [len(self.tables) + 1, 1])
        return self.prefixes.setdefault(storage_id, _PREFIX.pack(number, generation))


class LmdbStore:
    """An :class:`~featurestore.online.base.OnlineStore` in one folder.

    Args:
        folder: made when it is not there. A process may open it more than once; a process that is forked must open
            its own.
        durable: whether a write is on disk before it returns. False suits a rehearsal, whose store is made anew; a
            crash of the machine may then break it.

    Raises:
        OnlineStoreError: the folder cannot be made or opened.
    """

    def __init__(self, folder: Path, *, durable: bool = True) -> None:
        self._folder = folder
        self._shared = _open(folder, durable)
        self._env: Any = self._shared.env
        self._rows: Any = self._shared.rows
        self._state_db: Any = self._shared.state
        #: The record last read and what it says: one value, since threads that see different snapshots share it.
        self._known: tuple[bytes | None, _State] = (None, _State(None))

    def read(self, requests: Sequence[tuple[str, Sequence[bytes | None]]]) -> Read:
        """See :meth:`OnlineStore.read <featurestore.online.base.OnlineStore.read>`."""
        try:
            with self._env.begin(self._rows) as transaction:
                get = transaction.get
                state = self._cached(get(_STATE, None, self._state_db))
                generations: list[int] = []
                values: list[list[bytes | None]] = []
                for name, keys in requests:
                    prefix = state.prefixes.get(name)
                    if prefix is None:
                        generations.append(0)
                        values.append([None] * len(keys))
                        continue
                    generations.append(state.tables[name][1])
                    values.append([None if key is None else get(prefix + key) for key in keys])
                return Read(state.clock, generations, values)
        except lmdb.Error as error:
            raise self._failed("read", error) from error

    def _cached(self, record: bytes | None) -> _State:
        known, state = self._known
        if record != known:
            state = _State(record)
            self._known = (record, state)
        return state

    @contextmanager
    def _writing(self) -> Iterator[tuple[Any, _State]]:
        try:
            with self._env.begin(self._rows, write=True) as transaction:
                state = _State(transaction.get(_STATE, None, self._state_db))
                before = state.to_json()
                yield transaction, state
                after = state.to_json()
                if after != before:
                    transaction.put(_STATE, after, db=self._state_db)
        except lmdb.Error as error:
            raise self._failed("written", error) from error

    def put_newest(self, storage_id: str, rows: Iterable[Row]) -> Written:
        """See :meth:`OnlineStore.put_newest <featurestore.online.base.OnlineStore.put_newest>`."""
        with self._writing() as (transaction, state):
            return _put(transaction, state.prefix(storage_id), rows)

    def replace(self, storage_id: str, rows: Iterable[Row]) -> int:
        """See :meth:`OnlineStore.replace <featurestore.online.base.OnlineStore.replace>`."""
        # One transaction, so no newer row can be put meanwhile into the generation that goes.
        with self._writing() as (transaction, state):
            old = state.prefix(storage_id)
            state.tables[storage_id][1] += 1
            generation = state.tables[storage_id][1]
            _put(transaction, _PREFIX.pack(*state.tables[storage_id]), rows)
            with transaction.cursor() as cursor:
                found = cursor.set_range(old)
                while found and cursor.key().startswith(old):
                    found = cursor.delete()
            return generation

    def clock(self) -> int | None:
        """See :meth:`OnlineStore.clock <featurestore.online.base.OnlineStore.clock>`."""
        return self.read(()).clock

    def advance(self, expected: int | None, now: int, rows: Mapping[str, Sequence[Row]]) -> Written | None:
        """See :meth:`OnlineStore.advance <featurestore.online.base.OnlineStore.advance>`."""
        with self._writing() as (transaction, state):
            if state.clock != expected:
                return None
            counts = [_put(transaction, state.prefix(name), part) for name, part in rows.items()]
            state.clock = now
            return Written(sum(one.written for one in counts), sum(one.older for one in counts))

    def clear(self) -> None:
        """See :meth:`OnlineStore.clear <featurestore.online.base.OnlineStore.clear>`."""
        try:
            with self._env.begin(write=True) as transaction:
                transaction.drop(self._rows, delete=False)
                transaction.drop(self._state_db, delete=False)
        except lmdb.Error as error:
            raise self._failed("cleared", error) from error

    def status(self) -> dict[str, TableStatus]:
        """See :meth:`OnlineStore.status <featurestore.online.base.OnlineStore.status>`."""
        try:
            with self._env.begin(self._rows) as transaction, transaction.cursor() as cursor:
                state = self._cached(transaction.get(_STATE, None, self._state_db))
                found = {}
                for name, prefix in state.prefixes.items():
                    rows = size = 0
                    more = cursor.set_range(prefix)
                    while more and cursor.key().startswith(prefix):
                        rows += 1
                        size += len(cursor.key()) - len(prefix) + len(cursor.value())
                        more = cursor.next()
                    found[name] = TableStatus(rows=rows, bytes=size, generation=state.tables[name][1])
                return found
        except lmdb.Error as error:
            raise self._failed("read", error) from error

    def close(self) -> None:
        """See :meth:`OnlineStore.close <featurestore.online.base.OnlineStore.close>`."""
        if self._env is not None:
            self._env = self._rows = self._state_db = None
            _release(self._shared)

    def _failed(self, verb: str, error: lmdb.Error) -> OnlineStoreError:
        if isinstance(error, (lmdb.MapFullError, lmdb.DiskError)):
            hint = "Free space on the disk."
        elif isinstance(error, lmdb.ReadersFullError):
            hint = f"At most {_MAX_READERS} readers may be open at once; stop some."
        else:
            hint = "If it is damaged, remove the folder and materialize again."
        return OnlineStoreError(f"The online store {self._folder} cannot be {verb}: {error}.", hint=hint)


def _put(transaction: Any, prefix: bytes, rows: Iterable[Row]) -> Written:
    get, put = transaction.get, transaction.put
    written = older = 0
    for key, value in rows:
        full = prefix + key
        present = get(full)
        if present is None or present[:ORDER_BYTES] < value[:ORDER_BYTES]:
            put(full, value)
            written += 1
        else:
            older += 1
    return Written(written, older)


class _Environment:
    """An open LMDB environment: one for each folder and process, since LMDB forbids a second."""

    def __init__(self, folder: Path, durable: bool) -> None:
        self.folder = folder
        self.users = 0
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self.env = lmdb.open(
                str(folder), map_size=_MAP_SIZE, max_dbs=2, max_readers=_MAX_READERS, sync=durable, max_spare_txns=8
            )
            self.env.reader_check()  # slots of readers that were killed
            self.rows = self.env.open_db(b"rows")
            self.state = self.env.open_db(b"state")
        except (OSError, lmdb.Error) as error:
            raise OnlineStoreError(
                f"The online store {folder} cannot be opened: {error}.", hint='Check "online" in featurestore.toml.'
            ) from error


_environments: dict[tuple[int, Path], _Environment] = {}
_environments_lock = threading.Lock()


def _open(folder: Path, durable: bool) -> _Environment:
    with _environments_lock:
        # With the process's id: an environment does not survive a fork.
        name = (os.getpid(), folder.absolute())
        if name not in _environments:
            _environments[name] = _Environment(folder.absolute(), durable)
        found = _environments[name]
        found.users += 1
        return found


def _release(shared: _Environment) -> None:
    with _environments_lock:
        shared.users -= 1
        if shared.users == 0:
            del _environments[os.getpid(), shared.folder]
            shared.env.close()
