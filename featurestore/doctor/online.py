"""The online store: does it take a row, give it back, and let it go? Whichever it is; nothing is left in it."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator

from featurestore.doctor.finding import Finding, fault, warning, well
from featurestore.doctor.patient import Patient
from featurestore.errors import OnlineStoreError
from featurestore.online import OnlineStore, open_online_store
from featurestore.online.base import ORDER_BYTES

_ABOUT = "online store"
#: A table of its own, which no view's can be: their names are hashes.
_TABLE = "doctor"
_LMDB = "lmdb://"


def probe_online_store(patient: Patient) -> Iterator[Finding]:
    """Write a row of a key that nobody else has, read it, and remove it."""
    config = patient.config
    where = config.online_store()
    if isinstance(where, str) and where.startswith(_LMDB) and not config.path(where.removeprefix(_LMDB)).exists():
        yield warning(_ABOUT, f"There is nothing at {where} yet.", "featurestore materialize makes it.")
        return
    try:
        patient.online = open_online_store(where, config.root)
        found = _tried(patient.online)
    except OnlineStoreError as error:
        patient.online_error = error
        raise
    yield found


def _tried(store: OnlineStore) -> Finding:
    key, value = uuid.uuid4().bytes, bytes(ORDER_BYTES) + b"probe"
    started = time.perf_counter()
    store.put_newest(_TABLE, [(key, value)])
    found = store.read([(_TABLE, [key])]).values[0][0]
    store.delete(_TABLE, [key])
    left = store.read([(_TABLE, [key])]).values[0][0]
    milliseconds = (time.perf_counter() - started) * 1_000
    if found != value:
        return fault(
            _ABOUT, "A row that was written did not come back.", "Is this the store itself, or a copy that follows it?"
        )
    if left is not None:
        return fault(_ABOUT, "A row that was removed is still there.", "Let this user remove rows.")
    return well(_ABOUT, f"it takes, gives and removes a row ({milliseconds:.1f} ms for four calls)")
