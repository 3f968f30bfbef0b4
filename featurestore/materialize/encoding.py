"""Rows of the offline store as rows of the online store."""

from __future__ import annotations

from collections.abc import Generator
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from featurestore.definitions import FeatureView
from featurestore.definitions.names import CREATED_TIMESTAMP, EVENT_TIMESTAMP, ROW_NUMBER
from featurestore.online.base import Row, order_prefix
from featurestore.online.keys import KeyLayout
from featurestore.online.rowcodec import RowCodec

LOAD_ORDER = "load_order"
#: Rows of one write transaction of a rehearsal: it bounds memory, and how long another writer waits.
_CHUNK_ROWS = 20_000


class EncodedBatch(NamedTuple):
    """Rows ready to be stored: their event times, and each row, None where its key has a null part."""

    events: NDArray[np.int64]
    rows: list[Row | None]


class RowEncoder:
    """Turns batches of the offline store into rows of the online store."""

    def __init__(self, view: FeatureView) -> None:
        self._keys = KeyLayout(view.keys)
        self._codec = RowCodec(view.schema)

    def __call__(self, batch: pa.RecordBatch) -> EncodedBatch:
        """Encode one batch."""
        events = _integers(batch[EVENT_TIMESTAMP])
        created = batch[CREATED_TIMESTAMP]
        prefix = order_prefix(
            events,
            _integers(created.fill_null(0)),
            created.is_null().to_numpy(zero_copy_only=False),
            _integers(batch[LOAD_ORDER]),
            _integers(batch[ROW_NUMBER]),
        )
        keys = self._keys.encode_batch(batch)
        values = self._codec.encode(batch, prefix=prefix)
        return EncodedBatch(
            events, [None if key is None else (key, value) for key, value in zip(keys, values, strict=True)]
        )


def _integers(column: pa.Array) -> NDArray[np.int64]:
    values: NDArray[np.int64] = column.cast(pa.int64()).to_numpy(zero_copy_only=False)
    return values


def encoded_batches(view: FeatureView, reader: pa.RecordBatchReader) -> Generator[EncodedBatch, None, None]:
    """Encode what a reader gives, in pieces that one transaction may write."""
    encode = RowEncoder(view)
    with reader:
        for batch in reader:
            for first in range(0, batch.num_rows, _CHUNK_ROWS):
                yield encode(batch.slice(first, _CHUNK_ROWS))
