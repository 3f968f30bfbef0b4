"""Values that may not repeat: the first row that has one stays, within a load or within the table."""

from __future__ import annotations

import threading
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from featurestore.config import Config
from featurestore.definitions import Entity, FeatureView, Field
from featurestore.errors import OfflineStoreError
from featurestore.offline.intake.repeats import Repeats
from featurestore.offline.store import OfflineStore
from featurestore.registry import open_registry
from featurestore.types import Bool, Bytes, Date, DType, Float64, Int32, Int64, String, Timestamp
from featurestore.types import Decimal as DecimalType

START = datetime(2013, 1, 1, tzinfo=UTC)


def view_of(*schema: Field, name: str = "one") -> FeatureView:
    return FeatureView(name=name, entities=[Entity(name="thing")], schema=list(schema))


def rows_of(view: FeatureView, *columns: list[Any]) -> pa.Table:
    count = len(columns[0])
    values = {
        one.name: pa.array(column, one.dtype.to_arrow()) for one, column in zip(view.schema, columns, strict=True)
    }
    keys = {"thing": [f"t{row}" for row in range(count)], "event_timestamp": [START] * count}
    return pa.table(keys | values)


def test_the_first_row_stays_and_the_others_are_kept_aside(store: OfflineStore) -> None:
    view = view_of(Field(name="x", dtype=Int64, unique_within="load"))
    batches = rows_of(view, [1, 2, 1, None, None]).to_batches() + rows_of(view, [2, 3, 3, None]).to_batches()
    report = store.ingest(view, pa.Table.from_batches(batches), who="ada")
    assert (report.read, report.written, report.quarantined) == (9, 6, 3)
    assert report.reasons == {"x repeats within the load": 3}
    kept_aside = store.quarantine(view)
    assert kept_aside is not None
    assert kept_aside["x"].to_pylist() == [1, 2, 3]
    assert store.ingest(view, rows_of(view, [1, 2, 3]), who="ada").quarantined == 0, "another load may have them again"


def test_within_the_table_the_values_of_earlier_loads_count_too(store: OfflineStore) -> None:
    view = view_of(Field(name="x", dtype=String, unique_within="table"), Field(name="y", dtype=Int64))
    assert store.ingest(view, rows_of(view, ["a", "b", "a"], [1, 2, 3]), who="ada").written == 2
    report = store.ingest(view, rows_of(view, ["c", "b", None, "c"], [1, 2, 3, 4]), who="ada")
    assert report.reasons == {"x repeats within the table": 2}
    assert (report.read, report.written) == (4, 2)


def test_a_row_that_is_bad_for_another_reason_takes_no_value(store: OfflineStore) -> None:
    view = view_of(
        Field(name="x", dtype=Int64, unique_within="load"), Field(name="y", dtype=Int64, ge=0, unique_within="load")
    )
    #            over     good     y repeats  x of the row before is free
    rows = rows_of(view, [1, 1, 2, 2], [-1, 5, 5, 6])
    report = store.ingest(view, rows, who="ada")
    assert report.reasons == {"y is under 0": 1, "y repeats within the load": 1}
    kept_aside = store.quarantine(view)
    assert kept_aside is not None
    assert kept_aside["y"].to_pylist() == [-1, 5]


def test_a_view_that_rejects_bad_rows_rejects_repeats(store: OfflineStore, view: FeatureView) -> None:
    strict = FeatureView(
        name="strict",
        entities=view.entities,
        schema=[Field(name="x", dtype=Int64, unique_within="load")],
        on_bad_rows="reject",
    )
    rows = [{"origin": "JFK", "x": 1, "event_timestamp": START}] * 2
    with pytest.raises(Exception, match="1 where x repeats within the load"):
        store.ingest(strict, rows, who="ada")


@pytest.mark.parametrize(
    ("dtype", "values", "repeated"),
    [
        (Float64, [0.0, -0.0, float("nan"), -float("nan"), 1.0], 2),
        (Bool, [True, False, True], 1),
        (Int32, [-1, 1, -1], 1),
        (Date, [date(2013, 1, 1), date(2013, 1, 2), date(2013, 1, 1)], 1),
        (Timestamp, [START, START + timedelta(microseconds=1), START], 1),
        (Bytes, [b"a", b"a\x00", b"", b"a"], 1),
        (String, ["a", "A", "a ", "", "a"], 1),
        (DecimalType(38, 2), [Decimal("1.10"), Decimal("-1.10"), Decimal("1.1")], 1),
    ],
    ids=str,
)
def test_values_of_every_type_repeat_when_they_are_equal(
    store: OfflineStore, dtype: DType, values: list[Any], repeated: int
) -> None:
    for within in ("load", "table"):
        view = view_of(Field(name="x", dtype=dtype, unique_within=within), name=within)  # type: ignore[arg-type]
        assert store.ingest(view, rows_of(view, values), who="ada").quarantined == repeated
    assert store.ingest(view, rows_of(view, values), who="ada").quarantined == len(values)


@settings(max_examples=200)
@given(
    batches=st.lists(
        st.lists(
            st.tuples(st.none() | st.integers(0, 6), st.none() | st.sampled_from("abcdef"), st.booleans()), max_size=12
        ),
        max_size=6,
    )
)
def test_batch_by_batch_is_as_row_by_row(batches: list[list[tuple[int | None, str | None, bool]]]) -> None:
    fields = [
        Field(name="x", dtype=Int64, unique_within="load"),
        Field(name="y", dtype=String, unique_within="load"),
    ]
    schema = pa.schema({one.name: one.dtype.to_arrow() for one in fields})
    repeats = Repeats(fields)
    seen: tuple[set[Any], set[Any]] = (set(), set())
    for batch in batches:
        wanted: list[set[str]] = []
        for x, y, good in batch:
            repeated = [one.name for one, v, s in zip(fields, (x, y), seen, strict=True) if v in s]
            wanted.append({f"{name} repeats within the load" for name in repeated})
            if good and not repeated:
                seen[0].update({x} - {None})
                seen[1].update({y} - {None})
        rows = pa.RecordBatch.from_pylist([{"x": x, "y": y} for x, y, _ in batch], schema=schema)
        goods = [good for _, _, good in batch]
        found = repeats.reasons(rows, pa.array(goods, pa.bool_())).to_pylist()
        for why, whys, good in zip(found, wanted, goods, strict=True):
            assert not good or (why in whys if whys else why is None)


def test_loads_at_the_same_time_see_each_others_values(config: Config, tmp_path: Path) -> None:
    view = view_of(Field(name="x", dtype=Int64, unique_within="table"))
    written: list[int] = []

    def load(first: int) -> None:
        with open_registry(config.database_url("sqlite:///registry.db"), config.project) as registry:
            rows = rows_of(view, list(range(first, first + 50)))
            written.append(OfflineStore(config, registry).ingest(view, rows, who="ada").written)

    with open_registry(config.database_url("sqlite:///registry.db"), config.project):
        pass  # so that the database is there
    threads = [threading.Thread(target=load, args=(first,)) for first in (0, 10, 20, 30)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert sum(written) == 80, f"of 0 to 79 each is there once: {written} in {tmp_path}"


def test_a_table_that_lost_a_file_is_named(store: OfflineStore) -> None:
    view = view_of(Field(name="x", dtype=Int64, unique_within="table"))
    store.ingest(view, rows_of(view, [1]), who="ada")
    for file in store.table(view).files():
        Path(file).unlink()
    with pytest.raises(OfflineStoreError, match='of feature view "one" cannot be read'):
        store.ingest(view, rows_of(view, [1]), who="ada")
