"""A copy of the online store on this machine's disk, for the time that the store is away.

It is made anew from time to time, table by table, out of the store itself: so it has what was served, whoever wrote it.
With each table stands the instant at which its copying began. All that was in the table then is in the copy, and of
what came later some may be. A table that was not copied is not answered for: nobody can say that it was empty.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Set
from datetime import timedelta
from itertools import islice
from pathlib import Path

from featurestore.errors import FeatureStoreError, OnlineStoreError
from featurestore.online.base import OnlineStore, Row
from featurestore.online.lmdb import LmdbStore
from featurestore.settings.online import RedisConfig

#: Rows that are read together: a millisecond of the server, after which others are served.
_ROWS = 500
#: How often a table is begun again whose rows are all replaced while they are read.
_TRIES = 3


class LocalCopy:
    """A copy in one folder, which processes may share: one fills it, and all read.

    Args:
        folder: made when it is first filled.
        max_age: for how long it may be served.
    """

    def __init__(self, folder: Path, *, max_age: timedelta) -> None:
        self.folder = folder
        self.max_age = max_age
        self._store: LmdbStore | None = None
        self._lock = threading.Lock()
        #: The tables that are all there are, as far as this process knows.
        self._filled: set[str] | None = None

    @property
    def store(self) -> LmdbStore | None:
        """The rows; None while there is no copy."""
        with self._lock:
            if self._store is None and self.folder.is_dir():
                self._store = LmdbStore(self.folder)
            return self._store

    def complete_to(self, names: Iterable[str]) -> int | None:
        """Return the instant up to which all of some tables is in the copy, microseconds since 1970.

        None if one of them was never copied. Whoever reads rows asks for it before, so that they are not older.

        Args:
            names: storage ids, one at least.

        Raises:
            OnlineStoreError: the copy cannot be read.
        """
        store = self.store
        if store is None:
            return None
        noted = [store.standing(name).progress for name in names]
        return None if None in noted else min(int(one) for one in noted if one is not None)

    def fill(self, source: OnlineStore, names: Set[str], *, rest: Callable[[], bool]) -> int:
        """Copy tables anew, and let go of all others; return the number of rows.

        Each table changes at once for readers. At the end the file is written anew, so that no byte of rows that were
        erased in the store since is left in it.

        Args:
            source: the store.
            names: storage ids.
            rest: called between steps; True ends it, and leaves the table at hand as it was.

        Raises:
            OnlineStoreError: the store, or the copy, cannot be read or written; tables that were copied before stay so.
        """
        with self._lock:
            if self._store is None:
                self._store = LmdbStore(self.folder)
            store = self._store
        rows = 0
        for name in sorted(names):
            try:
                rows += _copied(source, store, name, rest)
            except _EndedError:
                return rows
        if self._filled != names:  # to know what else there is takes a look at all rows
            for name in set(store.status()) - names:
                store.replace(name, ())
            self._filled = set(names)
        store.forget()
        return rows

    def close(self) -> None:
        """Release it."""
        with self._lock:
            if self._store is not None:
                self._store.close()
                self._store = None


def local_copy_of(where: str | RedisConfig) -> LocalCopy | None:
    """Return the copy that the settings of an online store ask for; None if they ask for none.

    Args:
        where: as :meth:`Config.online_store <featurestore.config.Config.online_store>` returns it.
    """
    if isinstance(where, str) or not where.fallback:
        return None
    return LocalCopy(Path(where.fallback), max_age=where.fallback_max_age)


class _EndedError(FeatureStoreError):
    """The copying is to end."""


class _ReplacedError(FeatureStoreError):
    """All rows of the table were replaced while they were read."""


def _copied(source: OnlineStore, store: LmdbStore, name: str, rest: Callable[[], bool]) -> int:
    for _ in range(_TRIES):
        begun, counter = time.time_ns() // 1000, [0]
        try:
            store.replace(name, _rows(source, name, rest, counter), progress=b"%d" % begun)
        except _ReplacedError:
            continue
        return counter[0]
    raise OnlineStoreError(
        f"Table {name} of the online store was replaced {_TRIES} times while it was copied.",
        hint="Its last copy stays; the next one comes by itself.",
    )


def _rows(source: OnlineStore, name: str, rest: Callable[[], bool], counter: list[int]) -> Iterator[Row]:
    """Yield the rows of a table.

    Raises:
        _ReplacedError: of which some may have been of another generation than the others.
        _EndedError: it is to end.
    """
    generation = source.read([(name, ())]).generations
    keys = source.keys(name)
    while some := list(islice(keys, _ROWS)):
        found = source.read([(name, some)])
        if found.generations != generation:
            raise _ReplacedError("")
        for key, value in zip(some, found.values[0], strict=True):
            if value is not None:
                counter[0] += 1
                yield key, value
        if rest():
            raise _EndedError("")
    if source.read([(name, ())]).generations != generation:  # rows of the old one go in the background from then on
        raise _ReplacedError("")
