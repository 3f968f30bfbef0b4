"""Delta tables of others: read by version, only what is new where that is sure, and whole where it is not."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable, write_deltalake

from featurestore.config import Config, SourceConfig
from featurestore.definitions import Entity, FeatureView, Field, FileSource, SqlSource
from featurestore.errors import ConfigError, DataError
from featurestore.offline.store import OfflineStore
from featurestore.registry import Registry
from featurestore.types import Float64

START = datetime(2013, 1, 1, tzinfo=UTC)


def rows(*hours: int, origin: str = "JFK") -> pa.Table:
    instants = pa.array([START + timedelta(hours=hour) for hour in hours], pa.timestamp("us", tz="UTC"))
    values = pa.array([float(hour) for hour in hours])
    return pa.table({"origin": [origin] * len(hours), "temp": values, "event_timestamp": instants})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A table of two versions in the store's folder, cut by origin."""
    path = tmp_path / "lake" / "weather"
    write_deltalake(path, rows(0, 1), partition_by=["origin"])
    write_deltalake(path, rows(2, origin="L GA/%"), mode="append")
    return path


@pytest.fixture
def view() -> FeatureView:
    return FeatureView(
        name="weather",
        entities=[Entity(name="airport", join_keys=["origin"])],
        schema=[Field(name="temp", dtype=Float64)],
        source=FileSource(path="lake/weather", format="delta", name="w"),
    )


def stored(store: OfflineStore, view: FeatureView) -> list[Any]:
    values: list[Any] = store.rows_by_event_time(view, after=None).read_all()["temp"].to_pylist()
    return values


@pytest.mark.usefixtures("folder")
def test_the_first_load_takes_the_whole_table_and_is_named_by_its_version(
    store: OfflineStore, view: FeatureView
) -> None:
    report = store.ingest_source(view, who="ada")
    assert (report.written, report.notes) == (3, ())
    assert report.loads[0].load_id.endswith("-v1")
    assert stored(store, view) == [0.0, 1.0, 2.0]
    origins = store.rows_by_event_time(view, after=None).read_all()["origin"].to_pylist()
    assert origins == ["JFK", "JFK", "L GA/%"]
    assert store.ingest_source(view, who="ada").skipped == 1


def test_only_files_added_since_the_last_load_are_read(store: OfflineStore, view: FeatureView, folder: Path) -> None:
    store.ingest_source(view, who="ada")
    write_deltalake(folder, rows(3), mode="append")
    write_deltalake(folder, rows(4, origin="L GA/%"), mode="append")
    report = store.ingest_source(view, who="ada")
    assert (report.read, report.notes, len(report.loads)) == (2, (), 1)
    assert report.loads[0].load_id.endswith("-v3")
    assert stored(store, view) == [0.0, 1.0, 2.0, 3.0, 4.0]


def test_compaction_brings_nothing_twice_and_hides_nothing_new(
    store: OfflineStore, view: FeatureView, folder: Path
) -> None:
    store.ingest_source(view, who="ada")
    write_deltalake(folder, rows(3), mode="append")
    DeltaTable(folder).optimize.compact()
    report = store.ingest_source(view, who="ada")
    assert (report.read, report.notes) == (1, ())
    DeltaTable(folder).optimize.compact()
    assert store.ingest_source(view, who="ada").read == 0


def test_files_that_are_gone_with_a_compaction_are_made_up_for_by_the_whole_table(
    store: OfflineStore, view: FeatureView, folder: Path
) -> None:
    store.ingest_source(view, who="ada")
    write_deltalake(folder, rows(3), mode="append")
    table = DeltaTable(folder)
    table.optimize.compact()
    table.vacuum(retention_hours=0, dry_run=False, enforce_retention_duration=False)
    report = store.ingest_source(view, who="ada")
    assert report.read == 4
    assert "read whole, as files that were added since version 1 are gone" in report.notes[0]


def test_changed_rows_make_it_read_whole_with_a_note(store: OfflineStore, view: FeatureView, folder: Path) -> None:
    store.ingest_source(view, who="ada")
    DeltaTable(folder).delete("temp = 0")
    report = store.ingest_source(view, who="ada")
    assert report.read == 2
    assert report.notes[0] == (
        "the Delta table lake/weather was read whole, as rows were changed or removed in version 2: "
        "rows that are gone there stay here"
    )
    write_deltalake(folder, rows(5), mode="append")
    assert store.ingest_source(view, who="ada").read == 1


def test_a_new_column_in_between_is_null_before(store: OfflineStore, view: FeatureView, folder: Path) -> None:
    store.ingest_source(view, who="ada")
    write_deltalake(folder, rows(3), mode="append")
    wider = rows(4).append_column("wind", pa.array([7.0]))
    write_deltalake(folder, wider, mode="append", schema_mode="merge")
    report = store.ingest_source(view, who="ada")
    assert report.read == 2
    assert stored(store, view)[-2:] == [3.0, 4.0]


def test_a_table_that_was_restored_or_replaced_is_read_whole(
    store: OfflineStore, view: FeatureView, folder: Path, tmp_path: Path
) -> None:
    backup = tmp_path / "backup"
    shutil.copytree(folder, backup)
    write_deltalake(folder, rows(3), mode="append")
    store.ingest_source(view, who="ada")
    shutil.rmtree(folder)
    shutil.copytree(backup, folder)
    write_deltalake(folder, rows(30), mode="append")  # the same version of the same table, with another row
    restored = store.ingest_source(view, who="ada")
    assert restored.read == 4
    assert "its history is another one" in restored.notes[0]
    shutil.rmtree(folder)
    write_deltalake(folder, rows(9))
    assert "it is another table than before" in store.ingest_source(view, who="ada").notes[0]


