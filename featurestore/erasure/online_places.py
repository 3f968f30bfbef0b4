"""The online stores: the live one, this machine's copy of it, and those of rehearsals."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa

from featurestore import types
from featurestore.config import Config
from featurestore.definitions import FeatureView
from featurestore.erasure.place import Erased, Task
from featurestore.offline.erasure.erased_keys import ErasedKeys, plain_text
from featurestore.offline.erasure.suppression import Suppressed
from featurestore.offline.places import offline_folder
from featurestore.online import OnlineStore, open_online_store
from featurestore.online.keys import KeyLayout
from featurestore.online.local_copy import LocalCopy
from featurestore.storage import StoragePath
from featurestore.storage.parquet import parquet_file
from featurestore.storage.places import listed

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class OnlineRows:
    """The rows that are served.

    Args:
        store: the live online store.
        forgets: whether no byte of the rows may be left in its files; that takes longer, and is done last.
    """

    name = "online store"

    def __init__(self, store: OnlineStore, *, forgets: bool) -> None:
        self._store = store
        self._forgets = forgets

    def erase(self, task: Task) -> Erased:
        """See :class:`~featurestore.erasure.place.Place`."""
        done = _erased(self._store, task.scope.views, task)
        if self._forgets and not task.dry_run:
            self._store.forget()
        return done


class CopiedRows:
    """This machine's copy of the live store; servers on other machines make theirs anew, without the rows."""

    name = "local copy of the online store"

    def __init__(self, copy: LocalCopy) -> None:
        self._copy = copy

    def erase(self, task: Task) -> Erased:
        """See :class:`~featurestore.erasure.place.Place`.

        A table that is being copied may have been read before the rows went; it is waited for, as only one writes at a
        time, and those after it are read without them.
        """
        try:
            store = self._copy.store
            if store is None:
                return Erased()
            if not task.dry_run:
                store.delete("", ())
            done = _erased(store, task.scope.views, task)
            if not task.dry_run:
                store.forget()
            return done
        finally:
            self._copy.close()


class ReplayedRows:
    """The online stores of rehearsals, which hold the rows of other projects' views too."""

    name = "online stores of replays"

    def erase(self, task: Task) -> Erased:
        """See :class:`~featurestore.erasure.place.Place`."""
        total = Erased()
        for config in replays(task.config):
            folder = config.path(str(config.online).removeprefix("lmdb://"))
            if not folder.is_dir():
                continue
            store = open_online_store(config.online_store(), config.root)
            try:
                total += _erased(store, {**task.scope.foreign, **task.scope.views}, task)
                if not task.dry_run:
                    store.forget()
            finally:
                store.close()
        return total


def replays(config: Config) -> Iterator[Config]:
    """Yield the configuration of each rehearsal that was held."""
    folder = config.path(config.for_replay("x").serving.log_path).parent.parent
    for held in listed(folder, "*"):
        if held.is_dir():
            yield config.for_replay(held.name)


def _erased(store: OnlineStore, views: Mapping[str, FeatureView], task: Task) -> Erased:
    rows = 0
    for name, view in views.items():
        wanted = _stored_keys(store, name, view, task)
        rows += len(wanted)
        if wanted and not task.dry_run:
            store.delete(name, wanted)
    return Erased(rows=rows, files=int(rows > 0))


def _stored_keys(store: OnlineStore, name: str, view: FeatureView, task: Task) -> list[bytes]:
    """Return the stored keys of a table that are, or contain, one of the erased keys."""
    layout, keys = KeyLayout(view.keys), task.keys
    places = [layout.names.index(one) for one in keys.names]
    found, hashed = [], set[bytes]()
    for stored in store.keys(name):
        parts = layout.decode(stored)
        if parts is None:
            hashed.add(stored)
        elif tuple(plain_text(_value(parts[at], view.keys[layout.names[at]])) for at in places) in keys.rows:
            found.append(stored)
    if not hashed:
        return found
    return [*found, *(hashed & set(_long_keys(view, layout, offline_folder(task.config) / name, keys)))]


def _value(part: Any, dtype: types.DType) -> Any:
    if dtype == types.Timestamp:
        return _EPOCH + timedelta(microseconds=part)
    return (_EPOCH + timedelta(days=part)).date() if dtype == types.Date else part


def _long_keys(view: FeatureView, layout: KeyLayout, table: StoragePath, keys: ErasedKeys) -> Iterator[bytes]:
    """Yield the stored forms of the erased keys, for those that are too long to be read back: from the table's rows."""
    schema = pa.schema([(name, dtype.to_arrow()) for name, dtype in view.keys.items()])
    for file in listed(table, "*.parquet"):
        with parquet_file(file) as opened:
            for batch in opened.iter_batches(columns=schema.names):
                theirs = batch.filter(keys.mask([batch.column(name) for name in keys.names])).select(schema.names)
                yield from (one for one in layout.encode_batch(theirs.cast(schema)) if one is not None)


def remove_suppressed(store: OnlineStore, name: str, view: FeatureView, erased: Suppressed) -> int:
    """Remove what is served of suppressed keys, and return how many rows that was.

    A materialization calls it when keys were erased while it ran: it may have written rows that it had read before.
    """
    layout = KeyLayout(view.keys)
    stored = [(key, parts) for key in store.keys(name) if (parts := layout.decode(key)) is not None]
    values = {
        column: pa.array([_value(parts[at], dtype) for _, parts in stored], dtype.to_arrow())
        for at, (column, dtype) in enumerate(view.keys.items())
    }
    theirs = erased(pa.RecordBatch.from_pydict(values)).to_pylist()
    return store.delete(name, [key for (key, _), hit in zip(stored, theirs, strict=True) if hit])
