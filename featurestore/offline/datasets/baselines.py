"""The baseline of a training dataset that lies in a file: what its rows looked like, column by column."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from featurestore.definitions import Field
from featurestore.definitions.names import EVENT_TIMESTAMP
from featurestore.profiles import Baseline, Bins, fit_baseline

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
    return _side_by_side(parts)


def _side_by_side(parts: Sequence[Baseline]) -> Baseline:
    """Return the baseline of all fields from those of one each, over the same rows."""
    bins = Bins(tuple(one for part in parts for one in part.bins.features))
    blocks = []
    for profiles in zip(*(part.blocks for part in parts), strict=True):
        start, first = profiles[0]
        arrays = {
            name: np.concatenate([getattr(one, name) for _, one in profiles])
            for name in ("counts", "infinite", "finite", "mean", "squares", "minimum", "maximum")
        }
        blocks.append((start, replace(first, bins=bins, **arrays)))
    return Baseline(bins, parts[0].block, tuple(blocks))
