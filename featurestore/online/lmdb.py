"""The online store in an LMDB file: several processes read while one writes; the default.

Two sub-databases, opened once: ``rows`` has every row under an 8-byte prefix (number of the table, generation), and
``state`` one JSON record with the clock and each table's number and generation, and for each table the snapshot in
which it was last written. A read transaction sees all of it as it was at one instant. A sub-database for each table
would need its handle opened in every server process while a materialization holds the write lock; a prefix needs
nothing.

LMDB never clears what it removes: of 50 deleted keys 91 copies stayed in a file of 20,000 rows, in free pages, in the
gaps of pages in use, and in branches as signposts. So to forget them the rows that are left are copied to a new file.
The file ``current`` names its folder, and the old one says that it is no longer the store.
"""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lmdb

from featurestore.errors import OnlineStoreError
from featurestore.online.base import (
    ORDER_BYTES,
    Expired,
    Read,
    Row,
    Space,
    Standing,
    TableStatus,
    Written,
    event_time,
    settles,
    total,
)
from featurestore.online.lmdb_expiry import delete_older, look_for_older
from featurestore.online.lmdb_files import (
    MAX_READERS,
    STATE,
    Environment,
    copy_rows,
    new_place,
    open_store,
    place_of,
    point_to,
    release,
    remove_others,
    space_of,
)
from featurestore.online.lmdb_reading import SnapshotReader
from featurestore.online.lmdb_rows import delete_rows, put_rows
from featurestore.online.lmdb_standings import note_expired, note_progress, progress_of, replace_standing, standing_of
from featurestore.online.lmdb_state import PREFIX, SNAPSHOT, State

