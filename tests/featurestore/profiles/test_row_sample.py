"""The sample of parts is the sample of the whole."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from featurestore.errors import DataError, SchemaError
from featurestore.profiles import RowSample, merge_samples, sample_rows
from featurestore.profiles.hashing import row_hashes


def rows(count: int, first: int = 0) -> pa.Table:
    numbers = np.arange(first, first + count)
    return pa.table(
        {
            "request_id": pa.array([f"request-{number // 2}" for number in numbers], pa.string()),
            "row": numbers % 2,
            "x": numbers.astype(np.float64),
            "v": pa.array([[float(number)] for number in numbers], pa.list_(pa.float64())),
        }
    )


def sample(table: pa.Table, capacity: int = 20) -> RowSample:
    return sample_rows(table, ["x", "v", "missing"], capacity=capacity)


@settings(deadline=None)
@given(
    count=st.integers(0, 200),
    capacity=st.integers(1, 60),
    splits=st.lists(st.integers(0, 200), max_size=5),
    twice=st.integers(0, 20),
    changed=st.booleans(),
)
def test_samples_of_parts_merge_to_that_of_the_whole(
    count: int, capacity: int, splits: list[int], twice: int, changed: bool
) -> None:
    again = rows(twice).set_column(2, "x", pa.array(np.full(twice, -1.0))) if changed else rows(twice)
    table = pa.concat_tables([rows(count), again])
    whole = sample(table, capacity)
    ends = sorted(min(split, table.num_rows) for split in splits)
    parts = [table.slice(a, b - a) for a, b in zip([0, *ends], [*ends, table.num_rows], strict=True)]
    merged = merge_samples([sample(part, capacity) for part in reversed(parts)])
    assert merged.table.equals(whole.table)
    assert merged.bound == whole.bound
    assert whole.table.num_rows <= capacity
    if table.num_rows <= capacity:
        assert whole.table.num_rows == table.num_rows
        assert whole.share == 1.0


def test_a_sample_is_as_large_as_it_may_be_and_looks_like_the_whole() -> None:
    found = sample(rows(200_000), 2_000)
    assert found.table.num_rows == 2_000
    assert found.table.schema.names == ["row_hash", "x", "v"]
    assert found.share == pytest.approx(0.01, rel=0.1)
    quarters = np.histogram(found.table.column("x").to_numpy(), bins=4, range=(0, 200_000))[0]
    assert np.all(np.abs(quarters - 500) < 100)


def test_a_sample_reads_back_exactly(tmp_path: Path) -> None:
    for count in (0, 5, 50):
        found = sample(rows(count))
        pq.write_table(found.to_arrow(), tmp_path / "sample.parquet")
        again = RowSample.from_arrow(pq.read_table(tmp_path / "sample.parquet"))
        assert again.table.equals(found.table)
        assert (again.capacity, again.bound) == (found.capacity, found.bound)
        assert merge_samples([again, sample(rows(9, 50))]).table.equals(
            merge_samples([found, sample(rows(9, 50))]).table
        )
    with pytest.raises(DataError, match="no row_sample of layout 1"):
        RowSample.from_arrow(pa.table({"x": [1]}))


def test_hashes_spread_and_are_ever_the_same() -> None:
    texts = ["", None, "a", "12345678", "123456789", "é" * 40]
    known = row_hashes([pa.array(texts)]).tolist()
    assert len(set(known)) == len(texts)
    assert known == row_hashes([pa.chunked_array([["x", *texts[:1]], texts[1:4], texts[4:]]).slice(1)]).tolist()
    many = row_hashes([pa.array([str(number) for number in range(100_000)])])
    assert len(np.unique(many)) == 100_000
    bits = [(many >> np.uint64(bit) & np.uint64(1)).mean() for bit in range(64)]
    assert np.all(np.abs(np.array(bits) - 0.5) < 0.01)
    one, two = row_hashes([pa.array(["ab"]), pa.array(["c"])]), row_hashes([pa.array(["a"]), pa.array(["bc"])])
    assert one[0] != two[0]


def finaliser(number: int) -> int:
    for factor in (0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53):
        number = (number ^ number >> 33) * factor % 2**64
    return number ^ number >> 33


@settings(deadline=None)
@given(st.lists(st.tuples(st.none() | st.text(max_size=20), st.integers(0, 9)), max_size=20))
def test_a_hash_folds_the_eight_byte_words_of_the_texts(pairs: list[tuple[str | None, int]]) -> None:
    """Samples on disk merge with those of later releases: the hash may not change."""

    def of_text(text: str | None) -> int:
        if text is None:
            return 0
        data = text.encode()
        found = finaliser(len(data) + 1)
        for at in range(0, len(data), 8):
            word = int.from_bytes(data[at : at + 8], "little")
            found = finaliser(((found ^ word) + 0x9E3779B97F4A7C15) % 2**64)
        return found

    expected = [finaliser((finaliser(of_text(text)) + of_text(str(number))) % 2**64) for text, number in pairs]
    columns = [
        pa.array([text for text, _ in pairs], pa.string()),
        pa.array([number for _, number in pairs], pa.int64()),
    ]
    assert row_hashes(columns).tolist() == expected


def test_what_names_no_row_is_said() -> None:
    with pytest.raises(SchemaError, match="cannot be sampled by request_id, row"):
        sample_rows(pa.table({"x": [1]}), ["x"])
    with pytest.raises(SchemaError, match="cannot be sampled by x"):
        sample_rows(pa.table({"x": [[1]]}), ["x"], names=["x"])
    with pytest.raises(DataError, match="one capacity"):
        merge_samples([sample(rows(5), 2), sample(rows(5), 3)])
    with pytest.raises(DataError, match="one capacity"):
        merge_samples([])
    texts = rows(5).set_column(2, "x", pa.array(["a"] * 5))
    with pytest.raises(DataError, match="cannot be merged"):
        merge_samples([sample(rows(5)), sample(texts)])
