"""A training dataset is named, immutable, and says how it was made."""

from __future__ import annotations

import json
import resource
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from featurestore import GroupSplit, KeySplit, TimeSplit
from featurestore.config import Config
from featurestore.definitions import FeatureService, FeatureView, storage_id
from featurestore.definitions import content_hash as definition_hash
from featurestore.errors import DefinitionError, OfflineStoreError, SchemaError
from featurestore.offline.datasets import training
from featurestore.offline.datasets.content import content_hash
from featurestore.offline.datasets.manifest import Recipe
from featurestore.offline.store import OfflineStore
from featurestore.profiles import Baseline, fit_baseline
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
    return store.create_dataset("delays", service, rows, Recipe(**({"label": "late"} | other)), who="ada").record


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
    snapshot = ingested.table(view).snapshot()
    assert manifest["views"] == {
        "weather": {
            "version": 1,
            "hash": definition_hash(view),
            "storage_id": storage_id(view),
            "table_version": snapshot.version,
            "files": [file.name for file in snapshot.files],
            "as_of": None,
            "known_at": None,
        }
    }
    chill = service.definition.on_demand_views[0]
    assert manifest["on_demand_views"] == {"chill": {"version": 1, "hash": definition_hash(chill)}}
    assert manifest["features"] == ["temp", "wind", "wind_chill"]
    assert (manifest["label"], manifest["timestamp_field"], manifest["rows"]) == ("late", "event_timestamp", 48)
    assert set(manifest["columns"]) == {*entities.columns, "temp", "wind", "wind_chill"}
    assert utc(manifest["first_instant"], "first") == entities["event_timestamp"].min()
    assert utc(manifest["last_instant"], "last") == entities["event_timestamp"].max()
    assert {"git_commit", "created_at", "notes", "format", "name"} <= manifest.keys()
    assert (manifest["split"], manifest["rows_per_part"], manifest["hyperparameters"]) == (None, None, {})
    assert "pyarrow" in manifest["environment"]["packages"]
    data = pq.read_table(config.root / manifest["path"])
    assert content_hash(data) == manifest["content_hash"]
    assert content_hash(data.select(entities.columns)) == manifest["entity_rows_hash"]
    assert content_hash(pq.read_table(config.root / manifest["entities"])) == manifest["entity_rows_hash"]
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
        store.create_dataset("../delays", service, entities, who="ada")
    assert registry.datasets() == []


def test_a_dataset_needs_no_label(
    ingested: OfflineStore, service: Registered[FeatureService], entities: pl.DataFrame
) -> None:
    assert create(ingested, service, entities, label=None).manifest["label"] is None


@pytest.mark.parametrize(
    "step", ["entities.parquet", "loads.parquet", "data.parquet", "baseline.parquet", "manifest.json", "rename"]
)
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
    write_table, writer, write_text, rename = pq.write_table, pq.ParquetWriter, Path.write_text, Path.rename

    def stop_at(name: str, go_on: Any) -> Any:
        def act(*arguments: Any, **named: Any) -> Any:
            if step in (name, *(Path(one).name for one in arguments if isinstance(one, Path))):
                raise OSError(28, "No space left on device")
            return go_on(*arguments, **named)

        return act

    with monkeypatch.context() as full:
        full.setattr(training.pq, "write_table", stop_at("", write_table))
        full.setattr(training.pq, "ParquetWriter", stop_at("", writer))
        full.setattr(Path, "write_text", stop_at("", write_text))
        full.setattr(Path, "rename", stop_at("rename", rename))
        with pytest.raises(OfflineStoreError, match=r'Dataset "delays" cannot be written .*No space left'):
            create(ingested, service, entities)
    assert list((config.path(config.offline.path) / "datasets").rglob("*")) == []
    assert registry.datasets() == []
    assert create(ingested, service, entities).id == "delays@1"