#: No read takes so long.
_READING_SECONDS = 60.0


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
        self._durable = durable
        #: Environments of files that are no longer the store, and since when: other threads may still read in them.
        self._left: list[tuple[float, Environment]] = []
        self._moving = threading.Lock()
        self._closed = False
        self._shared = open_store(folder, durable)
        self._reader = SnapshotReader()

    def _move(self, left: Environment) -> None:
        """Go on in the file that is the store now."""
        with self._moving:
            if self._shared is not left:  # another thread did
                return
            found = open_store(self._folder, self._durable)
            if found.folder == left.folder:
                release(found)
                raise OnlineStoreError(
                    f"The online store {self._folder} is another file, and does not say which.",
                    hint="Remove the folder and materialize again.",
                )
            now = time.monotonic()
            for since, one in self._left:
                if now - since > _READING_SECONDS:
                    release(one)
            self._left = [*(one for one in self._left if now - one[0] <= _READING_SECONDS), (now, left)]
            self._shared = found

    def read(self, requests: Sequence[tuple[str, Sequence[bytes | None]]]) -> Read:
        """See :meth:`OnlineStore.read <featurestore.online.base.OnlineStore.read>`."""
        shared = self._shared
        found = self._read(shared, requests)
        while found is None:
            self._move(shared)
            shared = self._shared
            found = self._read(shared, requests)
        return found

    def _read(self, shared: Environment, requests: Sequence[tuple[str, Sequence[bytes | None]]]) -> Read | None:
        try:
            return self._reader.read(shared, requests)
        except lmdb.Error as error:
            raise self._failed("read", error) from error

    def snapshot(self) -> int | None:
        """See :meth:`OnlineStore.snapshot <featurestore.online.base.OnlineStore.snapshot>`."""
        return self._shared.snapshot()

    @contextmanager
    def _writing(self) -> Iterator[tuple[Any, State]]:
        with self._locked() as (transaction, shared):
            state = State(transaction.get(STATE, None, shared.state))
            before = state.to_json()
            yield transaction, state
            after = state.to_json()
            if after != before:
                transaction.put(STATE, after, db=shared.state)
            now = SNAPSHOT.pack(state.base + transaction.id())
            for name in state.written:
                transaction.put(state.writes_key(name), now, db=shared.state)

    @contextmanager
    def _locked(self) -> Iterator[tuple[Any, Environment]]:
        """Yield a transaction that writes, in the file that is the store for as long as it lasts."""
        try:
            while True:
                shared = self._shared
                with shared.env.begin(shared.rows, write=True) as transaction:
                    # The name, not the mark in the old file: whoever copied the rows may have died in between.
                    if place_of(self._folder) == shared.folder:
                        yield transaction, shared
                        return
                self._move(shared)
        except lmdb.Error as error:
            raise self._failed("written", error) from error

    def put_newest(self, storage_id: str, rows: Iterable[Row]) -> Written:
        """See :meth:`OnlineStore.put_newest <featurestore.online.base.OnlineStore.put_newest>`."""
        with self._writing() as (transaction, state):
            return put_rows(transaction, state.prefix(storage_id), rows)

    def put_all(self, rows: Mapping[str, Sequence[Row]]) -> Written:
        """See :meth:`OnlineStore.put_all <featurestore.online.base.OnlineStore.put_all>`."""
        with self._writing() as (transaction, state):
            return total(put_rows(transaction, state.prefix(name), part) for name, part in rows.items())

    def settle(self, storage_id: str, rows: Iterable[tuple[bytes, bytes, bytes]]) -> int:
        """See :meth:`OnlineStore.settle <featurestore.online.base.OnlineStore.settle>`."""
        written = 0
        with self._writing() as (transaction, state):
            prefix = state.prefix(storage_id)
            for key, provisional, final in rows:
                full = prefix + key
                if settles(transaction.get(full), provisional, final):
                    transaction.put(full, final)
                    written += 1
        return written

    def replace(self, storage_id: str, rows: Iterable[Row], *, progress: bytes | None = None) -> int:
        """See :meth:`OnlineStore.replace <featurestore.online.base.OnlineStore.replace>`."""
        # One transaction, so no newer row can be put meanwhile into the generation that goes.
        with self._writing() as (transaction, state):
            old = state.prefix(storage_id)
            state.tables[storage_id][1] += 1
            generation = state.tables[storage_id][1]
            put_rows(transaction, PREFIX.pack(*state.tables[storage_id]), rows)
            delete_rows(transaction, old)
            replace_standing(transaction, self._shared.state, storage_id, progress)
            return generation

    def replace_keys(
        self,
        storage_id: str,
        keys: Iterable[bytes],
        rows: Iterable[Row],
        *,
        expected: bytes | None,
        progress: bytes,
    ) -> Written | None:
        """See :meth:`OnlineStore.replace_keys <featurestore.online.base.OnlineStore.replace_keys>`."""
        with self._writing() as (transaction, state):
            if progress_of(transaction, self._shared.state, storage_id) != expected:
                return None
            prefix = state.prefix(storage_id)
            for key in keys:
                transaction.delete(prefix + key)
            written = put_rows(transaction, prefix, rows)
            note_progress(transaction, self._shared.state, storage_id, progress)
            return written

    def standing(self, storage_id: str) -> Standing:
        """See :meth:`OnlineStore.standing <featurestore.online.base.OnlineStore.standing>`."""
        self.read(())  # which goes on to the file that is the store now
        shared = self._shared
        try:
            with shared.env.begin(shared.state) as transaction:
                return standing_of(transaction, shared.state, storage_id)
        except lmdb.Error as error:
            raise self._failed("read", error) from error

    def put_step(
        self,
        storage_id: str,
        rows: Sequence[Row],
        *,
        expected: bytes | None,
        progress: Callable[[Written], bytes],
    ) -> Written | None:
        """See :meth:`OnlineStore.put_step <featurestore.online.base.OnlineStore.put_step>`."""
        with self._writing() as (transaction, state):
            if progress_of(transaction, self._shared.state, storage_id) != expected:
                return None
            written = put_rows(transaction, state.prefix(storage_id), rows)
            note_progress(transaction, self._shared.state, storage_id, progress(written))
            return written

    def expire(self, storage_id: str, before: int, *, after: bytes | None = None, limit: int = 10_000) -> Expired:
        """See :meth:`OnlineStore.expire <featurestore.online.base.OnlineStore.expire>`."""
        self.read(())  # which goes on to the file that is the store now
        shared = self._shared
        try:
            # Looked for without the lock, and looked at again with it: most steps find nothing, and hold up nobody.
            with shared.env.begin(shared.rows, buffers=True) as transaction:
                prefix = State(_bytes(transaction.get(STATE, None, shared.state))).prefixes.get(storage_id)
                if prefix is None:
                    return Expired(0, None)
                keys, last = look_for_older(transaction, prefix, before, after, limit)
        except lmdb.Error as error:
            raise self._failed("read", error) from error
        if not keys:
            return Expired(0, last)
        with self._writing() as (transaction, state):
            removed = delete_older(transaction, state.prefix(storage_id), before, keys)
            note_expired(transaction, self._shared.state, storage_id, before, removed)
        return Expired(removed, last)

    def keep(self, storage_id: str, milliseconds: int | None) -> bool:
        """See :meth:`OnlineStore.keep <featurestore.online.base.OnlineStore.keep>`."""
        del storage_id
        return milliseconds is None

    def interruptions(self) -> int:
        """See :meth:`OnlineStore.interruptions <featurestore.online.base.OnlineStore.interruptions>`."""
        return 0

    def space(self) -> Space:
        """See :meth:`OnlineStore.space <featurestore.online.base.OnlineStore.space>`."""
        self.read(())  # which goes on to the file that is the store now
        try:
            return space_of(self._shared)
        except lmdb.Error as error:
            raise self._failed("read", error) from error

    def clock(self) -> int | None:
        """See :meth:`OnlineStore.clock <featurestore.online.base.OnlineStore.clock>`."""
        return self.read(()).clock

    def advance(self, expected: int | None, now: int, rows: Mapping[str, Sequence[Row]]) -> Written | None:
        """See :meth:`OnlineStore.advance <featurestore.online.base.OnlineStore.advance>`."""
        with self._writing() as (transaction, state):
            if state.clock != expected:
                return None
            state.clock = now
            return total(put_rows(transaction, state.prefix(name), part) for name, part in rows.items())

    def clear(self) -> None:
        """See :meth:`OnlineStore.clear <featurestore.online.base.OnlineStore.clear>`."""
        with self._locked() as (transaction, shared):
            state = State(None)
            state.base = State(transaction.get(STATE, None, shared.state)).base
            transaction.drop(shared.rows, delete=False)
            transaction.drop(shared.state, delete=False)
            transaction.put(STATE, state.to_json(), db=shared.state)

    def keys(self, storage_id: str) -> Iterator[bytes]:
        """See :meth:`OnlineStore.keys <featurestore.online.base.OnlineStore.keys>`."""
        self.read(())  # which goes on to the file that is the store now
        shared = self._shared
        try:
            with shared.env.begin(shared.rows) as transaction, transaction.cursor() as cursor:
                prefix = State(transaction.get(STATE, None, shared.state)).prefixes.get(storage_id)
                more = prefix is not None and cursor.set_range(prefix)
                while more and cursor.key().startswith(prefix):
                    yield cursor.key()[PREFIX.size :]
                    more = cursor.next()
        except lmdb.Error as error:
            raise self._failed("read", error) from error

    def delete(self, storage_id: str, keys: Iterable[bytes]) -> int:
        """See :meth:`OnlineStore.delete <featurestore.online.base.OnlineStore.delete>`."""
        with self._writing() as (transaction, state):
            if storage_id not in state.prefixes:
                return 0
            prefix = state.prefix(storage_id)
            return sum(transaction.delete(prefix + key) for key in keys)

    def forget(self) -> None:
        """See :meth:`OnlineStore.forget <featurestore.online.base.OnlineStore.forget>`.

        Others may read meanwhile; who writes waits. For a moment the disk holds all rows twice.
        """
        copy = new_place(self._folder)
        try:
            with self._locked() as (transaction, shared):
                try:
                    state = State(transaction.get(STATE, None, shared.state))
                    state.base += transaction.id()
                    copy_rows(transaction, shared, copy, state.to_json())
                    point_to(self._folder, copy.name)
                except BaseException:
                    shutil.rmtree(copy, ignore_errors=True)
                    raise
                _mark_moved(transaction, shared)
        except OSError as error:
            raise self._failed("written anew", error) from error
        with self._locked() as (_, shared):  # so that nobody else copies the rows meanwhile
            remove_others(self._folder, shared.folder, _mark_moved)

    def status(self) -> dict[str, TableStatus]:
        """See :meth:`OnlineStore.status <featurestore.online.base.OnlineStore.status>`."""
        self.read(())  # which goes on to the file that is the store now
        shared = self._shared
        try:
            with shared.env.begin(shared.rows) as transaction, transaction.cursor() as cursor:
                state = State(transaction.get(STATE, None, shared.state))
                found = {}
                for name, prefix in state.prefixes.items():
                    rows = size = 0
                    newest = b""
                    more = cursor.set_range(prefix)
                    while more and cursor.key().startswith(prefix):
                        rows += 1
                        value = cursor.value()
                        size += len(cursor.key()) - len(prefix) + len(value)
                        newest = max(newest, value[:ORDER_BYTES])
                        more = cursor.next()
                    found[name] = TableStatus(
                        rows=rows,
                        bytes=size,
                        generation=state.tables[name][1],
                        newest=event_time(newest) if rows else None,
                    )
                return found
        except lmdb.Error as error:
            raise self._failed("read", error) from error

    def close(self) -> None:
        """See :meth:`OnlineStore.close <featurestore.online.base.OnlineStore.close>`."""
        if not self._closed:
            self._closed = True
            for one in (*(left for _, left in self._left), self._shared):
                release(one)

    def _failed(self, verb: str, error: Exception) -> OnlineStoreError:
        if isinstance(error, (lmdb.MapFullError, lmdb.DiskError, OSError)):
            hint = "Free space on the disk."
        elif isinstance(error, lmdb.ReadersFullError):
            hint = f"At most {MAX_READERS} readers may be open at once; stop some."
        else:
            hint = "If it is damaged, remove the folder and materialize again."
        return OnlineStoreError(f"The online store {self._folder} cannot be {verb}: {error}.", hint=hint)


def _bytes(record: Any) -> bytes | None:
    return None if record is None else bytes(record)


def _mark_moved(transaction: Any, shared: Environment) -> None:
    """Send everybody who reads in a file to the one that is the store."""
    state = State(transaction.get(STATE, None, shared.state))
    state.moved = True
    transaction.put(STATE, state.to_json(), db=shared.state)
