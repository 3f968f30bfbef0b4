"""The online store in a process's memory: for tests and notebooks."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence

from featurestore.online.base import ORDER_BYTES, Read, Row, TableStatus, Written, settles, total


class MemoryStore:
    """An :class:`~featurestore.online.base.OnlineStore` that ends with its process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._tables: dict[str, dict[bytes, bytes]] = {}
        self._generations: dict[str, int] = {}
        self._clock: int | None = None

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
            )

    def put_newest(self, storage_id: str, rows: Iterable[Row]) -> Written:
        """See :meth:`OnlineStore.put_newest <featurestore.online.base.OnlineStore.put_newest>`."""
        listed = list(rows)  # a source that fails midway must leave nothing behind
        with self._lock:
            return self._put(storage_id, listed)

    def _put(self, storage_id: str, rows: Sequence[Row]) -> Written:
        self._generations.setdefault(storage_id, 1)
        table = self._tables.setdefault(storage_id, {})
        written = 0
        for key, value in rows:
            present = table.get(key)
            if present is None or present[:ORDER_BYTES] < value[:ORDER_BYTES]:
                table[key] = value
                written += 1
        return Written(written, len(rows) - written)

    def put_all(self, rows: Mapping[str, Sequence[Row]]) -> Written:
        """See :meth:`OnlineStore.put_all <featurestore.online.base.OnlineStore.put_all>`."""
        with self._lock:
            return total(self._put(name, part) for name, part in rows.items())

    def settle(self, storage_id: str, rows: Iterable[tuple[bytes, bytes, bytes]]) -> int:
        """See :meth:`OnlineStore.settle <featurestore.online.base.OnlineStore.settle>`."""
        listed = list(rows)
        with self._lock:
            self._generations.setdefault(storage_id, 1)
            table = self._tables.setdefault(storage_id, {})
            written = 0
            for key, provisional, final in listed:
                if settles(table.get(key), provisional, final):
                    table[key] = final
                    written += 1
            return written

    def replace(self, storage_id: str, rows: Iterable[Row]) -> int:
        """See :meth:`OnlineStore.replace <featurestore.online.base.OnlineStore.replace>`."""
        table: dict[bytes, bytes] = {}
        for key, value in rows:
            if table.get(key, b"")[:ORDER_BYTES] < value[:ORDER_BYTES]:
                table[key] = value
        with self._lock:
            self._tables[storage_id] = table
            self._generations[storage_id] = self._generations.get(storage_id, 0) + 1
            return self._generations[storage_id]

    def clock(self) -> int | None:
        """See :meth:`OnlineStore.clock <featurestore.online.base.OnlineStore.clock>`."""
        return self._clock

    def advance(self, expected: int | None, now: int, rows: Mapping[str, Sequence[Row]]) -> Written | None:
        """See :meth:`OnlineStore.advance <featurestore.online.base.OnlineStore.advance>`."""
        with self._lock:
            if self._clock != expected:
                return None
            self._clock = now
            return total(self._put(name, part) for name, part in rows.items())

    def clear(self) -> None:
        """See :meth:`OnlineStore.clear <featurestore.online.base.OnlineStore.clear>`."""
        with self._lock:
            self._tables, self._generations, self._clock = {}, {}, None

    def keys(self, storage_id: str) -> Iterator[bytes]:
        """See :meth:`OnlineStore.keys <featurestore.online.base.OnlineStore.keys>`."""
        with self._lock:
            listed = list(self._tables.get(storage_id, ()))
        yield from listed

    def delete(self, storage_id: str, keys: Iterable[bytes]) -> int:
        """See :meth:`OnlineStore.delete <featurestore.online.base.OnlineStore.delete>`."""
        listed = list(keys)
        with self._lock:
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
                )
                for name, table in self._tables.items()
            }

    def close(self) -> None:
        """See :meth:`OnlineStore.close <featurestore.online.base.OnlineStore.close>`."""
