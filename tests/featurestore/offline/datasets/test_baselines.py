"""The baseline of rows in a file is that of the rows, however few columns are read at a time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from featurestore import Field
from featurestore.offline.datasets import baselines
from featurestore.profiles import fit_baseline
from featurestore.types import Bool, Bytes, Float64, Int64, String

FIELDS = [
    Field(name="temp", dtype=Float64),
    Field(name="city", dtype=String),
    Field(name="count", dtype=Int64),
    Field(name="rainy", dtype=Bool),
    Field(name="blob", dtype=Bytes),
]


@pytest.mark.parametrize("values", [1, 1_000, 1 << 24], ids=["one column", "two columns", "all columns"])
@pytest.mark.parametrize("some", [False, True], ids=["all rows", "some rows"])
def test_a_file_read_in_pieces_has_the_baseline_of_its_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, values: int, some: bool
) -> None:
    monkeypatch.setattr(baselines, "_VALUES", values)
    random = np.random.default_rng(0)
    instants = pa.array(
        [datetime(2013, 1, 1, tzinfo=UTC) + timedelta(hours=int(n)) for n in random.integers(0, 240, 500)]
    )
    rows = pa.table(
        {
            "blob": pa.array([b"x", None] * 250),
            "weather__temp": pa.array(random.normal(size=500), mask=random.random(500) < 0.1),
            "city": pa.array(random.choice(["a", "b", "c", f"{'d' * 3}"], 500)),
            "count": random.integers(0, 1_000, 500),
            "rainy": random.random(500) < 0.5,
        }
    )
    pq.write_table(rows, tmp_path / "rows.parquet", row_group_size=64)
    kept = pa.array(random.random(500) < 0.5) if some else None
    columns = {("weather__temp" if one.name == "temp" else one.name): one for one in FIELDS}
    found = baselines.baseline_of(tmp_path / "rows.parquet", columns, pa.chunked_array([instants]), kept)
    whole = rows.rename_columns({"weather__temp": "temp"}).append_column("event_timestamp", instants)
    assert found == fit_baseline(whole if kept is None else whole.filter(kept), FIELDS)
    assert list(found.bins.names) == [one.name for one in FIELDS]
