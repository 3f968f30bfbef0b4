"""What an online store does, whichever it is; the contract suite in ``tests/contract`` runs over all of them.

A stored value is 32 bytes of order and the record of :mod:`featurestore.online.rowcodec`. The order is (event time,
created time, load order, row number) as four unsigned big-endian numbers, so comparing bytes compares rows, and the
newest row wins whatever the order of writes.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

ORDER_BYTES = 32
_BIAS = 1 << 63
_EVENT = struct.Struct(">Q")
_NO_EVENT = bytes(_EVENT.size)
_PLACE = struct.Struct(">QQ")

#: A key and its stored value.
Row = tuple[bytes, bytes]


def order_prefix(
    event: NDArray[np.int64],
    created: NDArray[np.int64],
    created_is_null: NDArray[np.bool_],
    load_order: NDArray[np.int64],
    row_number: NDArray[np.int64],
) -> NDArray[np.uint8]:
    """Return the order of each row as bytes of shape (rows, 32); a null created time is the lowest."""
    out = np.empty((len(event), 4), ">u8")
    for place, values in enumerate((event, created, load_order, row_number)):
        # Flipping the sign bit makes the order of unsigned numbers that of the signed ones.
        out[:, place] = values.astype(np.int64).view(np.uint64) ^ np.uint64(_BIAS)
    out[created_is_null, 1] = 0
    return out.view(np.uint8).reshape(len(event), ORDER_BYTES)


def event_time(value: bytes) -> int:
    """Return the event time of a stored value, or of the beginning of one, microseconds since 1970."""
    biased: int = _EVENT.unpack_from(value)[0]
    return biased - _BIAS


def event_times(values: Sequence[bytes]) -> NDArray[np.int64]:
    """Return the event times of stored values, as :func:`event_time` does; any of those that are empty."""
    joined = b"".join([value[: _EVENT.size] or _NO_EVENT for value in values])
    return (np.frombuffer(joined, ">u8").astype(np.uint64) ^ np.uint64(_BIAS)).view(np.int64)


def oldest_order(event_timestamp: int) -> bytes:
    """Return bytes that a stored value is not below exactly when its event time is at least ``event_timestamp``."""
    return _EVENT.pack(min(max(event_timestamp + _BIAS, 0), 2 * _BIAS - 1))


def placed(value: bytes, load_order: int, row_number: int) -> bytes:
    """Return a stored value as that of the same row of another load, and of another place in it."""
    first = ORDER_BYTES - _PLACE.size
    return value[:first] + _PLACE.pack(load_order + _BIAS, row_number + _BIAS) + value[ORDER_BYTES:]


class Written(NamedTuple):
    """What became of rows: written, or older than (or the same as) what was there."""

    written: int
    older: int


def total(counts: Iterable[Written]) -> Written:
    """Return the sum of what became of several tables' rows."""
    written = older = 0
    for one in counts:
        written, older = written + one.written, older + one.older
    return Written(written, older)


def settles(present: bytes | None, provisional: bytes, final: bytes) -> bool:
    """Return whether a final value takes the place of the present one; see :meth:`OnlineStore.settle`."""
    return present is None or present == provisional or present[:ORDER_BYTES] < final[:ORDER_BYTES]


class Read(NamedTuple):
    """What one consistent read found.

    Attributes:
        clock: the clock of a rehearsal, microseconds since 1970; None in a live store.
        generations: for each table asked for, its generation; 0 when nothing was ever written.
        values: for each table asked for, the stored value of each key, or None.
        snapshot: the number of the state that was read. Every write makes a greater one.
        writes: for each table asked for, the snapshot in which its rows were last written; 0 when they never were.
    """

    clock: int | None
    generations: list[int]
    values: list[list[bytes | None]]
    snapshot: int
    writes: list[int]


class ReadOne(NamedTuple):
    """What one consistent read of one key found.

    Attributes:
        clock: see :class:`Read`.
        snapshot: see :class:`Read`.
        values: for each table asked for, the stored value of the key, or None.
    """

    clock: int | None
    snapshot: int
    values: list[bytes | None]


