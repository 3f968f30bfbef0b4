"""Rows are written as they come, in bounded memory; a writer that fails says so and nobody waits for it."""

from __future__ import annotations

import base64
import subprocess
import sys
import threading
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from featurestore.offline.intake.frames import BATCH_ROWS, even
from featurestore.offline.tables.staging import RowsWriter

INSTANT = pa.timestamp("us", "UTC")


def rows(count: int, **columns: Any) -> pa.RecordBatch:
    return pa.RecordBatch.from_pydict(
        {"x": np.arange(count) % 7, "event_timestamp": pa.array(np.arange(count), INSTANT)} | columns
    )


def test_the_file_has_the_rows_of_all_batches_in_their_order(tmp_path: Path) -> None:
    batches = [rows(70_000), rows(0), rows(1), rows(200_000), rows(5)]
    writer = RowsWriter(tmp_path / "rows.parquet", batches[0].schema)
    writer.write_all(iter(batches))
    assert (writer.rows, writer.first, writer.last) == (270_006, 0, 199_999)
    assert pq.read_table(tmp_path / "rows.parquet").equals(pa.Table.from_batches(batches))


def test_small_batches_share_a_row_group(tmp_path: Path) -> None:
    """One for each would make a file that nobody can read fast."""
    batches = [rows(100) for _ in range(1_500)]
    RowsWriter(tmp_path / "rows.parquet", batches[0].schema).write_all(iter(batches))
    metadata = pq.read_metadata(tmp_path / "rows.parquet")
    assert [metadata.row_group(place).num_rows for place in range(metadata.num_row_groups)] == [131_100, 18_900]


def test_every_kind_of_column_reads_back(tmp_path: Path) -> None:
    count = 9_000
    batch = rows(
        count,
        unique=np.random.default_rng(0).standard_normal(count),
        text=[f"t{one % 3}" for one in range(count)],
        lists=[[one, None] for one in range(count)],
        structs=[{"a": one, "b": [{"c": 1.5}]} for one in range(count)],
        nulls=pa.nulls(count, pa.float32()),
    )
    writer = RowsWriter(tmp_path / "rows.parquet", batch.schema)
    writer.write_all(iter([batch]))
    assert pq.read_table(tmp_path / "rows.parquet").to_batches(max_chunksize=count)[0].equals(batch)
    group = pq.read_metadata(tmp_path / "rows.parquet").row_group(0)
    tried = {
        group.column(place).path_in_schema: "RLE_DICTIONARY" in group.column(place).encodings
        for place in range(group.num_columns)
    }
    assert tried["text"]
    assert tried["structs.a"]
    assert not tried["unique"]
    assert not tried["event_timestamp"]


def test_a_dictionary_is_written_as_its_values_and_reads_back_as_them(tmp_path: Path) -> None:
    """Whichever dictionaries come; and the file does not tell Arrow of them."""
    plain = [rows(90_000, text=[f"{part}-{one % 3}" for one in range(90_000)]) for part in "ab"]
    coded = [batch.set_column(2, "text", batch["text"].dictionary_encode()) for batch in plain]
    RowsWriter(tmp_path / "rows.parquet", plain[0].schema).write_all(iter(coded))
    found = pq.read_table(tmp_path / "rows.parquet")
    assert found.schema.equals(plain[0].schema, check_metadata=True)
    assert found.equals(pa.Table.from_batches(plain))
    said = pq.read_metadata(tmp_path / "rows.parquet").metadata[b"ARROW:schema"]
    assert pa.ipc.read_schema(pa.py_buffer(base64.b64decode(said))).equals(plain[0].schema)


def test_batches_of_another_type_are_refused(tmp_path: Path) -> None:
    batch = rows(10)
    schema = pa.schema([("x", pa.string()), batch.schema.field("event_timestamp")])
    with pytest.raises(ValueError, match="does not match"):
        RowsWriter(tmp_path / "rows.parquet", schema).write_all(iter([batch]))


def test_no_rows_make_no_file(tmp_path: Path) -> None:
    writer = RowsWriter(tmp_path / "rows.parquet", rows(0).schema)
    writer.write_all(iter([rows(0)]))
    assert writer.first is None
    assert not (tmp_path / "rows.parquet").exists()


def test_what_the_batches_raise_comes_through_and_no_thread_is_left(tmp_path: Path) -> None:
    def batches() -> Iterator[pa.RecordBatch]:
        yield rows(10)
        raise KeyError("the source")

    before = set(threading.enumerate())  # of other tests: some may end meanwhile
    with pytest.raises(KeyError, match="the source"):
        RowsWriter(tmp_path / "rows.parquet", rows(0).schema).write_all(batches())
    assert not [one for one in set(threading.enumerate()) - before if one.name == "featurestore-staging"]


FULL = """
import resource, signal, sys
import numpy as np, pyarrow as pa
from pathlib import Path
from featurestore.offline.tables.staging import RowsWriter
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
count = int(sys.argv[2])
instants = pa.array(np.arange(count), pa.timestamp("us", "UTC"))
values = np.random.default_rng(0).random(count)
table = pa.table({"x": values, "event_timestamp": instants})
try:
    RowsWriter(Path(sys.argv[1]), table.schema).write_all(iter(table.to_batches(max_chunksize=50_000)))
except OSError as error:
    print("refused", error)
"""


@pytest.mark.parametrize("count", [2_000, 1_000_000])
def test_a_full_disk_is_an_error_at_once_and_at_the_end(tmp_path: Path, count: int) -> None:
    """The few rows fail as the file is closed, the many while others still come."""
    ran = subprocess.run(
        [sys.executable, "-c", FULL, str(tmp_path / "rows.parquet"), str(count)],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert ran.stdout.startswith("refused"), ran.stderr


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 3 * BATCH_ROWS), max_size=6))
def test_batches_of_any_size_come_out_even_with_the_same_rows(sizes: list[int]) -> None:
    starts = np.cumsum([0, *sizes])
    batches = [
        pa.RecordBatch.from_pydict({"x": np.arange(start, start + size)})
        for start, size in zip(starts, sizes, strict=False)
    ]
    found = list(even(batches))
    assert all(0 < one.num_rows <= BATCH_ROWS for one in found)
    assert np.array_equal(
        np.concatenate([one["x"].to_numpy() for one in found]) if found else np.arange(0), np.arange(starts[-1])
    )
    # Two neighbours are never both small.
    small = [one.num_rows < BATCH_ROWS // 8 for one in found]
    assert not any(one and two for one, two in pairwise(small))
