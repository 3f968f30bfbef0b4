"""A column is stored by what it is like, and reads back whatever comes after the rows that told."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from featurestore.offline.tables.staging import RowsWriter

ROWS = 20_000
RANDOM = np.random.default_rng(0)
INSTANT = pa.timestamp("us", "UTC")
DAYS = [date(1900, 1, 1) + timedelta(days=int(day)) for day in RANDOM.permutation(ROWS)]

COLUMNS: dict[str, tuple[Any, str, str]] = {
    "floats that repeat": (RANDOM.standard_normal(ROWS).round(2), "RLE_DICTIONARY", "ZSTD"),
    "floats of all digits": (RANDOM.standard_normal(ROWS), "PLAIN", "UNCOMPRESSED"),
    "short floats of all digits": (RANDOM.standard_normal(ROWS).astype(np.float32), "PLAIN", "UNCOMPRESSED"),
    "floats that compress": (np.arange(ROWS, dtype=float), "PLAIN", "ZSTD"),
    "integers that repeat": (np.arange(ROWS) % 7, "RLE_DICTIONARY", "ZSTD"),
    "integers near each other": (RANDOM.permutation(ROWS), "DELTA_BINARY_PACKED", "ZSTD"),
    "short integers": (RANDOM.permutation(ROWS).astype(np.int32), "DELTA_BINARY_PACKED", "ZSTD"),
    "integers of all bits": (RANDOM.integers(-(2**63), 2**63, ROWS), "PLAIN", "UNCOMPRESSED"),
    "instants": (pa.array(RANDOM.permutation(ROWS) * 10**6, INSTANT), "DELTA_BINARY_PACKED", "ZSTD"),
    "days": (pa.array(DAYS, pa.date32()), "DELTA_BINARY_PACKED", "ZSTD"),
    "texts that repeat": (["a", "b"] * (ROWS // 2), "RLE_DICTIONARY", "ZSTD"),
    "texts": ([f"{one}" for one in range(ROWS)], "PLAIN", "ZSTD"),
    "nulls": (pa.nulls(ROWS, pa.float64()), "RLE_DICTIONARY", "ZSTD"),
    "a few values": (pa.array([1.5, None, None, None] * 5 + [None] * (ROWS - 20)), "RLE_DICTIONARY", "ZSTD"),
    "booleans": (RANDOM.integers(0, 2, ROWS).astype(bool), "PLAIN", "ZSTD"),
    "decimals": (pa.array(np.arange(ROWS)).cast(pa.decimal128(38, 0)), "PLAIN", "ZSTD"),
    "lists": ([[one] for one in range(ROWS)], "RLE_DICTIONARY", "ZSTD"),
}


def written(path: Path, *batches: pa.RecordBatch) -> pq.ColumnChunkMetaData:
    RowsWriter(path, batches[0].schema).write_all(iter(batches))
    assert pq.read_table(path).equals(pa.Table.from_batches(batches))
    return pq.read_metadata(path).row_group(0).column(0)


def rows_of(values: Any) -> pa.RecordBatch:
    return pa.RecordBatch.from_pydict({"x": values, "event_timestamp": pa.array(np.arange(len(values)), INSTANT)})


@pytest.mark.parametrize("kind", COLUMNS)
def test_a_column_is_stored_by_what_it_is_like(tmp_path: Path, kind: str) -> None:
    values, encoding, compression = COLUMNS[kind]
    stored = written(tmp_path / "rows.parquet", rows_of(values))
    assert encoding in stored.encodings
    assert ("RLE_DICTIONARY" in stored.encodings) is (encoding == "RLE_DICTIONARY")
    assert stored.compression == compression


@pytest.mark.parametrize("kind", ["integers near each other", "floats of all digits", "nulls"])
def test_rows_unlike_the_first_ones_read_back(tmp_path: Path, kind: str) -> None:
    first = rows_of(COLUMNS[kind][0])
    values = (
        np.array([-(2**63), 2**63 - 1] * 2_000) if kind.startswith("integers") else np.linspace(-1e300, 1e300, 4_000)
    )
    written(tmp_path / "rows.parquet", first, rows_of(values), rows_of(pa.nulls(3_000, first.schema.types[0])))


def test_a_slice_and_nulls_are_probed_as_they_are(tmp_path: Path) -> None:
    values = pa.array(np.where(np.arange(ROWS) % 3 == 0, None, RANDOM.standard_normal(ROWS)), pa.float64())
    stored = written(tmp_path / "rows.parquet", rows_of(values).slice(7))
    assert (stored.compression, "RLE_DICTIONARY" in stored.encodings) == ("UNCOMPRESSED", False)


def test_all_parts_of_nested_columns_are_compressed_dictionaries(tmp_path: Path) -> None:
    values = [{"a": one, "b": [{"c": one / 7, "d": [[f"{one}"]]}]} for one in range(ROWS)]
    written(tmp_path / "rows.parquet", rows_of(values))
    group = pq.read_metadata(tmp_path / "rows.parquet").row_group(0)
    for place in range(3):
        column = group.column(place)
        assert (column.compression, "RLE_DICTIONARY" in column.encodings) == ("ZSTD", True), column.path_in_schema
