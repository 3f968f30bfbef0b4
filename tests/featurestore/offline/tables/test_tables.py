"""A table of files, changed by commits alone: loads in and out, files in the place of others."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Barrier
from typing import Any

import polars as pl
import pyarrow as pa
import pytest
from deltalake import DeltaTable

from featurestore.definitions import FeatureView
from featurestore.definitions.names import EVENT_TIMESTAMP
from featurestore.errors import OfflineStoreError, TableConflictError
from featurestore.offline.store import OfflineStore
from featurestore.offline.tables import table as module
from featurestore.offline.tables.snapshots import DataFile, StagedFile, new_name, statistics
from featurestore.offline.tables.table import LoadMetadata, OfflineTable
from featurestore.types import microseconds

SCHEMA = pa.schema([("key", pa.int64()), (EVENT_TIMESTAMP, pa.timestamp("us", "UTC"))])
START = datetime(2013, 1, 1, tzinfo=UTC)


def staged(table: OfflineTable, *keys: int) -> StagedFile:
    batch = pa.RecordBatch.from_pydict({"key": keys, EVENT_TIMESTAMP: [START] * len(keys)}, SCHEMA)
    made = table.stage(iter([batch]), SCHEMA)
    assert made is not None
    return made


def load(load_id: str, rows: int = 1) -> LoadMetadata:
    return LoadMetadata(
        load_id=load_id, rows_read=rows, rows_written=rows, rows_quarantined=0, reasons={}, author="ada", reason="why"
    )


def keys(table: OfflineTable) -> list[int]:
    return sorted(pl.read_delta(str(table.path))["key"].to_list())


@pytest.fixture
def table(tmp_path: Path) -> OfflineTable:
    made = OfflineTable(tmp_path / "weather-0123456789ab")
    for number in range(3):
        assert made.publish(staged(made, number), SCHEMA, load(f"load-{number}"))
    return made


def rewrite(table: OfflineTable, removed: list[str], added: list[StagedFile], **more: Any) -> int:
    how: dict[str, Any] = {"action": "compact", "details": {"n": 1}, "author": "ada", "reason": "tidy"}
    return table.rewrite(removed, added, data_change=False, **(how | more))


def test_files_are_put_in_the_place_of_others_by_one_commit(table: OfflineTable) -> None:
    first, second, third = table.snapshot().files
    merged = staged(table, *(key for file in (first, second) for key in pl.read_parquet(file.path)["key"]))
    before = keys(table)
    version = rewrite(table, [first.name, second.name], [merged])
    assert version == table.version() == 4
    assert keys(table) == before
    assert {one.name for one in table.snapshot().files} == {merged.path.name, third.name}
    assert {one.name for one in table.snapshot(version - 1).files} == {first.name, second.name, third.name}


def test_a_change_says_who_and_why_and_names_its_version_though_others_commit(table: OfflineTable) -> None:
    old = table.snapshot().files[0].name
    assert rewrite(table, [old], [staged(table, 9)]) == 4
    table.publish(staged(table, 8), SCHEMA, load("later"))
    (change,) = [commit.change for commit in table.commits(3) if commit.change is not None]
    assert (change.action, change.author, change.reason, change.details) == ("compact", "ada", "tidy", {"n": 1})
    history = DeltaTable(str(table.path)).history()
    assert json.loads(history[1]["featurestore.change"])["author"] == "ada"
    assert json.loads(history[0]["featurestore.load"])["reason"] == "why"


def test_a_file_that_is_gone_already_is_a_conflict_and_nothing_is_changed(table: OfflineTable) -> None:
    old = table.snapshot().files[0].name
    rewrite(table, [old], [])
    before = keys(table)
    with pytest.raises(TableConflictError, match="changed the same files"):
        rewrite(table, [old], [staged(table, 9)])
    assert (keys(table), table.version()) == (before, 4)


def test_loads_that_land_while_files_are_replaced_stay(table: OfflineTable) -> None:
    old = [one.name for one in table.snapshot().files]
    table.publish(staged(table, 7), SCHEMA, load("meanwhile"))
    rewrite(table, old, [staged(table, 0, 1, 2)])
    assert keys(table) == [0, 1, 2, 7]


def test_a_load_that_was_withdrawn_is_out_and_may_come_again(table: OfflineTable) -> None:
    file = next(one.name for one in table.snapshot().files if pl.read_parquet(one.path)["key"].to_list() == [2])
    rewrite(table, [file], [], leaving=["load-2"])
    assert not table.has_load("load-2")
    assert table.having(["load-0", "load-2"]) == {"load-0"}
    assert table.having(["load-0", "load-2"], 3) == {"load-0", "load-2"}
    assert table.publish(staged(table, 2), SCHEMA, load("load-2"))
    assert table.has_load("load-2")
    assert not table.publish(staged(table, 2), SCHEMA, load("load-2"))
    assert keys(table) == [0, 1, 2]


def test_a_rewrite_may_be_a_load_and_is_one_only_once(table: OfflineTable) -> None:
    old = [one.name for one in table.snapshot().files]
    rewrite(table, old, [staged(table, 5)], load=load("backfill-1"), action="backfill")
    assert table.has_load("backfill-1")
    assert [said.load_id for _, said in table.loads_since(3)] == ["backfill-1"]
    with pytest.raises(TableConflictError):
        rewrite(table, [], [staged(table, 6)], load=load("backfill-1"), action="backfill")
    assert keys(table) == [5]


def test_a_withdrawn_load_says_nothing_of_the_source_any_more(tmp_path: Path) -> None:
    table = OfflineTable(tmp_path / "t")
    for number in range(2):
        said = LoadMetadata(**(vars(load(f"load-{number}")) | {"location": "here", "watermark": {"n": number}}))
        table.publish(staged(table, number), SCHEMA, said)
    newest = table.newest_of_source()
    assert newest is not None
    assert newest.watermark == {"n": 1}
    rewrite(table, [], [], leaving=["load-1"])
    newest = table.newest_of_source()
    assert newest is not None
    assert newest.watermark == {"n": 0}


def test_of_writers_that_publish_one_load_at_the_same_moment_one_does(table: OfflineTable) -> None:
    def publish(number: int) -> bool:
        mine = staged(table, number)
        barrier.wait()
        return table.publish(mine, SCHEMA, load("the-same"))

    for turn in range(5):
        barrier = Barrier(4)
        rewrite(table, [], [], leaving=["the-same"] if turn else [])
        with ThreadPoolExecutor(4) as pool:
            assert sorted(pool.map(publish, range(4))) == [False, False, False, True]
        assert len(keys(table)) == 4 + turn


def test_old_commits_stay_readable_however_many_follow(table: OfflineTable) -> None:
    first = keys(table)
    for number in range(110):  # Delta writes a checkpoint every hundred commits, and would clean its log then
        rewrite(table, [], [], details={"n": number})
    assert list((table.path / "_delta_log").glob("*.checkpoint.parquet"))
    assert table.snapshot(3).rows == len(first)
    assert table.having(["load-0", "load-1"]) == {"load-0", "load-1"}
    assert len(list(table.commits())) == 114


@pytest.mark.parametrize(("marks", "ordered"), [("s", True), ("", False), ("us", True), ("u", False)])
def test_the_name_of_a_file_says_whether_its_rows_are_in_order(marks: str, ordered: bool) -> None:
    """The mark ``u`` is that of earlier releases."""
    name = new_name(marks)
    assert DataFile(place=Path(name), rows=1, size=1, first=0, last=0).ordered is ordered


def test_statistics_of_early_years_are_dates_that_delta_reads(tmp_path: Path) -> None:
    early = int(datetime(33, 4, 3, tzinfo=UTC).timestamp()) * 1_000_000 + 7
    assert json.loads(statistics(1, early, early))["minValues"][EVENT_TIMESTAMP] == "0033-04-03T00:00:00.000007Z"
    table = OfflineTable(tmp_path / "t")
    batch = pa.RecordBatch.from_arrays([pa.array([1]), pa.array([early]).cast(SCHEMA.field(1).type)], schema=SCHEMA)
    table.publish(table.stage(iter([batch]), SCHEMA), SCHEMA, load("early"))
    (file,) = table.snapshot().files
    assert (file.first, file.last) == (early, early)


@pytest.mark.parametrize("told", [True, False])
def test_a_table_of_many_columns_has_the_event_times_of_its_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: bool
) -> None:
    """Delta keeps statistics of 32 columns unless it is told which; tables of earlier releases did not tell."""
    many = pa.schema([*((f"f{number}", pa.int64()) for number in range(40)), *SCHEMA])
    if not told:
        make = module.create_table_with_add_actions
        monkeypatch.setattr(
            module,
            "create_table_with_add_actions",
            lambda *given, **named: make(*given, **{key: one for key, one in named.items() if key != "configuration"}),
        )
    table = OfflineTable(tmp_path / "many")
    instants = [START + timedelta(hours=hour) for hour in (3, 1, 2)]
    columns = {one.name: [1, 2, 3] for one in many if one.name != EVENT_TIMESTAMP}
    made = table.stage(iter([pa.RecordBatch.from_pydict(columns | {EVENT_TIMESTAMP: instants}, many)]), many)
    assert table.publish(made, many, load("one", 3))
    (file,) = table.snapshot().files
    assert (file.first, file.last) == (microseconds(instants[1]), microseconds(instants[0]))
    if not told:
        Path(file.path).unlink()
        with pytest.raises(OfflineStoreError, match="cannot be read") as caught:
            table.snapshot()
        assert "backup" in caught.value.hint


def test_a_table_that_is_not_there_is_an_error_with_a_hint(tmp_path: Path) -> None:
    with pytest.raises(OfflineStoreError, match="does not exist") as found:
        rewrite(OfflineTable(tmp_path / "none"), [], [])
    assert found.value.hint


def test_any_delta_reader_opens_the_tables_whatever_was_done_to_them(
    store: OfflineStore, view: FeatureView, weather_rows: Callable[..., list[dict[str, Any]]]
) -> None:
    def seen() -> list[tuple[Any, ...]]:
        path = str(store.table(view).path)
        with_polars = pl.read_delta(path).select("origin", "temp").sort("temp").rows()
        rows = pl.from_arrow(DeltaTable(path).to_pyarrow_table())
        assert isinstance(rows, pl.DataFrame)
        assert rows.select("origin", "temp").sort("temp").rows() == with_polars
        return with_polars

    for number in range(3):
        store.ingest(view, weather_rows(range(number * 3, number * 3 + 3)), who="ada", load_id=f"l{number}")
    before = seen()
    assert len(before) == 9
    store.compact(view, who="ada")
    assert seen() == before
    store.restore(view, store.find_state(view, "l1"), who="ada")
    assert seen() == before[:6]
    assert len(pl.read_delta(str(store.table(view).path), version=4)) == 9
