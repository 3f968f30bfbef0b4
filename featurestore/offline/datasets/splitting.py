"""Which part of a training dataset each row is in: a function of the row and the split, and of nothing else."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from featurestore.definitions.names import EVENT_TIMESTAMP
from featurestore.definitions.splits import PARTS, GroupSplit, KeySplit, Split, TimeSplit
from featurestore.errors import SchemaError, closest
from featurestore.offline.join.entity_rows import EntityRows
from featurestore.registry.values import instant
from featurestore.types import microseconds

#: The column of a dataset that says which part a row is in.
SPLIT = "split__"

_MICROSECOND = timedelta(microseconds=1)
#: So many rows are written out for hashing at a time.
_SLICE = 1 << 18
_TEXTS = (
    pa.types.is_integer,
    pa.types.is_string,
    pa.types.is_large_string,
    pa.types.is_binary,
    pa.types.is_large_binary,
)


def fixed(split: Split, rows: EntityRows) -> Split:
    """Return the split with the instants that its shares of time came to mean, or as it is if it needs none.

    The first row of a later part is the one at its rank in the order of time; rows of its instant come with it.
    """
    if not isinstance(split, TimeSplit) or split.shares is None:
        return split
    instants = np.sort(_microseconds(rows))
    cuts: dict[str, datetime] = {}
    before = 0.0
    for part, share in split.shares.items():
        if part != PARTS[0]:
            rank = math.ceil(before * len(instants) - 1e-9)
            last = instant(int(instants[-1])) + _MICROSECOND  # where nothing is left for the part
            cuts[part] = instant(int(instants[rank])) if rank < len(instants) else last
        before = math.fsum((before, share))
    if "validation" in cuts and cuts["validation"] == cuts.get("test"):
        raise SchemaError(
            f"The split by time leaves no instant between validation and test: both begin at {cuts['test']}.",
            hint="Too many rows have one instant; give other shares, or the instants themselves.",
        )
    return TimeSplit(validation=cuts.get("validation"), test=cuts.get("test"))


def assigned(split: Split, rows: EntityRows, keys: Sequence[str]) -> pa.Array:
    """Return the part of each row, as text.

    By time, a part has the rows from its instant up to the next part's. Otherwise SHA-256 is taken over the seed and
    the values that decide; its first eight bytes, a big-endian number, over 2^64 are at least 0 and under 1, and the
    part is the first whose share, added to those before it, is over that. The bytes are the seed in decimal digits,
    and for each value ``,n`` where it is null, else ``,v``, the length of its text in bytes, ``:`` and the text:
    integers in decimal digits, instants as microseconds since 1970, dates as days, floats as the integer with the
    same 64 bits (zero never negative), truth values as 0 and 1, texts and blobs as they are, all else as Python shows
    it. So the split is the same in any order of rows, on any machine, with any version of any library.

    Args:
        split: with instants, if by time (see :func:`fixed`).
        rows: the entity rows.
        keys: the join keys.

    Raises:
        SchemaError: there is no such column to group by.
    """
    if isinstance(split, TimeSplit):
        names = (PARTS[0], *split.cuts)
        starts = np.array([microseconds(one) for one in split.cuts.values()], np.int64)
        places = np.searchsorted(starts, _microseconds(rows), side="right")
    else:
        names = tuple(split.shares)
        places = _by_hash(split.shares, split.seed, _deciding(split, rows, keys))
    return pa.DictionaryArray.from_arrays(pa.array(places, pa.int8()), pa.array(names)).dictionary_decode()


def counts(parts: pa.Array, split: Split) -> dict[str, int]:
    """Return how many rows each part of the split has; 0 too."""
    names = (PARTS[0], *split.cuts) if isinstance(split, TimeSplit) else tuple(split.shares)
    return {name: int(pc.sum(pc.equal(parts, name)).as_py() or 0) for name in names}


def _microseconds(rows: EntityRows) -> NDArray[np.int64]:
    found: NDArray[np.int64] = rows.typed.column(EVENT_TIMESTAMP).cast(pa.int64()).to_numpy()
    return found


def _deciding(split: Split, rows: EntityRows, keys: Sequence[str]) -> list[pa.ChunkedArray]:
    if isinstance(split, KeySplit):
        return [rows.typed.column(name) for name in keys]
    if isinstance(split, GroupSplit):
        if split.column in keys:
            return [rows.typed.column(split.column)]
        if split.column not in rows.given.column_names:
            raise SchemaError(
                f'The entity rows have no column "{split.column}" to split by.',
                hint=closest(split.column, rows.given.column_names),
            )
        return [rows.given.column(split.column)]
    return [rows.typed.column(name) for name in (*keys, EVENT_TIMESTAMP)]


def _by_hash(shares: Mapping[str, float], seed: int, columns: list[pa.ChunkedArray]) -> NDArray[np.int64]:
    ends = np.cumsum(list(shares.values()))
    slices = [
        _chances(seed, [column.slice(start, _SLICE) for column in columns])
        for start in range(0, len(columns[0]), _SLICE)
    ]
    chances = np.concatenate(slices) if slices else np.zeros(0)
    # What rounding leaves over the last end belongs to the last part.
    return np.minimum(np.searchsorted(ends, chances, side="right"), len(ends) - 1).astype(np.int64)


def _chances(seed: int, columns: list[pa.ChunkedArray]) -> NDArray[np.float64]:
    joined = pc.binary_join_element_wise(_blob(str(seed)), *map(_texts, columns), _blob(""))
    encoded = joined.combine_chunks().dictionary_encode()  # keys and groups occur many times
    numbers = [int.from_bytes(sha256(one).digest()[:8], "big") for one in encoded.dictionary.to_pylist()]
    chances = np.array(numbers, np.uint64).astype(np.float64) / 2.0**64
    return np.asarray(chances[encoded.indices.to_numpy()], np.float64)


def _texts(column: pa.ChunkedArray) -> pa.ChunkedArray:
    text = _as_text(column).cast(pa.large_binary())
    length = pc.binary_length(text).cast(pa.large_string()).cast(pa.large_binary())
    written = pc.binary_join_element_wise(_blob(",v"), length, _blob(":"), text, _blob(""), null_handling="emit_null")
    return pc.fill_null(written, _blob(",n"))


def _blob(text: str) -> pa.Scalar:
    return pa.scalar(text.encode(), pa.large_binary())


def _as_text(column: pa.ChunkedArray) -> Any:
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    dtype = column.type
    if pa.types.is_timestamp(dtype):
        column = column.cast(pa.timestamp("us", dtype.tz), safe=False).cast(pa.int64())
    elif pa.types.is_date(dtype):
        column = column.cast(pa.date32()).cast(pa.int32())
    elif pa.types.is_boolean(dtype):
        column = column.cast(pa.uint8())
    elif pa.types.is_floating(dtype):
        doubles = pc.add(column.cast(pa.float64()), 0.0)
        column = pa.chunked_array([one.view(pa.int64()) for one in doubles.chunks], pa.int64())
    if pa.types.is_string_view(dtype) or pa.types.is_binary_view(dtype):
        # Arrow casts no view to a large type.
        return column.cast(pa.string() if pa.types.is_string_view(dtype) else pa.binary())
    if any(one(column.type) for one in _TEXTS):
        return column.cast(pa.large_string()) if pa.types.is_integer(column.type) else column
    return pa.chunked_array([[None if one is None else repr(one) for one in column.to_pylist()]], pa.large_string())