class Standing(NamedTuple):
    """How far a table is filled.

    Attributes:
        progress: what whoever fills it noted last; None if nothing.
        expired_before: up to which event time, microseconds since 1970, rows were removed as expired; None: none were.
        expired: how many rows that was.
    """

    progress: bytes | None
    expired_before: int | None
    expired: int


class Expired(NamedTuple):
    """What a step of expiry did.

    Attributes:
        removed: how many rows.
        last: the key up to which rows were looked at; None at the end of the table.
    """

    removed: int
    last: bytes | None


def expired(standing: Standing, before: int, rows: int) -> Standing:
    """Return a standing after rows with event times before an instant were removed."""
    earlier = standing.expired_before
    return standing._replace(
        expired_before=before if earlier is None else max(before, earlier), expired=standing.expired + rows
    )


class Space(NamedTuple):
    """The bytes of a store's file, and those of them that hold nothing."""

    total: int
    free: int


@dataclass(frozen=True, kw_only=True)
class TableStatus:
    """The rows of one storage id.

    Attributes:
        rows: how many.
        bytes: of their keys and values.
        generation: grows with each :meth:`OnlineStore.replace`.
        newest: the latest event time, microseconds since 1970; None if there is no row.
    """

    rows: int
    bytes: int
    generation: int
    newest: int | None = None


