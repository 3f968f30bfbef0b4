"""Training datasets of a feature store, and what an erasure leaves of them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from featurestore import Entity, FeatureService, FeatureStore, FeatureView, Field, KeySplit
from featurestore.errors import ObjectNotFoundError
from featurestore.types import Float64, Int64

START = datetime(2013, 1, 1, tzinfo=UTC)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[FeatureStore]:
    view = FeatureView(
        name="spending",
        entities=[Entity(name="user", join_keys=["user_id"], dtypes=[Int64])],
        schema=[Field(name="total", dtype=Float64)],
    )
    with FeatureStore.init(tmp_path / "repo", project="shop") as store:
        store.apply([view, FeatureService(name="scoring", features=[view])])
        store.ingest("spending", [entity(n) | {"total": float(n)} for n in range(40)])
        yield store


def entity(n: int) -> dict[str, object]:
    return {"user_id": n % 10, "event_timestamp": START + timedelta(hours=n)}


def test_a_dataset_is_found_again_by_name_and_by_version(store: FeatureStore) -> None:
    for count in (40, 20):
        store.create_training_dataset("buyers", entity_df=[entity(n) for n in range(count)], features="scoring")
    assert store.get_training_dataset("buyers").to_polars().height == 20
    assert store.get_training_dataset("buyers@1").to_polars().height == 40
    with pytest.raises(ObjectNotFoundError, match='There is no dataset "buyer"'):
        store.get_training_dataset("buyer")


def test_what_an_erasure_leaves_is_proved_and_whose_wish_it_was_is_said(store: FeatureStore) -> None:
    split = KeySplit(shares={"train": 0.5, "test": 0.5}, seed=2)
    made = store.create_training_dataset(
        "buyers", entity_df=[entity(n) for n in range(40)], features="scoring", split=split
    )
    before = made.to_polars()
    store.erase("user", {"user_id": 3}, request="GDPR-1")
    store.erase("user", [{"user_id": 4}, {"user_id": 5}], request="GDPR-2")
    store.ingest("spending", [entity(n) | {"total": -1.0} for n in range(40)])
    found = store.reproduce_dataset("buyers@1")
    assert found.proved, str(found)
    assert found.rows == 28
    assert found.erased == {"GDPR-1": 4, "GDPR-2": 8}
    assert str(found) == (
        "buyers@1: the remaining 28 rows are the same; request GDPR-1 erased 4, request GDPR-2 erased 8."
    )
    assert "request GDPR-1 erased 4 rows of the tables that it was made of" in found.notes
    assert made.to_polars().equals(before.filter(~pl.col("user_id").is_in([3, 4, 5])))


def test_a_row_that_changed_beside_an_erasure_is_noticed(store: FeatureStore) -> None:
    made = store.create_training_dataset("buyers", entity_df=[entity(n) for n in range(40)], features="scoring")
    store.erase("user", {"user_id": 3}, request="GDPR-1")
    entities = made.path.with_name("entities.parquet")
    pl.read_parquet(entities).with_columns(user_id=pl.lit(7)).write_parquet(entities)
    found = store.reproduce_dataset("buyers")
    assert not found.proved
    assert str(found).startswith("buyers@1 came out differently: its content hash is ")


def test_a_dataset_of_which_no_row_is_left_is_still_the_same(store: FeatureStore) -> None:
    store.create_training_dataset("buyers", entity_df=[entity(3), entity(13)], features="scoring")
    store.erase("user", {"user_id": 3}, request="GDPR-1")
    found = store.reproduce_dataset("buyers")
    assert found.proved, str(found)
    assert (found.rows, found.erased) == (0, {"GDPR-1": 2})
