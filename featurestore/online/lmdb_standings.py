"""How far each table of an LMDB store is filled: records beside its state, written by the transactions of the rows."""

from __future__ import annotations

import struct
from typing import Any

from featurestore.online.base import Standing, expired

_PROGRESS, _EXPIRED = b"progress/", b"expired/"
#: Up to which instant rows were removed, and how many.
_REMOVED = struct.Struct(">qQ")


def standing_of(transaction: Any, database: Any, storage_id: str) -> Standing:
    """Return what is noted of a table."""
    removed = transaction.get(_EXPIRED + storage_id.encode(), None, database)
    progress = progress_of(transaction, database, storage_id)
    return Standing(progress, *((None, 0) if removed is None else _REMOVED.unpack(removed)))


def progress_of(transaction: Any, database: Any, storage_id: str) -> bytes | None:
    """Return the progress that is noted of a table."""
    found: bytes | None = transaction.get(_PROGRESS + storage_id.encode(), None, database)
    return found


def note_progress(transaction: Any, database: Any, storage_id: str, progress: bytes) -> None:
    """Note the progress of a table."""
    _put(transaction, database, _PROGRESS + storage_id.encode(), progress)


def note_expired(transaction: Any, database: Any, storage_id: str, before: int, rows: int) -> None:
    """Note that rows with event times before an instant were removed."""
    standing = expired(standing_of(transaction, database, storage_id), before, rows)
    removed = _REMOVED.pack(standing.expired_before, standing.expired)
    _put(transaction, database, _EXPIRED + storage_id.encode(), removed)


def replace_standing(transaction: Any, database: Any, storage_id: str, progress: bytes | None) -> None:
    """Note of a table whose rows are all others now how far it is filled."""
    name = storage_id.encode()
    _put(transaction, database, _PROGRESS + name, progress)
    _put(transaction, database, _EXPIRED + name, None)


def _put(transaction: Any, database: Any, name: bytes, record: bytes | None) -> None:
    if record is None:
        transaction.delete(name, db=database)
    else:
        transaction.put(name, record, db=database)
