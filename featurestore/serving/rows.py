"""The stored rows of a lookup, from one snapshot of the store: those that this process knows, and the others read.

Every ``get`` of LMDB lets go of Python's lock, and gRPC's own thread takes it each time: a hundred of them cost more
than all else in a lookup. So rows that were read are kept, bounded, and each kept row belongs to a snapshot. It counts
only while the store says that its table was not written since; so what is kept cannot be stale, and needs no lifetime.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from featurestore.online import OnlineStore
from featurestore.online.base import ORDER_BYTES, Read, Waiting
from featurestore.online.rowcodec import NOT_FOUND
from featurestore.serving.plan import StoredView

#: Bytes beside those of a row: the objects around them, the order, the key and its place in a dict.
_ROW_OVERHEAD = 400
_ABSENT_OVERHEAD = 150


class StoredRow(NamedTuple):
    """One row of a use of a view.

    Attributes:
        order: the first bytes of the stored value, by which the newest row wins; empty if the store has no row.
        sent: the record that a response carries if the row is not too old.
        record: the record that is stored; None if the store has no row.
    """

    order: bytes
    sent: bytes
    record: bytes | None


class StoredRows(NamedTuple):
    """What one snapshot has for a lookup.

    Attributes:
        clock: the clock of a rehearsal, microseconds since 1970; None in a live store.
        snapshot: the number of the snapshot.
        rows: by use of a stored view, the row of each entity row.
    """

    clock: int | None
    snapshot: int
    rows: list[list[StoredRow]]


class Kept:
    """The rows of one use of a view that are known, all as of ``writes``; a :class:`RowReader` has it."""

    def __init__(self, view: StoredView) -> None:
        self._project = _projection(view)
        self.absent = StoredRow(b"", NOT_FOUND if view.defaults is None else view.defaults.not_found, None)
        self.renew(-1)

    def renew(self, writes: int) -> None:
        """Forget all rows; those that come are as of another write."""
        #: The snapshot in which the table was written last, when the rows were read.
        self.writes = writes
        #: The newest snapshot in which it still was.
        self.valid_at = -1
        #: By key as a request has it; None is no key.
        self.rows: dict[Any, StoredRow] = {None: self.absent}
        self.older: dict[Any, StoredRow] = {}

    def age(self) -> None:
        """Let go of the rows that nobody has asked for since this was called before."""
        self.older, self.rows = self.rows, {None: self.absent}

    def take(self, values: Sequence[bytes | None]) -> list[StoredRow]:
        """Return stored values as rows."""
        absent, project, make = self.absent, self._project, tuple.__new__  # without the function that names the parts
        if project is None:
            return [
                absent
                if value is None
                else make(StoredRow, (value[:ORDER_BYTES], record := value[ORDER_BYTES:], record))
                for value in values
            ]
        return [
            absent
            if value is None
            else make(StoredRow, (value[:ORDER_BYTES], project(record := value[ORDER_BYTES:]), record))
            for value in values
        ]

    def take_one(self, value: bytes | None) -> StoredRow:
        """Return a stored value as a row."""
        if value is None:
            return self.absent
        record, project = value[ORDER_BYTES:], self._project
        return tuple.__new__(StoredRow, (value[:ORDER_BYTES], record if project is None else project(record), record))


def _projection(view: StoredView) -> Callable[[bytes], bytes] | None:
    project, defaults = view.project, view.defaults
    if project is None or defaults is None:
        return defaults or project
    return lambda record: defaults(project(record))


class RowReader:
    """Reads rows of an online store for the lookups of one process; threads may share it.

    Args:
        store: where they are.
        limit: bytes, about, that known rows may take; 0 keeps none.
    """

    def __init__(self, store: OnlineStore, *, limit: int) -> None:
        self._store = store
        self._limit = limit // 2  # of what came since kept rows last grew older; as much again is older
        self._taken = 0
        self._lock = threading.Lock()
        self._kept: dict[str, Kept] = {}
        self._takers: dict[str, Kept] = {}
        #: The newest snapshot that was read, and its clock.
        self._snapshot = -1
        self._clock: int | None = None

    def kept(self, views: Sequence[StoredView]) -> tuple[Kept, ...]:
        """Return where the known rows of some views are, for :meth:`at_hand`; nothing if none are kept."""
        with self._lock:
            return tuple(self._kept.get(view.kept_as) or self._keep(view) for view in views) if self._limit else ()

    def at_hand(self, kept: Sequence[Kept], key: int | str) -> StoredRows | None:
        """Return the rows of one entity row if all of them are known, and not older; None if they have to be read.

        Args:
            kept: of one view or more, whose only join key is the same.
            key: its value.
        """
        with self._lock:
            now = self._store.snapshot()
            rows = []
            for one in kept:
                row = one.rows.get(key)
                if row is None or one.valid_at != now:
                    return None
                rows.append([row])
            # The clock is of the snapshot that was read last, and that is this one.
            return tuple.__new__(StoredRows, (self._clock, now, rows))  # without the function that names its parts

    def read(self, views: Sequence[StoredView], columns: Mapping[str, Sequence[Any]]) -> StoredRows:
        """Return the rows of some views, all from one snapshot.

        Args:
            views: uses of stored views.
            columns: by name of a request's column, its values; all of one length.

        Raises:
            OnlineStoreError: the store cannot be read.
        """
        with self._lock:
            now = self._store.snapshot()
            if now is not None and now == self._snapshot:
                found = self._at_hand(views, columns, now)
                if found is not None:
                    return found
            return self._completed(views, columns, now)

    async def read_waiting(
        self,
        views: Sequence[StoredView],
        columns: Mapping[str, Sequence[Any]],
        waiting: Waiting,
        seconds: float | None,
    ) -> StoredRows:
        """Return the rows of some views, read by what waits for a store that is another process; none is kept.

        Args:
            views: uses of stored views.
            columns: by name of a request's column, its values; all of one length.
            waiting: reads them, in one round trip.
            seconds: within which an answer is wanted; None leaves that to the store.

        Raises:
            OnlineStoreError: the store cannot be read, or not in time.
        """
        of: tuple[str, ...] | None = None
        keys: Sequence[bytes | None] = ()
        asked: list[tuple[str, Sequence[bytes | None]]] = []
        for view in views:
            if view.columns != of:  # else they are those of the view before
                of, keys = view.columns, _encoded(view, _keys(view, columns))
            asked.append((view.storage_id, keys))
        found = await waiting.read(asked, seconds)
        rows = [taker.take(values) for taker, values in zip(self.takers(views), found.values, strict=True)]
        return StoredRows(found.clock, found.snapshot, rows)

    def takers(self, views: Sequence[StoredView]) -> tuple[Kept, ...]:
        """Return what makes stored values of some views rows, and keeps none."""
        takers = self._takers
        return tuple(takers.get(view.kept_as) or takers.setdefault(view.kept_as, Kept(view)) for view in views)

    def _at_hand(
        self, views: Sequence[StoredView], columns: Mapping[str, Sequence[Any]], now: int
    ) -> StoredRows | None:
        """Return the rows if all of them are known, and not older; this is the way that most lookups take."""
        rows: list[list[StoredRow]] = []
        of: tuple[str, ...] | None = None
        keys: Sequence[Any] = ()
        for view in views:
            kept = self._kept.get(view.kept_as)
            if kept is None or kept.valid_at != now:
                return None
            if view.columns != of:  # else they are those of the view before
                of, keys = view.columns, _keys(view, columns)
            if len(keys) == 1:
                row = kept.rows.get(keys[0])
                if row is None:
                    return None
                rows.append([row])
                continue
            found: list[StoredRow] = list(map(kept.rows.get, keys))  # type: ignore[arg-type]
            if not all(found):
                return None
            rows.append(found)
        return tuple.__new__(StoredRows, (self._clock, now, rows))  # without the function that names its parts

    def _keep(self, view: StoredView) -> Kept:
        kept = Kept(view)
        if self._limit:
            self._kept[view.kept_as] = kept
        return kept

    def _known(self, kept: Kept, keys: Sequence[Any]) -> list[StoredRow | None]:
        """Return the known row of each key, and None where it is not known."""
        found = list(map(kept.rows.get, keys))
        if kept.older and not all(found):
            for place, row in enumerate(found):
                if row is None:
                    older = kept.older.get(keys[place])
                    if older is not None:
                        found[place] = kept.rows[keys[place]] = older
                        self._taken += _size(older)
        return found

    def _completed(
        self, views: Sequence[StoredView], columns: Mapping[str, Sequence[Any]], now: int | None
    ) -> StoredRows:
        """Read what is not known, or not known to be of the present snapshot, and return all of it."""
        keys: list[Sequence[Any]] = []
        kept: list[Kept] = []
        rows: list[list[StoredRow | None]] = []
        missing: list[list[int]] = []
        of: tuple[str, ...] | None = None
        mine: Sequence[Any] = ()
        for view in views:
            if view.columns != of:  # else they are those of the view before
                of, mine = view.columns, _keys(view, columns)
            one = self._kept.get(view.kept_as) or self._keep(view)
            found = self._known(one, mine)
            keys.append(mine)
            kept.append(one)
            rows.append(found)
            missing.append([place for place, row in enumerate(found) if row is None])
        if not any(missing) and now is not None and now == self._snapshot and all(one.valid_at == now for one in kept):
            return StoredRows(self._clock, now, rows)  # type: ignore[arg-type]  # some were older, none is left open
        read = self._read(views, keys, missing)
        for one, mine, places, writes in zip(kept, keys, missing, read.writes, strict=True):
            if one.writes != writes and len(places) < len(mine):
                # A table was written since: nothing that is known of it counts, and the rest is to be of that
                # snapshot too.
                missing = [list(range(len(mine))) for mine in keys]
                read = self._read(views, keys, missing)
                break
        taken = 0
        for one, mine, found, places, values, writes in zip(
            kept, keys, rows, missing, read.values, read.writes, strict=True
        ):
            if one.writes != writes:
                one.renew(writes)
            one.valid_at = read.snapshot
            for place, row in zip(places, one.take(values), strict=True):
                found[place] = one.rows[mine[place]] = row
                taken += _size(row)
        self._snapshot, self._clock = read.snapshot, read.clock
        self._taken += taken
        if self._taken > self._limit:
            self._taken = 0
            for one in self._kept.values():
                one.age()
        return StoredRows(read.clock, read.snapshot, rows)  # type: ignore[arg-type]  # none is left open

    def _read(self, views: Sequence[StoredView], keys: Sequence[Sequence[Any]], places: Sequence[list[int]]) -> Read:
        asked: list[tuple[str, Sequence[bytes | None]]] = []
        of: tuple[str, ...] | None = None
        before: list[int] = []
        encoded: Sequence[bytes | None] = ()
        for view, mine, wanted in zip(views, keys, places, strict=True):
            if view.columns != of or wanted != before:  # else the keys are those of the view before
                of, before = view.columns, wanted
                encoded = _encoded(view, [mine[place] for place in wanted]) if wanted else ()
            asked.append((view.storage_id, encoded))
        return self._store.read(asked)


def _size(row: StoredRow) -> int:
    record, sent = row.record, row.sent
    if record is None:
        return _ABSENT_OVERHEAD
    return _ROW_OVERHEAD + len(record) + (0 if sent is record else len(sent))


def _keys(view: StoredView, columns: Mapping[str, Sequence[Any]]) -> Sequence[Any]:
    """Return the key of each entity row: its value, or a tuple of its parts."""
    if len(view.columns) == 1:
        return columns[view.columns[0]]
    return list(zip(*[columns[name] for name in view.columns], strict=True))


def _encoded(view: StoredView, keys: Sequence[Any]) -> list[bytes | None]:
    return view.keys.encode([keys] if len(view.columns) == 1 else list(zip(*keys, strict=True)))
