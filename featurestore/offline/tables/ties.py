"""Ties: rows that share key and event time. Where a file surely has none, the join need not look for any."""

from __future__ import annotations

from collections.abc import Sequence

import duckdb
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from featurestore.offline import engine
from featurestore.offline.join.order import FILE_BITS
from featurestore.offline.join.visible_rows import OLDEST_FIRST, ORDERING, Visible
from featurestore.offline.tables.snapshots import DataFile

_DOUBTFUL = "doubtful"


def settle(
    connection: duckdb.DuckDBPyConnection,
    seen: Visible,
    keys: Sequence[pa.ChunkedArray],
    places: NDArray[np.int64],
    events: NDArray[np.int64],
) -> bool:
    """Put in the place of each match the newest of the rows that tie with it; return whether any had to be looked for.

    Only matches are looked at that can tie: in a file that is not known to be free of ties, or where files overlap.

    Args:
        connection: knows the ledger.
        seen: what was matched.
        keys: those of the entity rows, in the order of the view's.
        places: the match of each entity row, or -1; changed in place.
        events: its event time.
    """
    found = np.flatnonzero(places >= 0)
    found = found[_doubtful(seen.files, places[found], events[found])]
    if not len(found):
        return False
    rows, first, which = np.unique(places[found], return_index=True, return_inverse=True)
    asked = found[first]
    columns = {f"k{number}": column.take(pa.array(asked)) for number, column in enumerate(keys)}
    connection.register(_DOUBTFUL, pa.table(columns | {"event": events[asked], "asked": np.arange(len(rows))}))
    same = " AND ".join(f"f.{name} = d.{name}" for name in (*columns, "event"))
    reader = connection.sql(f"SELECT d.asked FROM ({seen.scan()}) f JOIN {_DOUBTFUL} d ON {same}").to_arrow_reader(
        engine.BATCH_ROWS
    )
    times = np.zeros(len(rows), np.int64)
    for batch in reader:
        times += np.bincount(batch.column(0).to_numpy(), minlength=len(rows))
    tied = np.flatnonzero(times > 1)
    if len(tied):
        connection.register("tied", pa.table({"asked": tied}))
        newest = connection.sql(
            f"SELECT d.asked, last(f.place ORDER BY {OLDEST_FIRST}) FROM ({seen.scan(*ORDERING)}) f "
            f"JOIN (SELECT * FROM {_DOUBTFUL} SEMI JOIN tied USING (asked)) d ON {same} GROUP BY d.asked"
        )
        for batch in newest.to_arrow_reader(engine.BATCH_ROWS):
            rows[batch.column(0).to_numpy()] = batch.column(1).to_numpy()
        places[found] = rows[which]
    return True


def _doubtful(files: Sequence[DataFile], places: NDArray[np.int64], events: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return, for each match, whether another row may have its key and event time."""
    firsts, lasts = (np.sort(np.array([getattr(file, end) for file in files])) for end in ("first", "last"))
    # Files that hold an instant: those that began by then, less those that were over.
    covered = np.searchsorted(firsts, events, "right") - np.searchsorted(lasts, events, "left")
    marked = np.array([file.unique for file in files])
    several: NDArray[np.bool_] = (covered > 1) | ~marked[places >> FILE_BITS]
    return several