def test_a_first_version_that_is_interrupted_leaves_no_empty_folder(
    ingested: OfflineStore,
    service: Registered[FeatureService],
    entities: pl.DataFrame,
    config: Config,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(training, "baseline_of", interrupted)
    with pytest.raises(KeyboardInterrupt):
        create(ingested, service, entities)
    assert not (config.path(config.offline.path) / "datasets" / "delays").exists()


def test_a_disk_that_fills_up_is_a_clear_error_and_leaves_nothing(
    ingested: OfflineStore,
    service: Registered[FeatureService],
    entities: pl.DataFrame,
    registry: Registry,
    config: Config,
) -> None:
    """No file may grow over 100 kB: the entity rows do."""
    noise = np.random.default_rng(0).random(20_000)
    many = pl.concat([entities] * 500)[:20_000].with_columns(noise=noise)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
        with pytest.raises(
            OfflineStoreError, match=r'Dataset "delays" cannot be written to .*File too large'
        ) as raised:
            create(ingested, service, many)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert raised.value.hint == "Check the disk's space and rights; nothing was recorded."
    assert list((config.path(config.offline.path) / "datasets").iterdir()) == []
    assert registry.datasets() == []


def test_the_parts_of_a_split_are_rows_of_the_dataset(
    ingested: OfflineStore, service: Registered[FeatureService], entities: pl.DataFrame
) -> None:
    made = ingested.create_dataset(
        "delays",
        service,
        entities,
        Recipe(label="late", split=TimeSplit(shares={"train": 0.75, "test": 0.25})),
        who="ada",
    )
    manifest = made.manifest
    assert manifest["rows_per_part"] == {"train": 36, "test": 12}
    assert manifest["split"] == {"by": "time", "cuts": {"test": "2013-01-02T12:00:00+00:00"}}
    whole = made.to_polars()
    assert whole.columns == [*entities.columns, "temp", "wind", "wind_chill", "split__"]
    for part in made.parts:
        rows = made.split(part)
        assert rows.to_polars().equals(whole.filter(pl.col("split__") == part).drop("split__"))
        assert pa.Table.from_batches(rows.to_batches()).equals(rows.to_arrow())
        assert rows.to_pandas().equals(rows.to_arrow().to_pandas())
    assert pl.read_parquet(made.path).equals(whole)
    with pytest.raises(SchemaError, match='Dataset delays@1 has no part "tests"') as raised:
        made.split("tests")
    assert raised.value.hint == 'Did you mean "test"?'


def test_the_baseline_is_that_of_the_rows_to_train_on(
    ingested: OfflineStore, service: Registered[FeatureService], entities: pl.DataFrame, config: Config
) -> None:
    """A monitor that compared with the rows to test with would call normal what the model has never seen."""
    split = KeySplit(shares={"train": 0.5, "test": 0.5}, seed=1)
    entities = entities.with_columns(origin=pl.concat([entities["origin"][:24], pl.Series(["LGA"] * 24)]))
    made = ingested.create_dataset("delays", service, entities, Recipe(split=split), who="ada")
    train = made.split("train").to_arrow()
    assert 0 < train.num_rows < 48
    fields = [one for outputs in service.definition.outputs.values() for one in outputs]
    baseline = Baseline.from_arrow(pq.read_table(config.root / made.manifest["baseline"]))
    assert baseline == fit_baseline(train, fields)
    unsplit = ingested.create_dataset("whole", service, entities, who="ada")
    baseline = Baseline.from_arrow(pq.read_table(config.root / unsplit.manifest["baseline"]))
    assert baseline == fit_baseline(unsplit.to_arrow(), fields)


def test_a_split_that_leaves_nothing_to_train_on_is_refused(
    ingested: OfflineStore, service: Registered[FeatureService], entities: pl.DataFrame, registry: Registry
) -> None:
    early = TimeSplit(test=entities["event_timestamp"].min())
    with pytest.raises(SchemaError, match="leaves no rows to train on"):
        create(ingested, service, entities, split=early)
    with pytest.raises(SchemaError, match='no column "lat" to split by'):
        create(ingested, service, entities, split=GroupSplit(column="lat"))
    with pytest.raises(SchemaError, match='have a column "split__"'):
        create(ingested, service, entities.with_columns(split__=pl.lit("train")))
    assert registry.datasets() == []


def test_a_dataset_that_was_not_split_has_no_parts(
    ingested: OfflineStore, service: Registered[FeatureService], entities: pl.DataFrame
) -> None:
    made = ingested.create_dataset("delays", service, entities, who="ada")
    assert made.parts == ()
    with pytest.raises(SchemaError, match='no part "train"') as raised:
        made.split("train")
    assert raised.value.hint == "It was not split; make it with split=."


def test_rows_that_are_gone_from_the_disk_are_a_clear_error(
    ingested: OfflineStore, service: Registered[FeatureService], entities: pl.DataFrame
) -> None:
    made = ingested.create_dataset("delays", service, entities, who="ada")
    made.path.write_bytes(made.path.read_bytes()[:100])
    for read in (made.to_arrow, made.to_polars, lambda: list(made.to_batches())):
        with pytest.raises(OfflineStoreError, match="The rows of dataset delays@1 cannot be read") as raised:
            read()
        assert "featurestore dataset reproduce delays@1 --out FILE" in raised.value.hint
    made.path.unlink()
    with pytest.raises(OfflineStoreError, match="cannot be read"):
        made.to_arrow()


def test_what_parquet_cannot_hold_is_refused(
    ingested: OfflineStore, service: Registered[FeatureService], entities: pl.DataFrame
) -> None:
    table = entities.to_arrow().append_column("odd", pa.array([{}] * 48, pa.struct([])))
    with pytest.raises(
        SchemaError, match='entity rows of dataset "delays" have a column that no Parquet file can hold'
    ):
        create(ingested, service, table)


def test_a_dataset_keeps_how_its_features_are_named_and_what_was_chosen(
    ingested: OfflineStore, service: Registered[FeatureService], entities: pl.DataFrame, config: Config
) -> None:
    recipe = Recipe(
        full_feature_names=True, hyperparameters={"alpha": [0.1, 1]}, as_of=datetime(2999, 1, 1, tzinfo=UTC)
    )
    manifest = ingested.create_dataset("delays", service, entities, recipe, who="ada").manifest
    assert manifest["features"] == ["weather__temp", "weather__wind", "chill__wind_chill"]
    assert manifest["hyperparameters"] == {"alpha": [0.1, 1]}
    assert manifest["as_of"] == manifest["views"]["weather"]["as_of"] == "2999-01-01T00:00:00+00:00"
    assert Recipe.of(manifest) == recipe
    # The monitor knows features by the names that are served.
    baseline = Baseline.from_arrow(pq.read_table(config.root / manifest["baseline"]))
    assert baseline.bins.names == ("temp", "wind", "wind_chill")
