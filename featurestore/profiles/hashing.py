"""A hash of rows that is the same on every machine and in every release, a column at a time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

_WORD = 8


def mixed(numbers: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return numbers of 64 bits, each bit of which depends on all of the input's: the finaliser of MurmurHash3.

    One to one: different numbers stay different.
    """
    found: NDArray[np.uint64] = numbers ^ (numbers >> np.uint64(33))
    found = found * np.uint64(0xFF51AFD7ED558CCD)
    found = found ^ (found >> np.uint64(33))
    found = found * np.uint64(0xC4CEB9FE1A85EC53)
    found ^= found >> np.uint64(33)
    return found


def row_hashes(columns: Sequence[pa.Array | pa.ChunkedArray]) -> NDArray[np.uint64]:
    """Return a hash of 64 bits for each row, by the text of its values; null is not the empty text.

    It spreads evenly and is no secret: whoever chooses the values can choose the hash.

    Args:
        columns: at least one; of types that Arrow can write as text.
    """
    found = np.zeros(len(columns[0]), np.uint64)
    for column in columns:
        found = mixed(found + _text_hashes(column))
    return found


def _text_hashes(column: pa.Array | pa.ChunkedArray) -> NDArray[np.uint64]:
    texts = column.cast(pa.large_string())
    chunks = texts.chunks if isinstance(texts, pa.ChunkedArray) else [texts]
    return np.concatenate([np.zeros(0, np.uint64), *(_hashes_of_chunk(chunk) for chunk in chunks)])


def _hashes_of_chunk(texts: pa.Array) -> NDArray[np.uint64]:
    if not len(texts):
        return np.zeros(0, np.uint64)
    _, offset_buffer, data = texts.buffers()
    offsets = np.frombuffer(offset_buffer, np.int64)[texts.offset : texts.offset + len(texts) + 1]
    starts, lengths = offsets[:-1] - offsets[0], np.diff(offsets)
    content = np.frombuffer(data or b"", np.uint8)[offsets[0] : offsets[-1]]
    # A word begins at any byte; the last one reaches beyond the end.
    padded = np.concatenate([content, np.zeros(_WORD, np.uint8)])
    words = np.ndarray((len(padded) - _WORD + 1,), "<u8", padded, strides=(1,))
    found = mixed(lengths.astype(np.uint64) + np.uint64(1))
    rows = np.flatnonzero(lengths)
    at = 0
    while len(rows):
        word = words[starts[rows] + at]
        rest = np.minimum(lengths[rows] - at, _WORD).astype(np.uint64)
        word = word & (np.uint64(2**64 - 1) >> (np.uint64(64) - np.uint64(8) * rest))
        found[rows] = mixed((found[rows] ^ word) + np.uint64(0x9E3779B97F4A7C15))
        at += _WORD
        rows = rows[lengths[rows] > at]
    if texts.null_count:
        found[~pc.is_valid(texts).to_numpy(zero_copy_only=False)] = np.uint64(0)
    return found
