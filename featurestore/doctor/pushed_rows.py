"""Pushed rows that a table has and the online store lacks: some are looked up, as to look at all takes too long.

They are online before a push is acknowledged. A server that was lost, or one that took over, may have lost them since.
"""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from featurestore.definitions import FeatureView, storage_id
from featurestore.definitions.names import EVENT_TIMESTAMP, LOAD_ID
from featurestore.materialize.standing import oldest_kept
from featurestore.offline.intake.pushed import PUSHED
from featurestore.offline.store import OfflineStore
from featurestore.online import OnlineStore
from featurestore.online.keys import KeyLayout
from featurestore.storage.parquet import parquet_file

#: Of so many files, so many rows each.
_FILES, _ROWS = 4, 500


class LookedUp(NamedTuple):
    """How many keys of pushed rows were looked up, and how many of them the online store does not have."""

    keys: int
    lacking: int


def look_up(view: FeatureView, offline: OfflineStore, online: OnlineStore, since: int, now: datetime) -> LookedUp:
    """Look up keys of rows that were pushed and came into the table after a version of it.

    Args:
        view: whose rows.
        offline: has the table.
        online: where the rows are to be.
        since: the version of the table that was materialized last.
        now: the instant against which the TTL is held: expired rows may be gone.

    Raises:
        OfflineStoreError: the table cannot be read.
        OnlineStoreError: the online store cannot.
    """
    table, layout, oldest = offline.table(view), KeyLayout(view.keys), oldest_kept(view, now)
    known = {one.name for one in table.snapshot(since).files}
    keys: set[bytes] = set()
    for one in [file for file in table.snapshot().files if file.name not in known][:_FILES]:
        with parquet_file(one.place) as file:
            batch = next(file.iter_batches(_ROWS, columns=[*view.keys, EVENT_TIMESTAMP, LOAD_ID]), None)
        if batch is not None:
            kept = pc.starts_with(batch[LOAD_ID], PUSHED)
            if oldest is not None:
                kept = pc.and_(kept, pc.greater_equal(batch[EVENT_TIMESTAMP].cast(pa.int64()), oldest))
            keys.update(key for key in layout.encode_batch(batch.filter(kept)) if key is not None)
    values = online.read([(storage_id(view), list(keys))]).values[0]
    return LookedUp(len(keys), sum(value is None for value in values))
