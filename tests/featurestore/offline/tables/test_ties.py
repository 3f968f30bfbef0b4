"""Ties: what ingest and compaction record of a file, and what a join makes of it."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from featurestore.errors import OfflineStoreError
from featurestore.offline.tables.ties import unique_keys

INSTANT = pa.timestamp("us", tz="UTC")


def written(path: Path, rows: Sequence[tuple[int, str, int]]) -> Path:
    columns = {
        "number": pa.array([row[0] for row in rows], pa.int64()),
        "code": pa.array([row[1] for row in rows], pa.string()),
        "event_timestamp": pa.array([row[2] for row in rows], INSTANT),
    }
    pq.write_table(pa.table(columns), path)
    return path


@settings(max_examples=60, deadline=None)
@given(
    rows=st.lists(st.tuples(st.integers(0, 2), st.sampled_from(["", "1", "11"]), st.integers(-2, 2)), max_size=12),
    hashes=st.integers(1, 20),
)
def test_a_file_is_unique_when_no_two_rows_share_keys_and_event_time(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[int, str, int]], hashes: int
) -> None:
    path = written(tmp_path_factory.mktemp("ties") / "rows.parquet", rows)
    assert unique_keys(path, ["number", "code"], hashes=hashes) == (len(set(rows)) == len(rows))


def test_one_pair_among_many_rows_is_found_wherever_it_stands(tmp_path: Path) -> None:
    rows = [(number, "x", number % 7) for number in range(20_000)]
    assert unique_keys(written(tmp_path / "none.parquet", rows), ["number", "code"], hashes=3_000)
    rows.insert(random.Random(3).randrange(len(rows)), rows[-1])
    assert not unique_keys(written(tmp_path / "one.parquet", rows), ["number", "code"], hashes=3_000)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    path = tmp_path / "broken.parquet"
    path.write_bytes(b"PAR1")
    with pytest.raises(OfflineStoreError, match=r"broken\.parquet cannot be read"):
        unique_keys(path, ["number"])
