"""The online store in a process's memory: for tests and notebooks."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

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
    expired,
    oldest_order,
    settles,
    total,
)


class MemoryStore:
    """An :class:`~featurestore.online.base.OnlineStore` that ends with its process."""

    def __init__(self) -> None:
        #: Held by whoever writes, from the first row on that is asked for; readers wait for the other one alone.
        self._writing = threading.RLock()
        self._lock = threading.Lock()
        self._tables: dict[str, dict[bytes, bytes]] = {}
        self._generations: dict[str, int] = {}
        self._clock: int | None = None
        self._standings: dict[str, Standing] = {}
        self._snapshot = 0
        #: By table: the snapshot in which its rows were last written.
        self._writes: dict[str, int] = {}

    def _changed(self, *storage_ids: str) -> None:
        self._snapshot += 1
        self._writes.update(dict.fromkeys(storage_ids, self._snapshot))

    def snapshot(self) -> int | None:
        """See :meth:`OnlineStore.snapshot <featurestore.online.base.OnlineStore.snapshot>`."""
        with self._lock:
            return self._snapshot

    def read(self, requests: Sequence[tuple[str, Sequence[bytes | None]]]) -> Read:
        """See :meth:`OnlineStore.read <featurestore.online.base.OnlineStore.read>`."""
        with self._lock:
            tables = [self._tables.get(name, {}) for name, _ in requests]
            return Read(
                self._clock,
                [self._generations.get(name, 0) for name, _ in requests],
                [
                    [None if key is None else table.get(key) for key in keys]
                    for table, (_, keys) in zip(tables, requests, strict=True)
                ],
                self._snapshot,
                [self._writes.get(name, 0) for name, _ in requests],
            )

    def put_newest(self, storage_id: str, rows: Iterable[Row]) -> Written:
        """See :meth:`OnlineStore.put_newest <featurestore.online.base.OnlineStore.put_newest>`."""
        listed = list(rows)  # a source that fails midway must leave nothing behind
        with self._writing, self._lock:
            return self._put(storage_id, listed)

    def _put(self, storage_id: str, rows: Sequence[Row]) -> Written:
        self._generations.setdefault(storage_id, 1)
        self._changed(storage_id)
        return _put_into(self._tables.setdefault(storage_id, {}), rows)

    def put_all(self, rows: Mapping[str, Sequence[Row]]) -> Written:
        """See :meth:`OnlineStore.put_all <featurestore.online.base.OnlineStore.put_all>`."""
        with self._writing, self._lock:
            return total(self._put(name, part) for name, part in rows.items())

    def settle(self, storage_id: str, rows: Iterable[tuple[bytes, bytes, bytes]]) -> int:
        """See :meth:`OnlineStore.settle <featurestore.online.base.OnlineStore.settle>`."""
        listed = list(rows)
        with self._writing, self._lock:
            self._generations.setdefault(storage_id, 1)
            table = self._tables.setdefault(storage_id, {})
            self._changed(storage_id)
            written = 0
            for key, provisional, final in listed:
                if settles(table.get(key), provisional, final):
                    table[key] = final
                    written += 1
            return written

    def replace(self, storage_id: str, rows: Iterable[Row], *, progress: bytes | None = None) -> int:
        """See :meth:`OnlineStore.replace <featurestore.online.base.OnlineStore.replace>`."""
        with self._writing:
            table: dict[bytes, bytes] = {}
            _put_into(table, rows)
            with self._lock:
                self._changed(storage_id)
                self._tables[storage_id] = table
                self._standings[storage_id] = Standing(progress, None, 0)
                self._generations[storage_id] = self._generations.get(storage_id, 0) + 1
                return self._generations[storage_id]

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
        with self._writing:
            standing = self.standing(storage_id)
            if standing.progress != expected:
                return None
            table = dict(self._tables.get(storage_id, {}))
            for key in keys:
                table.pop(key, None)
            written = _put_into(table, rows)
            with self._lock:
                self._changed(storage_id)
                self._generations.setdefault(storage_id, 1)
                self._tables[storage_id] = table
                self._standings[storage_id] = standing._replace(progress=progress)
            return written

    def standing(self, storage_id: str) -> Standing:
        """See :meth:`OnlineStore.standing <featurestore.online.base.OnlineStore.standing>`."""
        return self._standings.get(storage_id, Standing(None, None, 0))

    def put_step(
        self,
        storage_id: str,
        rows: Sequence[Row],
        *,
        expected: bytes | None,
        progress: Callable[[Written], bytes],
    ) -> Written | None:
        """See :meth:`OnlineStore.put_step <featurestore.online.base.OnlineStore.put_step>`."""
        with self._writing, self._lock:
            standing = self.standing(storage_id)
            if standing.progress != expected:
                return None
            written = self._put(storage_id, rows)
            self._standings[storage_id] = standing._replace(progress=progress(written))
            return written

    def expire(self, storage_id: str, before: int, *, after: bytes | None = None, limit: int = 10_000) -> Expired:
        """See :meth:`OnlineStore.expire <featurestore.online.base.OnlineStore.expire>`."""
        oldest = oldest_order(before)
        with self._writing, self._lock:
            table = self._tables.get(storage_id, {})
            keys = sorted(key for key in table if after is None or key > after)
            gone = [key for key in keys[:limit] if table[key] < oldest]
            for key in gone:
                del table[key]
            if gone:
                self._changed(storage_id)
                self._standings[storage_id] = expired(self.standing(storage_id), before, len(gone))
        return Expired(len(gone), keys[limit - 1] if len(keys) >= limit else None)

    def keep(self, storage_id: str, milliseconds: int | None) -> bool:
        """See :meth:`OnlineStore.keep <featurestore.online.base.OnlineStore.keep>`."""
        del storage_id
        return milliseconds is None

    def interruptions(self) -> int:
        """See :meth:`OnlineStore.interruptions <featurestore.online.base.OnlineStore.interruptions>`."""
        return 0

    def space(self) -> Space:
        """See :meth:`OnlineStore.space <featurestore.online.base.OnlineStore.space>`."""
        return Space(0, 0)

    def clock(self) -> int | None:
        """See :meth:`OnlineStore.clock <featurestore.online.base.OnlineStore.clock>`."""
        return self._clock

    def advance(self, expected: int | None, now: int, rows: Mapping[str, Sequence[Row]]) -> Written | None:
        """See :meth:`OnlineStore.advance <featurestore.online.base.OnlineStore.advance>`."""
        with self._writing, self._lock:
            if self._clock != expected:
                return None
            self._clock = now
            self._changed()
            return total(self._put(name, part) for name, part in rows.items())

    def clear(self) -> None:
        """See :meth:`OnlineStore.clear <featurestore.online.base.OnlineStore.clear>`."""
        with self._writing, self._lock:
            self._changed(*self._tables)
            self._tables, self._generations, self._clock, self._standings = {}, {}, None, {}

    def keys(self, storage_id: str) -> Iterator[bytes]:
        """See :meth:`OnlineStore.keys <featurestore.online.base.OnlineStore.keys>`."""
        with self._lock:
            listed = list(self._tables.get(storage_id, ()))
        yield from listed

    def delete(self, storage_id: str, keys: Iterable[bytes]) -> int:
        """See :meth:`OnlineStore.delete <featurestore.online.base.OnlineStore.delete>`."""
        listed = list(keys)
        with self._writing, self._lock:
            self._changed(storage_id)
            table = self._tables.get(storage_id, {})
            return sum(table.pop(key, None) is not None for key in listed)

    def forget(self) -> None:
        """See :meth:`OnlineStore.forget <featurestore.online.base.OnlineStore.forget>`."""

    def status(self) -> dict[str, TableStatus]:
        """See :meth:`OnlineStore.status <featurestore.online.base.OnlineStore.status>`."""
        with self._lock:
            return {
                name: TableStatus(
                    rows=len(table),
                    bytes=sum(len(key) + len(value) for key, value in table.items()),
                    generation=self._generations[name],
                    newest=max(map(event_time, table.values()), default=None),
                )
                for name, table in self._tables.items()
            }

    def close(self) -> None:
        """See :meth:`OnlineStore.close <featurestore.online.base.OnlineStore.close>`."""


def _put_into(table: dict[bytes, bytes], rows: Iterable[Row]) -> Written:
    written = older = 0
    for key, value in rows:
        present = table.get(key)
        if present is None or present[:ORDER_BYTES] < value[:ORDER_BYTES]:
            table[key] = value
            written += 1
        else:
            older += 1
    return Written(written, older)
