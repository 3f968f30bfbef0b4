"""The baseline of a training dataset that lies in a file: what its rows looked like, column by column."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from featurestore.definitions import Field
from featurestore.definitions.names import EVENT_TIMESTAMP
from featurestore.profiles import Baseline, fit_baseline, side_by_side

#: So many values are in memory at a time: few columns of many rows, many of few.
_VALUES = 1 << 24


def baseline_of(file: Path, fields: Mapping[str, Field], instants: pa.ChunkedArray, kept: pa.Array | None) -> Baseline:
    """Return the baseline of rows in a Parquet file, with a few columns of it in memory at a time.

    Args:
        file: the rows.
        fields: what to watch, by the column it is in.
        instants: the instant of each row, in the file's order.
        kept: whether each row counts; None if all do.
    """
    columns = list(fields)
    width = max(1, _VALUES // len(instants))
    parts = []
    for start in range(0, len(columns), width):
        chosen = columns[start : start + width]
        watched = [fields[column] for column in chosen]
        rows = pq.read_table(file, columns=chosen).select(chosen).rename_columns([one.name for one in watched])
        rows = rows.append_column(EVENT_TIMESTAMP, instants)
        parts.append(fit_baseline(rows if kept is None else rows.filter(kept), watched))
    return side_by_side(parts)