class OnlineStore(Protocol):
    """Rows by (storage id, key), newest only.

    Every method raises :class:`~featurestore.errors.OnlineStoreError` when the store cannot do it.
    """

    def read(self, requests: Sequence[tuple[str, Sequence[bytes | None]]]) -> Read:
        """Return the values of keys in several tables, all from one snapshot; a key that is None is not found."""
        ...

    def snapshot(self) -> int | None:
        """Return the number of the present state, as :attr:`Read.snapshot` has it, at next to no cost.

        None if that cannot be told without a read.
        """
        ...

    def put_newest(self, storage_id: str, rows: Iterable[Row]) -> Written:
        """Write each row unless the key's present row is as new or newer; all in one transaction."""
        ...

    def put_all(self, rows: Mapping[str, Sequence[Row]]) -> Written:
        """Write rows of several tables, by storage id, as :meth:`put_newest`; all in one transaction."""
        ...

    def settle(self, storage_id: str, rows: Iterable[tuple[bytes, bytes, bytes]]) -> int:
        """Give rows their final order, in one transaction.

        Args:
            storage_id: the table.
            rows: the key, the value that was written for the time being, and the one to take its place, though its
                order may be lower. Where the key has another value by now, the final one is written only if it is
                newer.

        Returns:
            How many rows were written.
        """
        ...

    def replace(self, storage_id: str, rows: Iterable[Row], *, progress: bytes | None = None) -> int:
        """Put rows in the place of all rows of a table, at once for readers, and return the new generation.

        No other writer is let in while the rows are taken from what gives them. The table's :class:`Standing` is then
        that progress, and no row has expired.
        """
        ...

    def replace_keys(
        self,
        storage_id: str,
        keys: Iterable[bytes],
        rows: Iterable[Row],
        *,
        expected: bytes | None,
        progress: bytes,
    ) -> Written | None:
        """Put rows in the place of those of some keys, though they may be older, and note the progress.

        All at once for readers, in one transaction, and no other writer is let in while keys and rows are taken from
        what gives them. A key without a row has none any more; rows of other keys are written as :meth:`put_newest`
        does.

        Args:
            storage_id: the table.
            keys: whose rows give way; taken to the end before the first of the rows.
            rows: what is put there; of several rows of a key the newest.
            expected: what was noted last.
            progress: what to note.

        Returns:
            None, and nothing is changed, when the progress is not ``expected``: another process went on.
        """
        ...

    def standing(self, storage_id: str) -> Standing:
        """Return how far a table is filled."""
        ...

    def put_step(
        self,
        storage_id: str,
        rows: Sequence[Row],
        *,
        expected: bytes | None,
        progress: Callable[[Written], bytes],
    ) -> Written | None:
        """Write rows as :meth:`put_newest`, and note the progress, in one transaction.

        Rows and progress go together: a store that is removed, or restored from a backup, goes back with both.

        Args:
            storage_id: the table.
            rows: what to write.
            expected: what was noted last.
            progress: gives what to note, once it is known what became of the rows.

        Returns:
            None, and nothing is changed, when the progress is not ``expected``: another process went on.
        """
        ...

    def expire(self, storage_id: str, before: int, *, after: bytes | None = None, limit: int = 10_000) -> Expired:
        """Remove those of the next ``limit`` rows after a key that have event times before an instant.

        Other writers wait no longer than these removals take; a row that they refresh meanwhile stays.

        Args:
            storage_id: the table.
            before: the instant, microseconds since 1970.
            after: the last key of the step before; None begins.
            limit: how many rows to look at.
        """
        ...

    def keep(self, storage_id: str, milliseconds: int | None) -> bool:
        """Have the store itself remove the rows of a table some time after they are so old.

        Args:
            storage_id: the table, which is made if it is not there.
            milliseconds: after their event times; None for ever.

        Returns:
            Whether it does, for all rows. If not, they go by :meth:`expire`; a store that can do it by itself learns
            there of the rows that it had before.
        """
        ...

    def interruptions(self) -> int:
        """Return how often the store was away: of the writes from a moment before some may be lost since."""
        ...

    def space(self) -> Space:
        """Return how much of the store's file is in use; zeros for a store without one."""
        ...

    def clock(self) -> int | None:
        """Return the clock of a rehearsal, microseconds since 1970; None in a live store."""
        ...

    def advance(self, expected: int | None, now: int, rows: Mapping[str, Sequence[Row]]) -> Written | None:
        """Move the clock and write rows as :meth:`put_newest`, in one transaction.

        Returns:
            None, and nothing is changed, when the clock does not stand at ``expected``: another process moved it.
        """
        ...

    def clear(self) -> None:
        """Remove all rows, generations and the clock."""
        ...

    def keys(self, storage_id: str) -> Iterator[bytes]:
        """Yield the keys of a table."""
        ...

    def delete(self, storage_id: str, keys: Iterable[bytes]) -> int:
        """Remove the rows of keys, at once for readers, and return how many there were."""
        ...

    def forget(self) -> None:
        """Leave no byte of rows that were removed or written over in the store's files; readers notice nothing."""
        ...

    def status(self) -> dict[str, TableStatus]:
        """Return what each table holds; it reads all rows."""
        ...

    def close(self) -> None:
        """Release the store; it must not be used again."""
        ...


class Waiting(Protocol):
    """Reads rows for the lookups of one event loop, without holding up one for another."""

    async def read(self, requests: Sequence[tuple[str, Sequence[bytes | None]]], seconds: float | None = None) -> Read:
        """Return what :meth:`OnlineStore.read` does.

        Args:
            requests: as there.
            seconds: within which an answer, or an error, is wanted; None leaves that to the store.

        Raises:
            OnlineStoreError: the store cannot be read, or not in time.
        """
        ...

    async def read_one(self, tables: tuple[str, ...], key: bytes, seconds: float | None = None) -> ReadOne:
        """Return what :meth:`read` does for one key, the same in all tables: what most lookups ask, at less cost.

        Args:
            tables: storage ids.
            key: of the rows.
            seconds: see :meth:`read`.

        Raises:
            OnlineStoreError: the store cannot be read, or not in time.
        """
        ...

    async def close(self) -> None:
        """Release it; it must not be used again."""
        ...


@runtime_checkable
class RemoteStore(Protocol):
    """An online store that answers after a while, as it is another process: a server's lookups wait for it."""

    def waiting(self) -> Waiting:
        """Return what reads for the lookups of the event loop that runs."""
        ...
