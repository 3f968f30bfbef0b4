"""A training dataset is named, immutable, and says how it was made."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow.parquet as pq
import pytest

from featurestore.config import Config
from featurestore.definitions import FeatureService, FeatureView, storage_id
from featurestore.errors import DefinitionError, OfflineStoreError, SchemaError
from featurestore.offline import training
from featurestore.offline.content import content_hash
from featurestore.offline.store import OfflineStore
from featurestore.registry import DatasetRecord, Registered, Registry
from featurestore.types import utc


@pytest.fixture
def entities(weather_rows: Any) -> pl.DataFrame:
    return pl.DataFrame(
        [
            {"origin": "JFK", "hour": n, "event_timestamp": row["event_timestamp"], "late": n % 3 - 0.5}
            for n, row in enumerate(weather_rows(range(48)))
        ]
    )


@pytest.fixture
def ingested(store: OfflineStore, view: FeatureView, weather_rows: Any) -> OfflineStore:
    store.ingest(view, weather_rows(range(48)), who="ada")
    return store


def create(store: OfflineStore, service: Registered[FeatureService], rows: Any, **other: Any) -> DatasetRecord:
    return store.create_dataset("delays", service, rows, who="ada", **({"label": "late"} | other))[0]


def test_the_manifest_says_all_that_is_needed_to_make_it_again(
    ingested: OfflineStore,
    service: Registered[FeatureService],
    view: FeatureView,
    entities: pl.DataFrame,
    config: Config,
) -> None:
    manifest = create(ingested, service, entities).manifest
    assert manifest["service"] == "flight_delay@1"
    assert manifest["service_hash"] == service.content_hash
    assert manifest["views"] == {
        "weather": {"version": 1, "storage_id": storage_id(view), "table_version": ingested.table_version(view)}
    }
    assert manifest["on_demand_views"] == {"chill": {"version": 1}}
    assert manifest["features"] == ["temp", "wind", "wind_chill"]
    assert (manifest["label"], manifest["timestamp_field"], manifest["rows"]) == ("late", "event_timestamp", 48)
    assert set(manifest["columns"]) == {*entities.columns, "temp", "wind", "wind_chill"}
    assert utc(manifest["first_instant"], "first") == entities["event_timestamp"].min()
    assert utc(manifest["last_instant"], "last") == entities["event_timestamp"].max()
    assert {"git_commit", "created_at", "notes", "format", "name"} <= manifest.keys()
    assert "pyarrow" in manifest["environment"]["packages"]
    data = pq.read_table(config.root / manifest["path"])
    assert content_hash(data) == manifest["content_hash"]
    assert content_hash(data.select(entities.columns)) == manifest["entity_rows_hash"]
    assert pq.read_metadata(config.root / manifest["baseline"]).num_rows > 0
    assert json.loads((config.root / manifest["path"]).with_name("manifest.json").read_text()) == manifest


def test_the_same_rows_have_the_same_hash_in_the_next_version(
    ingested: OfflineStore, service: Registered[FeatureService], entities: pl.DataFrame, config: Config
) -> None:
    first = create(ingested, service, entities)
    file = config.root / first.manifest["path"]
    before = (file.stat().st_ino, file.stat().st_mtime_ns)
    second = create(ingested, service, entities.to_arrow())
    assert (first.id, second.id) == ("delays@1", "delays@2")
    assert first.manifest["content_hash"] == second.manifest["content_hash"]
    assert first.manifest["path"] == second.manifest["path"]
    assert (file.stat().st_ino, file.stat().st_mtime_ns) == before


def test_other_rows_are_another_dataset_and_leave_the_first_alone(
    ingested: OfflineStore, service: Registered[FeatureService], entities: pl.DataFrame, config: Config
) -> None:
    first, second = create(ingested, service, entities), create(ingested, service, entities[1:])
    assert first.manifest["content_hash"] != second.manifest["content_hash"]
    assert pq.read_table(config.root / first.manifest["path"]).num_rows == 48


def test_what_can_be_told_before_the_join_is(
    store: OfflineStore, service: Registered[FeatureService], entities: pl.DataFrame, registry: Registry
) -> None:
    with pytest.raises(SchemaError, match='entity rows of dataset "delays" have no label "lat"') as raised:
        create(store, service, entities, label="lat")
    assert raised.value.hint == 'Did you mean "late"?'
    for nothing in (entities[:0], []):
        with pytest.raises(SchemaError, match='Dataset "delays" has no rows'):
            create(store, service, nothing)
    for given in ("origin", "hour"):
        with pytest.raises(SchemaError, match=f'The label "{given}" .* is an input of "flight_delay"'):
            create(store, service, entities, label=given)
    with pytest.raises(SchemaError, match=r'The label "late" .* is null in every row'):
        create(store, service, entities.with_columns(late=pl.lit(None, pl.Float64)))
    with pytest.raises(DefinitionError, match="cannot name a dataset"):
        store.create_dataset("../delays", service, entities, label=None, who="ada")
    assert registry.datasets() == []


def test_a_dataset_needs_no_label(
    ingested: OfflineStore, service: Registered[FeatureService], entities: pl.DataFrame
) -> None:
    assert create(ingested, service, entities, label=None).manifest["label"] is None


@pytest.mark.parametrize("step", ["data.parquet", "baseline.parquet", "manifest.json", "rename"])
def test_a_dataset_whose_writing_stops_is_not_there(
    ingested: OfflineStore,
    service: Registered[FeatureService],
    entities: pl.DataFrame,
    registry: Registry,
    config: Config,
    monkeypatch: pytest.MonkeyPatch,
    step: str,
) -> None:
    """A folder appears under its name by one rename, when everything is in it."""
    write_table, write_text, rename = pq.write_table, Path.write_text, Path.rename

    def stop_at(name: str, go_on: Any) -> Any:
        def act(*arguments: Any, **named: Any) -> Any:
            if step in (name, *(Path(one).name for one in arguments if isinstance(one, Path))):
                raise OSError(28, "No space left on device")
            return go_on(*arguments, **named)

        return act

    with monkeypatch.context() as full:
        full.setattr(training.pq, "write_table", stop_at("", write_table))
        full.setattr(Path, "write_text", stop_at("", write_text))
        full.setattr(Path, "rename", stop_at("rename", rename))
        with pytest.raises(OfflineStoreError, match=r'Dataset "delays" cannot be written .*No space left'):
            create(ingested, service, entities)
    assert list((config.path(config.offline.path) / "datasets").rglob("*")) == [
        config.path(config.offline.path) / "datasets" / "delays"
    ]
    assert registry.datasets() == []
    assert create(ingested, service, entities).id == "delays@1"
