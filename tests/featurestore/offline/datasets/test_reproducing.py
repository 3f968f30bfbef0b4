"""A dataset is made again from what its manifest names, whatever became of the tables since."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import create_engine, text

from featurestore import KeySplit, TimeSplit
from featurestore.config import Config
from featurestore.definitions import FeatureService, FeatureView, storage_id
from featurestore.errors import ObjectNotFoundError, OfflineStoreError
from featurestore.offline.datasets import environment
from featurestore.offline.datasets.first_content import first_content_hash
from featurestore.offline.datasets.manifest import LOADS, Recipe
from featurestore.offline.datasets.training_dataset import TrainingDataset
from featurestore.offline.store import OfflineStore
from featurestore.registry import Registered, Registry, open_registry

START = datetime(2013, 1, 1, tzinfo=UTC)
Rows = Callable[..., list[dict[str, Any]]]


def entity_rows(hours: int = 48) -> pl.DataFrame:
    return pl.DataFrame(
        [
            {"origin": origin, "hour": hour, "event_timestamp": START + timedelta(hours=hour), "late": hour % 3 - 0.5}
            for hour in range(hours)
            for origin in ("JFK", "LGA")
        ]
    )


@pytest.fixture
def ingested(store: OfflineStore, view: FeatureView, weather_rows: Rows) -> OfflineStore:
    store.ingest(view, weather_rows(range(48)), who="ada", load_id="first")
    return store


@pytest.fixture
def made(ingested: OfflineStore, service: Registered[FeatureService]) -> TrainingDataset:
    return ingested.create_dataset("delays", service, entity_rows(), Recipe(label="late"), who="ada")


def restore(store: OfflineStore, view: FeatureView, load_id: str) -> None:
    store.restore(view, store.find_state(view, load_id), who="ada")


def test_a_dataset_is_proved_to_be_the_same(made: TrainingDataset, ingested: OfflineStore) -> None:
    found = ingested.reproduce_dataset("delays")
    assert found.proved
    assert (found.dataset, found.rows, found.gone, found.differing, found.notes) == ("delays@1", 96, (), (), ())
    assert found.found == found.expected == made.manifest["content_hash"]
    assert str(found) == "delays@1: all 96 rows are the same."


STEPS = st.lists(st.sampled_from(["again", "late", "more", "compact", "restore", "reingest"]), min_size=1, max_size=5)


@settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
def test_loads_compaction_and_restores_change_nothing_of_a_dataset(
    steps: list[str],
    service: Registered[FeatureService],
    view: FeatureView,
    weather_rows: Rows,
    config: Config,
    tmp_path: Path,
) -> None:
    """Loads tie with each other: in which order they count is part of what is pinned."""
    folder = tmp_path / f"try{len(list(tmp_path.glob('try*')))}"
    folder.mkdir()
    config = Config(root=folder, project="tests", offline=config.offline)
    registry = open_registry(config.database_url("sqlite:///registry.db"), "tests")
    registry.apply([service.definition], who="tests")
    store, service = OfflineStore(config, registry), registry.service("flight_delay")
    store.ingest(view, weather_rows(range(48)), who="ada", load_id="a")
    store.ingest(view, weather_rows(range(10, 30), temp=-1.0), who="ada", load_id="b")
    recipes = [
        Recipe(label="late"),
        Recipe(split=KeySplit(shares={"train": 0.5, "test": 0.5}, seed=1)),
        Recipe(known_at="row"),
        Recipe(as_of=datetime.now(UTC)),
    ]
    made = 0
    for number, step in enumerate(["none", *steps]):
        if step == "again":
            store.ingest(view, weather_rows(range(5, 40), temp=float(number)), who="ada", load_id=f"n{number}")
        elif step == "late":
            store.ingest(view, weather_rows(range(3), temp=0.25, origin="LGA"), who="ada", load_id=f"n{number}")
        elif step == "more":
            store.ingest(view, weather_rows(range(48, 60)), who="ada", load_id=f"n{number}")
        elif step == "compact":
            store.compact(view, who="ada")
        elif step == "restore":
            restore(store, view, "a")
        elif step == "reingest":
            # Under its old id it is a load of its own, with a place of its own in the order.
            restore(store, view, "a")
            store.ingest(view, weather_rows(range(20, 25), temp=7.0), who="ada", load_id="c")
            store.ingest(view, weather_rows(range(10, 30), temp=-1.0), who="ada", load_id="b")
        store.create_dataset("delays", service, entity_rows(30), recipes[number % len(recipes)], who="ada")
        made += 1
    for version in range(1, made + 1):
        found = store.reproduce_dataset(f"delays@{version}")
        assert found.proved, f"after {steps}: {found}"
    registry.close()


def test_the_order_of_loads_is_that_of_the_day_it_was_made(
    ingested: OfflineStore, service: Registered[FeatureService], view: FeatureView, weather_rows: Rows
) -> None:
    ingested.ingest(view, weather_rows(range(48), temp=1.0), who="ada", load_id="b")
    ingested.ingest(view, weather_rows(range(48), temp=2.0), who="ada", load_id="c")
    made = ingested.create_dataset("delays", service, entity_rows(), who="ada")
    assert set(made.to_polars().filter(pl.col("origin") == "JFK")["temp"]) == {2.0}
    restore(ingested, view, "first")
    for load_id, temp in (("c", 2.0), ("b", 1.0)):
        ingested.ingest(view, weather_rows(range(48), temp=temp), who="ada", load_id=load_id)
    assert ingested.reproduce_dataset("delays").proved
    # With the order of today, rows of the load that came last would count.
    kept = made.path.with_name(LOADS)
    loads = pl.read_parquet(kept)
    loads.with_columns(load_order=pl.col("load_id").replace_strict({"first": 1, "c": 2, "b": 3})).write_parquet(kept)
    found = ingested.reproduce_dataset("delays")
    assert not found.proved
    assert found.differing == ("temp", "wind_chill")
    assert str(found).startswith("delays@1 came out differently in temp, wind_chill: its content hash is ")


@pytest.mark.parametrize(
    "lost", ["file", "damaged", "entities", "other entities", "loads", "definition", "other definition"]
)
def test_it_says_which_input_is_gone(
    lost: str,
    made: TrainingDataset,
    ingested: OfflineStore,
    view: FeatureView,
    config: Config,
) -> None:
    table = ingested.table(view)
    file = table.path / made.manifest["views"]["weather"]["files"][0]
    entities = made.path.with_name("entities.parquet")
    database = create_engine(f"sqlite:///{config.root / 'registry.db'}")
    of_service = "WHERE name = 'flight_delay'"
    if lost == "file":
        file.unlink()
        says = f'file {file.name} of table {storage_id(view)} of feature view "weather" is gone or damaged'
    elif lost == "damaged":
        file.write_bytes(file.read_bytes()[:-9])
        says = f'file {file.name} of table {storage_id(view)} of feature view "weather" is gone or damaged'
    elif lost == "entities":
        entities.unlink()
        says = f"its entity rows are gone or damaged: {entities}"
    elif lost == "other entities":
        pq.write_table(pq.read_table(entities).slice(1), entities)
        says = f"its entity rows are not those that it was made of: {entities}"
    elif lost == "loads":
        made.path.with_name(LOADS).unlink()
        says = f"the order of the loads that it was made of is gone or damaged: {made.path.with_name(LOADS)}"
    elif lost == "definition":
        with database.begin() as connection:
            connection.execute(text("PRAGMA foreign_keys = OFF"))
            connection.execute(text(f"DELETE FROM versions {of_service}"))
        says = "the definition of flight_delay@1 is gone: "
    else:
        with database.begin() as connection:
            connection.execute(text(f"UPDATE versions SET content_hash = 'other' {of_service}"))
        says = "the registry's flight_delay@1 is another definition than the one it was made with"
    database.dispose()
    found = ingested.reproduce_dataset("delays@1")
    assert not found.proved
    assert len(found.gone) == 1
    assert str(found).startswith(f"delays@1 cannot be made again: {says}")
    assert found.to_json()["proved"] is False
    assert json.dumps(found.to_json())


def test_all_that_is_gone_is_named_at_once(
    made: TrainingDataset, ingested: OfflineStore, view: FeatureView, weather_rows: Rows, service: Any
) -> None:
    ingested.ingest(view, weather_rows(range(48), temp=1.0), who="ada", load_id="b")
    ingested.create_dataset("delays", service, entity_rows(), who="ada")
    for file in ingested.table(view).path.glob("*.parquet"):
        file.unlink()
    shutil.rmtree(made.path.parent)
    assert len(ingested.reproduce_dataset("delays@1").gone) == 3
    assert "2 of 2 files (the first is part-" in str(ingested.reproduce_dataset("delays@2"))


def test_rows_that_are_gone_can_be_written_again(made: TrainingDataset, ingested: OfflineStore, tmp_path: Path) -> None:
    before = made.to_arrow()
    made.path.unlink()
    out = tmp_path / "again.parquet"
    found = ingested.reproduce_dataset("delays", out=out)
    assert found.proved
    assert found.notes == (f"its rows are not on the disk any more: there is no {made.path}",)
    assert pq.read_table(out).equals(before)
    with pytest.raises(OfflineStoreError, match="cannot be written"):
        ingested.reproduce_dataset("delays", out=tmp_path / "no" / "such" / "folder.parquet")
    assert list(tmp_path.glob(".again*")) == []


def test_a_dataset_of_a_view_that_was_never_ingested_is_made_again(
    store: OfflineStore, service: Registered[FeatureService], view: FeatureView, weather_rows: Rows
) -> None:
    store.create_dataset("empty", service, entity_rows(), Recipe(split=TimeSplit(test=START + timedelta(3))), who="ada")
    store.ingest(view, weather_rows(range(48)), who="ada")
    assert store.reproduce_dataset("empty").proved


def test_other_versions_of_what_computes_features_are_told(
    made: TrainingDataset, ingested: OfflineStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    then = made.manifest["environment"]["packages"]["polars"]
    monkeypatch.setattr(environment, "packages", lambda: {"python": "3.11", "polars": "99.0"})
    found = ingested.reproduce_dataset("delays")
    assert found.proved
    assert found.notes == (f'on-demand view "chill" was computed with polars {then}, and here is 99.0',)


def test_there_is_no_such_dataset(ingested: OfflineStore) -> None:
    with pytest.raises(ObjectNotFoundError, match='There is no dataset "delays"'):
        ingested.reproduce_dataset("delays")


def as_first_format(made: TrainingDataset, registry: Registry, **changes: Any) -> None:
    """Record the dataset as the first release would have: no files, no entity rows of their own, the first hashes."""
    rows = made.to_arrow()
    manifest = dict(made.manifest)
    for later in ("content_hash_version", "column_hashes", "entities", "split", "rows_per_part", "hyperparameters"):
        del manifest[later]
    views = {
        name: {k: about[k] for k in ("version", "storage_id", "table_version")}
        for name, about in manifest["views"].items()
    }
    given = rows.drop_columns(list(manifest["features"]))
    manifest |= {"format": 1, "views": views, "content_hash": first_content_hash(rows)}
    manifest |= {"entity_rows_hash": first_content_hash(given)} | changes
    registry.record_dataset("old", manifest, who="ada")
    made.path.with_name("entities.parquet").unlink()
    made.path.with_name(LOADS).unlink()


def test_a_dataset_of_an_earlier_release_is_proved_too(
    made: TrainingDataset,
    ingested: OfflineStore,
    registry: Registry,
    view: FeatureView,
    weather_rows: Rows,
    tmp_path: Path,
) -> None:
    as_first_format(made, registry)
    ingested.ingest(view, weather_rows(range(48), temp=3.0), who="ada")
    found = ingested.reproduce_dataset("old", out=tmp_path / "old.parquet")
    assert found.proved, str(found)
    assert pq.read_table(tmp_path / "old.parquet").equals(made.to_arrow())
    made.path.unlink()
    assert "its entity rows are gone or damaged" in str(ingested.reproduce_dataset("old"))


def test_a_manifest_of_a_later_release_is_refused(
    made: TrainingDataset, ingested: OfflineStore, registry: Registry
) -> None:
    registry.record_dataset("later", {**made.manifest, "format": 3}, who="ada")
    with pytest.raises(
        OfflineStoreError, match=r"later@1 has format 3, of a newer release; this one, .*, reads up to 2"
    ):
        ingested.reproduce_dataset("later")
