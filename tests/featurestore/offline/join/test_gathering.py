"""Values of matched rows: read once, and held a part's worth at a time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from featurestore.definitions import Field
from featurestore.offline.join import answering, gathering
from featurestore.offline.join.gathering import Gathered, gather
from featurestore.offline.tables.snapshots import DataFile
from featurestore.types import Array, Bytes, DType, Float64, Int64, String, Struct

PART_ROWS = 5


class Watched(Gathered):
    """Remembers how much it is given at once."""

    most = 0

    def add(self, values: pa.Table) -> None:
        self.most = max(self.most, values.num_rows)
        super().add(values)


def test_however_many_entity_rows_match_a_row_its_values_come_a_parts_worth_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "part.parquet"
    stored = gathering._DECODED + 10
    pq.write_table(pa.table({"x": np.arange(stored) * 7}), path)
    file = DataFile(place=path, rows=stored, size=1, first=0, last=0)
    # A row that a few match, one that most do, one of the next piece that is decoded, and nothing.
    places = np.array([0, 1, 1] + [3] * 57 + [stored - 1] * 13 + [-1, 1])
    places = places[np.random.default_rng(5).permutation(len(places))]
    gathered = Watched([Field(name="x", dtype=Int64)], len(places), PART_ROWS, budget=200, folder=tmp_path / "spill")
    gather(gathered, [file], [Field(name="x", dtype=Int64)], places, threads=2)
    parts = [gathered.take(number).column("x").to_pylist() for number in range(-(-len(places) // PART_ROWS))]
    assert [one for part in parts for one in part] == [None if one < 0 else one * 7 for one in places.tolist()]
    assert 0 < gathered.most < 2 * PART_ROWS
    gathered.close()
    assert not list((tmp_path / "spill").iterdir())


@pytest.mark.parametrize("dtype", [String, Bytes, Array(Float64), Struct({"text": String, "number": Int64})])
def test_a_part_has_few_enough_rows_for_long_values_to_fit_into_one_arrow_column(dtype: DType) -> None:
    assert answering._part_rows([dtype]) * 30_000 < 2**31
    assert answering._part_rows([Float64] * 10) == answering._PART_BYTES // 160