def test_a_log_that_reaches_no_longer_back_is_made_up_for_by_the_whole_table(
    store: OfflineStore, view: FeatureView, folder: Path
) -> None:
    store.ingest_source(view, who="ada")
    for hour in (3, 4):
        write_deltalake(folder, rows(hour), mode="append")
    DeltaTable(folder).create_checkpoint()
    for version in (0, 2):
        (folder / "_delta_log" / f"{version:020}.json").unlink()
    report = store.ingest_source(view, who="ada")
    assert report.read == 5
    assert "its log no longer tells what happened since version 1" in report.notes[0]


def test_a_table_that_moved_goes_on_where_it_was_and_the_move_is_audited(
    config: Config, registry: Registry, store: OfflineStore, view: FeatureView, folder: Path
) -> None:
    store.ingest_source(view, who="ada")
    write_deltalake(folder, rows(3), mode="append")
    shutil.move(folder, config.root / "elsewhere")
    moved = OfflineStore(config.model_copy(update={"sources": {"w": SourceConfig(path="elsewhere")}}), registry)
    report = moved.ingest_source(view, who="bob")
    assert report.read == 1
    assert report.notes == ("the source moved from lake/weather to elsewhere",)
    entry = registry.audit(action="ingest")[-1]
    assert entry.details["source_moved"] == {"from": "lake/weather", "to": "elsewhere"}


def test_a_sql_source_reads_a_delta_table_and_again_when_it_has_a_new_version(
    store: OfflineStore, view: FeatureView, folder: Path
) -> None:
    assert isinstance(view.source, FileSource)
    query = "SELECT origin, avg(temp) AS temp, max(event_timestamp) AS event_timestamp FROM w GROUP BY origin"
    averages = FeatureView(
        name="averages",
        entities=view.entities,
        schema=view.schema,
        source=SqlSource(query=query, sources=[view.source]),
    )
    assert store.ingest_source(averages, who="ada").written == 2
    assert stored(store, averages) == [0.5, 2.0]
    assert store.ingest_source(averages, who="ada").skipped == 1
    write_deltalake(folder, rows(2), mode="append")
    assert store.ingest_source(averages, who="ada").written == 2


def test_a_folder_without_a_table_is_named(store: OfflineStore, view: FeatureView, tmp_path: Path) -> None:
    for make in (lambda: None, lambda: (tmp_path / "lake" / "weather").mkdir(parents=True)):
        make()
        with pytest.raises(DataError, match=r'"weather": .*lake/weather cannot be read as a Delta table') as raised:
            store.ingest_source(view, who="ada")
        assert "_delta_log" in raised.value.hint
        assert "\x1b" not in raised.value.message


def test_a_file_of_the_table_that_is_damaged_publishes_nothing(
    store: OfflineStore, view: FeatureView, folder: Path
) -> None:
    next(folder.rglob("*.parquet")).write_bytes(b"PAR1 no more PAR1")
    with pytest.raises(DataError, match="version 1 of the Delta table weather cannot be read"):
        store.ingest_source(view, who="ada")
    assert store.table_version(view) is None


# Files and queries that move


def test_files_that_moved_are_said_in_the_commit_and_the_audit(
    config: Config, registry: Registry, store: OfflineStore, tmp_path: Path, view: FeatureView
) -> None:
    for place, hour in (("old", 0), ("new", 1)):
        (tmp_path / place).mkdir()
        pq.write_table(rows(hour), tmp_path / place / "a.parquet")
        pq.write_table(rows(hour + 2), tmp_path / place / "b.parquet")
    files = FeatureView(
        name="weather",
        entities=view.entities,
        schema=view.schema,
        source=FileSource(path="old/*.parquet", name="w"),
    )
    assert store.ingest_source(files, who="ada").written == 2
    moved = OfflineStore(config.model_copy(update={"sources": {"w": SourceConfig(path="new/*.parquet")}}), registry)
    assert "the source moved from old/*.parquet to new/*.parquet" in moved.ingest_source(files, who="bob").notes
    newest = store.table(files).newest_of_source()
    assert newest is not None
    assert newest.location == "new/*.parquet"
    assert [entry.details.get("source_moved") for entry in registry.audit(action="ingest")] == [
        None,
        None,
        {"from": "old/*.parquet", "to": "new/*.parquet"},
        None,
    ]


@pytest.mark.usefixtures("folder")
def test_a_section_that_does_not_suit_its_source_is_refused(
    config: Config, registry: Registry, view: FeatureView
) -> None:
    assert isinstance(view.source, FileSource)
    query = SqlSource(query="SELECT * FROM w", sources=[view.source], name="all")
    over_query = FeatureView(name="weather", entities=view.entities, schema=view.schema, source=query)
    for made, sources, says in (
        (view, {"w": SourceConfig(connection="warehouse")}, r"\[sources\.w\] .* puts a FileSource where it cannot be"),
        (
            over_query,
            {"all": SourceConfig(path="x")},
            r'\[sources\.all\] .* puts "all" elsewhere, which is a SqlSource',
        ),
    ):
        misplaced = OfflineStore(config.model_copy(update={"sources": sources}), registry)
        with pytest.raises(ConfigError, match=says):
            misplaced.ingest_source(made, who="ada")
