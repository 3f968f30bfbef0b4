"""Compaction: other files, the same rows, the same results, while loads go on."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from featurestore.config import Config
from featurestore.definitions import Entity, FeatureService, FeatureView, Field
from featurestore.errors import OfflineStoreError, TableConflictError
from featurestore.offline.store import OfflineStore
from featurestore.offline.tables.compaction import groups
from featurestore.offline.tables.snapshots import DataFile, Snapshot, new_name
from featurestore.registry import open_registry
from featurestore.settings.sections import OfflineConfig
from featurestore.types import DType, Int64, String

START = datetime(2013, 1, 1, tzinfo=UTC)
PHASES = [Phase.explicit, Phase.reuse, Phase.generate]  # an example takes a second: made smaller, it takes minutes
KEYED = FeatureView(
    name="keyed",
    entities=[Entity(name="pair", join_keys=["a", "b"], dtypes=[Int64, String])],
    ttl=timedelta(seconds=5),
    schema=[Field(name="value", dtype=Int64)],
)
SERVICE = FeatureService(name="reading", features=[KEYED])


def rows_of(store: OfflineStore, view: FeatureView) -> list[tuple[Any, ...]]:
    frames = [pl.read_parquet(one.path) for one in store.table(view).snapshot().files]
    return sorted(pl.concat(frames).rows(), key=repr)


# Which files


def data_file(size: int, first: int, last: int, marks: str = "us") -> DataFile:
    return DataFile(place=Path(new_name(marks)), rows=size, size=size, first=first, last=last)


def chosen(*files: DataFile) -> list[list[DataFile]]:
    return [list(group) for group in groups(Snapshot(version=0, files=files), target=100)]


def test_what_is_sorted_and_stands_alone_is_left() -> None:
    assert chosen() == []
    assert chosen(data_file(1, 0, 9)) == []
    assert chosen(data_file(90, 0, 9), data_file(80, 10, 19), data_file(3, 20, 29)) == []


def test_a_file_that_is_not_sorted_is_written_anew() -> None:
    file = data_file(90, 0, 9, marks="u")
    assert chosen(file, data_file(90, 10, 19)) == [[file]]


def test_small_neighbours_are_merged_and_large_files_between_them_part_them() -> None:
    a, b, large, c, d = (data_file(size, place * 10, place * 10 + 9) for place, size in enumerate((5, 6, 90, 7, 8)))
    assert chosen(d, b, large, a, c) == [[a, b], [c, d]]


def test_files_that_overlap_in_time_go_together_whatever_their_size() -> None:
    large, late, other = data_file(90, 0, 50), data_file(2, 40, 60), data_file(90, 60, 70)
    assert chosen(large, late, other, data_file(90, 71, 80)) == [[large, late, other]]


# The rows


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Path]:
    return lambda: tmp_path_factory.mktemp("store")


_row = st.fixed_dictionaries(
    {
        "a": st.sampled_from([1, 12, 123, -1]),
        "b": st.sampled_from(["", "2", "23"]),
        "second": st.integers(0, 12),
        "value": st.none() | st.integers(0, 99),
        "created": st.none() | st.integers(0, 3),
    }
)


@settings(max_examples=5, deadline=None, phases=PHASES)
@given(loads=st.lists(st.lists(_row, min_size=1, max_size=8), min_size=1, max_size=5), tiny=st.booleans())
def test_results_are_the_same_before_and_after(
    places: Callable[[], Path], loads: list[list[dict[str, Any]]], tiny: bool
) -> None:
    root = places()
    config = Config(root=root, project="tests", offline=OfflineConfig(threads=1))
    with open_registry(f"sqlite:///{root}/registry.db", "tests") as registry:
        store = OfflineStore(config, registry)
        registry.apply([SERVICE], who="tests")
        service = registry.service("reading")
        instants = []
        for number, load in enumerate(loads):
            rows = [
                {
                    "a": one["a"],
                    "b": one["b"],
                    "value": one["value"],
                    "event_timestamp": START + timedelta(seconds=one["second"]),
                }
                for one in load
            ]
            store.ingest(KEYED, rows, who="ada", load_id=f"load-{number}")
            instants.append(datetime.now(UTC))
        asked = [
            {"a": a, "b": b, "event_timestamp": START + timedelta(seconds=second)}
            for a in (1, 12, 123, -1)
            for b in ("", "2", "23")
            for second in range(0, 20, 2)
        ]

        def answers() -> list[list[dict[str, Any]]]:
            whens: list[datetime | None] = [None, *instants]
            found = [store.historical_features(service, asked, with_status=True, as_of=when) for when in whens]
            online = store.newest_rows(KEYED, until=START + timedelta(days=1)).read_all().to_pylist()
            return [*(one.to_arrow().to_pylist() for one in found), sorted(online, key=repr)]

        before, rows_before = answers(), rows_of(store, KEYED)
        report = store.compact(KEYED, who="ada", target_bytes=2_000 if tiny else 2**28)
        assert answers() == before
        assert rows_of(store, KEYED) == rows_before
        for file in store.table(KEYED).snapshot().files:
            instants_of = [
                (one["a"], one["b"], one["event_timestamp"])
                for one in pq.read_table(file.path).select(["a", "b", "event_timestamp"]).to_pylist()
            ]
            assert instants_of == sorted(instants_of)
            assert file.ordered
        assert report.rows == sum(map(len, loads))
        assert store.compact(KEYED, who="ada").rows == 0 or tiny


def test_large_groups_are_cut_by_event_time(store: OfflineStore, view: FeatureView, weather_rows: Any) -> None:
    for number in range(8):
        store.ingest(view, weather_rows(range(number, 2000, 8), temp=1.0), who="ada")
    size = store.table(view).snapshot().size
    report = store.compact(view, who="ada", target_bytes=size // 4)
    after = store.table(view).snapshot()
    assert report.files_before == 8
    assert 3 <= len(after.files) <= 6
    assert after.rows == 2000
    spans = sorted((one.first, one.last) for one in after.files)
    assert all(one[1] < other[0] for one, other in pairwise(spans))


@settings(max_examples=8, deadline=None, phases=PHASES)
@given(data=st.data())
def test_values_of_every_type_come_through_bit_for_bit(
    data: st.DataObject,
    places: Callable[[], Path],
    any_type: st.SearchStrategy[DType],
    values_of: Callable[[DType], st.SearchStrategy[Any]],
    same: Callable[[Any, Any], bool],
) -> None:
    dtype = data.draw(any_type)
    values = data.draw(st.lists(st.none() | values_of(dtype), min_size=2, max_size=6))
    view = FeatureView(
        name="any", entities=[Entity(name="k", dtypes=[Int64])], schema=[Field(name="value", dtype=dtype)]
    )
    root = places()
    with open_registry(f"sqlite:///{root}/registry.db", "tests") as registry:
        store = OfflineStore(Config(root=root, project="tests", offline=OfflineConfig(threads=1)), registry)
        for number, value in enumerate(values):
            table = pa.table(
                {
                    "k": pa.array([number], pa.int64()),
                    "value": pa.array([value], dtype.to_arrow()),
                    "event_timestamp": [START],
                }
            )
            store.ingest(view, table, who="ada")
        kept = [pq.read_table(one.path) for one in store.table(view).snapshot().files]
        before = {row["k"]: row["value"] for table in kept for row in table.to_pylist()}
        store.compact(view, who="ada")
        (file,) = store.table(view).snapshot().files
        after = pq.read_table(file.path)
        assert after.schema == kept[0].schema if kept else True
        assert {row["k"] for row in after.to_pylist()} == before.keys()
        assert all(same(row["value"], before[row["k"]]) for row in after.to_pylist())


# While others write


def test_loads_that_land_while_a_table_is_compacted_are_kept(
    store: OfflineStore, view: FeatureView, weather_rows: Any
) -> None:
    for number in range(4):
        store.ingest(view, weather_rows(range(number * 5, number * 5 + 5)), who="ada")
    done = threading.Event()

    def compact() -> int:
        turns = 0
        while not done.is_set():
            with contextlib.suppress(TableConflictError):
                store.compact(view, who="ada")
            turns += 1
        return turns

    with ThreadPoolExecutor(2) as pool:
        running = [pool.submit(compact) for _ in range(2)]
        for number in range(4, 16):
            store.ingest(view, weather_rows(range(number * 5, number * 5 + 5)), who="ada")
        done.set()
        assert all(one.result() for one in running)
    assert store.table(view).snapshot().rows == 80
    assert len(store.loads(view)) == 16


def test_a_compaction_that_fails_leaves_nothing_behind(
    store: OfflineStore, view: FeatureView, weather_rows: Any
) -> None:
    for number in range(3):
        store.ingest(view, weather_rows(range(number * 5, number * 5 + 5)), who="ada")
    table = store.table(view)
    there = sorted(table.path.glob("*.parquet"))
    there[1].write_bytes(there[1].read_bytes()[:100])
    with pytest.raises(OfflineStoreError, match="cannot be read"):
        store.compact(view, who="ada")
    assert sorted(table.path.glob("*.parquet")) == there
    assert table.version() == 3


def test_a_view_that_was_never_ingested_has_nothing_to_compact(store: OfflineStore, view: FeatureView) -> None:
    assert str(store.compact(view, who="ada")) == "weather: 0 files, nothing to do"


def test_the_audit_tells_of_it_even_if_the_process_died_after_the_commit(
    store: OfflineStore, view: FeatureView, weather_rows: Any, registry: Any
) -> None:
    for number in range(2):
        store.ingest(view, weather_rows(range(number * 5, number * 5 + 5)), who="ada")
    table = store.table(view)
    old = [one.name for one in table.snapshot().files]
    said: dict[str, Any] = {"action": "compact", "details": {"files": 2}, "author": "bob", "reason": "tidy"}
    table.rewrite(old, [], data_change=False, **said)
    for _ in range(2):
        store.ledger(view)
    (entry,) = registry.audit(action="compact")
    assert (entry.who, entry.details["reason"], entry.details["table_version"]) == ("bob", "tidy", 3)
