"""The files of an LMDB store: which of them is the store, open once a process, copied to forget what was removed."""

from __future__ import annotations

import contextlib
import mmap
import os
import shutil
import threading
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lmdb

from featurestore.errors import OnlineStoreError
from featurestore.online.base import Space

#: Address space, not disk: the file grows as rows come.
_MAP_SIZE = 1 << 38
MAX_READERS = 1024
#: Names the folder, within the store's, of the file that is in use; without it that is the store's own.
_CURRENT = "current"
_COPIES = "rows-"
#: Rows of one transaction of a copy: it bounds memory.
_COPIED_ROWS = 50_000
#: Pages at the start of a file that tell where everything is.
_META_PAGES = 2
STATE = b"state"
#: Where a page of LMDB's format 1 on a 64-bit machine has the number of the transaction that wrote it.
_TRANSACTION_AT = 144
_NUMBER_BYTES = 8
_LOOKS = 10


class LastTransaction:
    """The number of an LMDB file's last transaction, read where the file has it: in its first two pages.

    A read transaction tells the same, but it lets go of Python's lock, and whoever waits for that takes it. LMDB writes
    the number after all that belongs to the transaction, and before any reader can begin with it: while it stands, no
    reader sees another state. Where the file is laid out in another way than here, there is no number, as the first
    look and every read transaction after it find out.

    Args:
        folder: has the file.
        env: the file, open.
    """

    def __init__(self, folder: Path, env: Any) -> None:
        self._base: int | None = None
        page = env.stat()["psize"]
        self._first, self._second = ((number * page + _TRANSACTION_AT) // _NUMBER_BYTES for number in (0, 1))
        #: The two pages as numbers.
        self._pages: memoryview | None = None
        with (folder / "data.mdb").open("rb") as file, contextlib.suppress(OSError, ValueError):
            self._pages = memoryview(mmap.mmap(file.fileno(), 2 * page, access=mmap.ACCESS_READ)).cast("Q")
        for _ in range(_LOOKS):
            before = self._number()
            with env.begin() as transaction:
                number = transaction.id()
            if before == self._number():  # nobody wrote meanwhile
                if before != number:
                    self._pages = None
                return
        self._pages = None

    def snapshot(self) -> int | None:
        """Return the number of the present snapshot; None if that takes a transaction."""
        # Once a lookup, so that it calls nothing of ours.
        pages, base = self._pages, self._base
        if pages is None or base is None:
            return None
        return base + max(pages[self._first], pages[self._second])  # type: ignore[no-any-return]

    def confirm(self, transaction: int, base: int) -> int:
        """Take in what a read transaction saw, and return the number of its snapshot.

        Args:
            transaction: its number. That of the file cannot be behind.
            base: what the transactions of this file are counted from.
        """
        self._base = base
        last = self._number()
        if last is not None and last < transaction:
            self._pages = None
        return base + transaction

    def _number(self) -> int | None:
        pages = self._pages
        return None if pages is None else max(pages[self._first], pages[self._second])


class Environment:
    """An open LMDB environment: one for each folder and process, since LMDB forbids a second."""

    def __init__(self, folder: Path, durable: bool) -> None:
        self.folder = folder
        self.users = 0
        self.env = _lmdb(folder, durable)
        self.env.reader_check()  # slots of readers that were killed
        self.rows = self.env.open_db(b"rows")
        self.state = self.env.open_db(b"state")
        last = LastTransaction(folder, self.env)
        self.confirm, self.snapshot = last.confirm, last.snapshot


def _lmdb(folder: Path, durable: bool) -> Any:
    return lmdb.open(
        str(folder), map_size=_MAP_SIZE, max_dbs=2, max_readers=MAX_READERS, sync=durable, max_spare_txns=8
    )


_environments: dict[tuple[int, Path], Environment] = {}
_environments_lock = threading.Lock()


def open_store(folder: Path, durable: bool) -> Environment:
    """Open the file that is the store of a folder, which is made when it is not there; :func:`release` it once.

    Raises:
        OnlineStoreError: the folder cannot be made, or the file not be opened.
    """
    folder = folder.absolute()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        while True:
            place = place_of(folder)
            try:
                found = _taken(place, durable)
            except (FileNotFoundError, lmdb.Error):
                if place_of(folder) == place:
                    raise
                continue  # the rows moved on before the file was open
            if place_of(folder) == place:
                return found
            release(found)
    except (OSError, lmdb.Error) as error:
        raise OnlineStoreError(
            f"The online store {folder} cannot be opened: {error}.", hint='Check "online" in featurestore.toml.'
        ) from error


def _taken(place: Path, durable: bool) -> Environment:
    with _environments_lock:
        # With the process's id: an environment does not survive a fork.
        name = (os.getpid(), place)
        if name not in _environments:
            _environments[name] = Environment(place, durable)
        found = _environments[name]
        found.users += 1
        return found


def release(shared: Environment) -> None:
    """Close a file, unless it is open for others in this process too."""
    with _environments_lock:
        shared.users -= 1
        if shared.users == 0:
            del _environments[os.getpid(), shared.folder]
            shared.env.close()


def place_of(folder: Path) -> Path:
    """Return the folder of the file that is the store."""
    try:
        return folder.absolute() / (folder / _CURRENT).read_text(encoding="ascii")
    except FileNotFoundError:
        return folder.absolute()


def new_place(folder: Path) -> Path:
    """Return a folder, which is not there yet, for a copy of the store's file."""
    return folder.absolute() / f"{_COPIES}{uuid.uuid4().hex[:12]}"


def point_to(folder: Path, name: str) -> None:
    """Make the file in a folder within the store's the store, at once and for good."""
    part = folder / f".{_CURRENT}-{uuid.uuid4().hex}"
    with part.open("w", encoding="ascii") as out:
        out.write(name)
        out.flush()
        os.fsync(out.fileno())
    part.replace(folder / _CURRENT)


def copy_rows(transaction: Any, shared: Environment, target: Path, state: bytes) -> None:
    """Write all rows, and what is known of them, to a new file: in order, so that its pages hold that and nothing else.

    Args:
        transaction: sees what is copied.
        shared: the file that has it.
        target: the folder of the new file.
        state: the state record of the new file.
    """
    target.mkdir()
    with _lmdb(target, True) as env:
        rows, about = env.open_db(b"rows"), env.open_db(b"state")
        for source, copy in ((shared.rows, rows), (shared.state, about)):
            with transaction.cursor(source) as cursor:
                more = cursor.first()
                while more:
                    with env.begin(copy, write=True) as writing:
                        for _ in range(_COPIED_ROWS):
                            writing.put(cursor.key(), cursor.value(), append=True)
                            more = cursor.next()
                            if not more:
                                break
        with env.begin(about, write=True) as writing:
            writing.put(STATE, state)


def space_of(shared: Environment) -> Space:
    """Return the bytes of a store's file, and those of its free pages."""
    # Pages that a reader may still want are not free: the slot of one that was killed must not hold them for ever.
    shared.env.reader_check()
    with shared.env.begin() as transaction:
        stats = [shared.env.stat(), transaction.stat(shared.rows), transaction.stat(shared.state)]
        size = stats[0]["psize"]
        used = sum(one["branch_pages"] + one["leaf_pages"] + one["overflow_pages"] for one in stats)
        pages = shared.env.info()["last_pgno"] + 1
    return Space(pages * size, max(0, pages - used - _META_PAGES) * size)


def remove_others(folder: Path, current: Path, mark: Callable[[Any, Environment], None]) -> None:
    """Remove every file that is not the store any more, also those that a process left when it was killed.

    Args:
        folder: the store's.
        current: where the file is that is the store.
        mark: enters in a file, by a transaction, that it is not.
    """
    for place in (folder.absolute(), *folder.absolute().glob(f"{_COPIES}*")):
        if place == current.absolute():
            continue
        if (place / "data.mdb").exists():
            try:
                left = _taken(place, True)
            except (FileNotFoundError, lmdb.Error):  # half a copy, in which nobody ever read
                pass
            else:
                try:
                    with left.env.begin(left.rows, write=True) as transaction:
                        mark(transaction, left)
                finally:
                    release(left)
        for name in ("data.mdb", "lock.mdb"):
            (place / name).unlink(missing_ok=True)
        if place != folder.absolute():
            shutil.rmtree(place, ignore_errors=True)
