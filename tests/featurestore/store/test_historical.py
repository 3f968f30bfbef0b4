"""Features at an instant, as a user asks for them: by a service, or by definitions that nobody has applied."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from featurestore import (
    Entity,
    FeatureService,
    FeatureStore,
    FeatureView,
    Field,
    FileSource,
    OnDemandFeatureView,
    SharedView,
)
from featurestore.definitions import storage_id
from featurestore.errors import DataError, DefinitionError, ObjectNotFoundError, SchemaError
from featurestore.offline.erasure.erased_keys import plain_text
from featurestore.offline.erasure.suppression import members, suppression_secret
from featurestore.types import Float64, Int64

NOON = datetime(2024, 1, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
USER = Entity(name="user", join_keys=["user_id"], dtypes=[Int64])
TOTAL, ORDERS = Field(name="total", dtype=Float64), Field(name="orders", dtype=Int64)
SOURCE = FileSource(name="spent", path="spent.csv")
SPENDING = FeatureView(name="spending", entities=[USER], schema=[TOTAL], source=SOURCE)
VISITS = FeatureView(name="visits", entities=[USER], schema=[Field(name="pages", dtype=Int64)])
SCORING = FeatureService(name="scoring", features=[SPENDING])
TWICE = OnDemandFeatureView(
    name="twice",
    inputs=[SPENDING],
    request=[Field(name="rate", dtype=Float64)],
    schema=[Field(name="doubled", dtype=Float64)],
    expressions={"doubled": "2 * total * rate"},
)
ENTITIES = [{"label": 1, "user_id": 1, "event_timestamp": NOON}, {"label": 0, "user_id": 2, "event_timestamp": NOON}]
CSV = """\
user_id,total,orders,event_timestamp
1,10.5,3,2024-01-01T11:00:00Z
1,99.0,9,2024-01-01T13:00:00Z
2,-1.0,4,2024-01-01T11:00:00Z
"""
Traces = Callable[[], Any]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[FeatureStore]:
    with FeatureStore.init(tmp_path / "shop") as store:
        (store.config.root / "spent.csv").write_text(CSV)
        store.apply([SCORING])
        yield store


@pytest.fixture
def traces(store: FeatureStore) -> Traces:
    """Give what a call may leave behind: the registry's state, and every file of the project."""

    def look() -> Any:
        registry = store.registry
        files = sorted(
            (str(path), path.stat().st_size)
            for path in store.config.root.rglob("*")
            if path.is_file() and not path.name.startswith("registry.db")
        )
        return registry.revision(), len(registry.audit()), [one.id for one in registry.list()], files

    return look


def test_every_feature_can_go_by_its_full_name(store: FeatureStore) -> None:
    store.apply(FeatureService(name="both", features=[SPENDING, TWICE]))
    store.ingest("spending")
    entities = [row | {"rate": 0.5, "total": "mine"} for row in ENTITIES]
    found = store.get_historical_features(entities, "both", full_feature_names=True, with_status=True).to_polars()
    assert found.columns == [
        "label",
        "user_id",
        "event_timestamp",
        "rate",
        "total",
        "spending__total",
        "twice__doubled",
        "spending__status",
        "spending__event_timestamp",
    ]
    assert found.select("total", "spending__total", "twice__doubled").rows() == [
        ("mine", 10.5, 10.5),
        ("mine", -1.0, -1.0),
    ]
    with pytest.raises(SchemaError, match='have a column "total", which is also a feature'):
        store.get_historical_features(entities, "both")
    with pytest.raises(SchemaError, match='have a column "spending__total"'):
        store.get_historical_features([ENTITIES[0] | {"spending__total": 1}], "scoring", full_feature_names=True)


def test_a_full_name_that_is_a_statuss_is_refused_where_both_are_asked_for(store: FeatureStore) -> None:
    view = FeatureView(name="state", entities=[USER], schema=[Field(name="status", dtype=Int64)])
    found = store.get_historical_features(ENTITIES, view, full_feature_names=True)
    assert found.to_arrow().column_names[-1] == "state__status"
    with pytest.raises(SchemaError, match='"state__status" is the full name of a feature') as caught:
        store.get_historical_features(ENTITIES, view, full_feature_names=True, with_status=True)
    assert "Leave out" in caught.value.hint


def test_views_of_a_table_are_joined_without_a_service_and_nothing_is_written(
    store: FeatureStore, traces: Traces
) -> None:
    store.ingest("spending")
    store.materialize("spending")
    before = traces()
    entities = [row | {"rate": 1.0} for row in ENTITIES]
    for features in (SPENDING, [SPENDING], (SPENDING[["total"]],), [SPENDING, TWICE]):
        found = store.get_historical_features(entities, features)
        assert found.service == "draft"
        assert found.notes[0] == "the features are a draft: nothing was registered, and they have no version"
        assert found.to_polars()["total"].to_list() == [10.5, -1.0]
    assert found.to_polars()["doubled"].to_list() == [21.0, -2.0]
    assert found.to_polars()["label"].to_list() == [1, 0]
    assert traces() == before


def test_a_view_that_was_never_applied_is_read_from_its_source_and_nothing_is_left(
    store: FeatureStore, traces: Traces
) -> None:
    store.ingest("spending")
    before = traces()
    other = replace(SPENDING, name="ordering", schema=[ORDERS, Field(name="total", dtype=Float64, ge=0)])
    found = store.get_historical_features(ENTITIES, [other, VISITS], with_status=True)
    frame = found.to_polars()
    assert frame["orders"].to_list() == [3, None]
    assert frame["ordering__status"].to_list() == [1, 2]
    assert 'feature view "ordering" is a draft: of its source 2 rows were read, and 1 failed its checks' in found.notes
    assert any('feature view "visits" is a draft without a source to read' in note for note in found.notes)
    assert found.to_batches() is not None
    assert pl.from_arrow(list(found.to_batches())).equals(frame)
    del found
    gc.collect()
    assert traces() == before


def test_the_rows_of_a_draft_stay_as_long_as_its_result_is_wanted(store: FeatureStore, tmp_path: Path) -> None:
    other = replace(SPENDING, name="ordering", schema=[ORDERS])
    path = store.get_historical_features(ENTITIES, other).write(tmp_path / "out.parquet")
    assert pl.read_parquet(path)["orders"].to_list() == [3, 4]
    batches = store.get_historical_features(ENTITIES, other).to_batches()
    gc.collect()
    assert [value for batch in batches for value in batch.column("orders").to_pylist()] == [3, 4]


def test_a_range_of_time_goes_over_the_rows_of_a_draft(store: FeatureStore) -> None:
    other = replace(SPENDING, name="ordering", schema=[ORDERS])
    found = store.get_historical_features(features=other, start=NOON - HOUR, end=NOON).to_polars()
    assert found.select("user_id", "orders").rows() == [(1, 3), (2, 4)]


def test_a_draft_that_cannot_be_joined_leaves_nothing(store: FeatureStore, traces: Traces) -> None:
    before = traces()
    strict = replace(SPENDING, schema=[Field(name="total", dtype=Float64, ge=0)], on_bad_rows="reject")
    with pytest.raises(DataError, match="1 bad row "):
        store.get_historical_features(ENTITIES, strict)
    other = replace(SPENDING, name="ordering", schema=[ORDERS])
    with pytest.raises(SchemaError, match="user_id"):
        store.get_historical_features([{"event_timestamp": NOON}], other)
    wrong = replace(TWICE, expressions={"doubled": "2 * nothing"})
    with pytest.raises(DefinitionError, match="nothing"):
        store.get_historical_features([row | {"rate": 1.0} for row in ENTITIES], [wrong])
    gone = replace(SPENDING, name="gone", source=FileSource(path="gone.csv"))
    with pytest.raises(DataError, match="No file matches"):
        store.get_historical_features(ENTITIES, gone)
    gc.collect()
    assert traces() == before


def test_a_change_of_a_view_without_a_source_is_tried_on_the_rows_that_there_are(
    store: FeatureStore, traces: Traces
) -> None:
    store.apply(VISITS)
    store.ingest("visits", [{"user_id": 1, "pages": 5, "event_timestamp": NOON}])
    before = traces()
    changed = replace(VISITS, schema=[Field(name="pages", dtype=Int64, le=3), Field(name="clicks", dtype=Int64)])
    found = store.get_historical_features(ENTITIES, changed)
    assert found.to_polars()["pages"].to_list() == [None, None]
    assert any("of the rows of the version before 0 rows were read, and 1 failed" in note for note in found.notes)
    kept = replace(changed, schema=[Field(name="pages", dtype=Int64, le=9)])
    assert store.get_historical_features(ENTITIES, kept).to_polars()["pages"].to_list() == [5, None]
    longer = replace(VISITS, ttl=HOUR)
    found = store.get_historical_features(ENTITIES, longer)
    assert found.to_polars()["pages"].to_list() == [5, None]
    assert any(f"whose rows are in {storage_id(VISITS)} already" in note for note in found.notes)
    gc.collect()
    assert traces() == before


def test_a_view_that_is_applied_and_was_never_ingested_gives_nulls_in_a_draft_too(store: FeatureStore) -> None:
    found = store.get_historical_features(ENTITIES, [SPENDING])
    assert found.to_polars()["total"].to_list() == [None, None]
    assert any("was never ingested" in note for note in found.notes)


def test_a_service_stands_for_the_registered_version_that_it_equals_and_else_is_a_draft(store: FeatureStore) -> None:
    store.ingest("spending")
    assert store.get_historical_features(ENTITIES, SCORING).service == "scoring@1"
    store.registry.promote("scoring@1", who="ada")
    shorter = replace(SCORING, features=[replace(SPENDING, ttl=timedelta(minutes=1))])
    found = store.get_historical_features(ENTITIES, shorter)
    assert found.service == "scoring (draft)"
    assert (
        'feature service "scoring" differs from scoring@1: it was joined as a draft, and has no version' in found.notes
    )
    assert found.to_polars()["total"].to_list() == [None, None]
    store.apply(shorter)
    found = store.get_historical_features(ENTITIES, shorter)
    assert found.service == "scoring@2"
    assert found.notes[0] == "the FeatureService is scoring@2, not scoring@1, for which its name stands"
    assert store.get_historical_features(ENTITIES, SCORING).service == "scoring@1"
    unknown = store.get_historical_features(ENTITIES, replace(SCORING, name="guessing"))
    assert unknown.service == "guessing (draft)"
    assert any('"guessing" is not registered' in note for note in unknown.notes)


@pytest.mark.parametrize("features", [(), [], None, 3, ["spending:total"], [SPENDING, "visits"], [USER]])
def test_what_is_neither_a_service_nor_views_is_refused(store: FeatureStore, features: Any) -> None:
    with pytest.raises(DefinitionError) as caught:
        store.get_historical_features(ENTITIES, features)
    assert "not a feature view" in caught.value.message or "names no feature service" in caught.value.message


def test_features_named_by_texts_are_told_that_views_can_be_listed(store: FeatureStore) -> None:
    with pytest.raises(DefinitionError) as caught:
        store.get_historical_features(ENTITIES, ["spending:total"])  # type: ignore[list-item]
    assert caught.value.message == 'features=["spending:total"] names no feature service.'
    assert 'a list of views: [spending[["total"]]]' in caught.value.hint


def test_where_a_service_is_needed_a_list_of_views_is_refused_in_a_short_sentence(store: FeatureStore) -> None:
    with pytest.raises(DefinitionError) as caught:
        store.create_training_dataset("spenders", entity_df=ENTITIES, features=[SPENDING])  # type: ignore[arg-type]
    assert caught.value.message == 'features=[feature view "spending"] names no feature service.'
    assert "apply" in caught.value.hint


def test_features_of_one_name_are_refused_in_a_draft(store: FeatureStore) -> None:
    other = replace(VISITS, schema=[TOTAL])
    with pytest.raises(DefinitionError, match='gets a feature "total" from "spending" and from "visits"'):
        store.get_historical_features(ENTITIES, [SPENDING, other])


def test_a_view_of_another_project_can_be_in_a_draft_if_its_owner_shares_it(tmp_path: Path) -> None:
    settings = 'project = "{}"\nregistry = "sqlite:///../registry.db"\n[offline]\npath = "../offline"\n'
    stores = []
    for name in ("sales", "ads"):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "featurestore.toml").write_text(settings.format(name))
        stores.append(FeatureStore(folder))
    sales, ads = stores
    with sales, ads:
        sales.apply(SPENDING)
        sales.ingest("spending", [{"user_id": 1, "total": 7.0, "event_timestamp": NOON}])
        with pytest.raises(DefinitionError, match="sales"):
            ads.get_historical_features(ENTITIES, [SharedView("sales/spending")])
        sales.share("spending", with_project="ads")
        found = ads.get_historical_features(ENTITIES, [SharedView("sales/spending")])
        assert found.to_polars()["total"].to_list() == [7.0, None]
        assert ads.registry.revision() == 0
        with pytest.raises(ObjectNotFoundError):
            ads.get_historical_features(ENTITIES, "campaign")


def test_rows_of_a_draft_are_ingested_now_and_it_is_said(store: FeatureStore) -> None:
    other = replace(SPENDING, name="ordering", schema=[ORDERS])
    said = "rows that were read for a draft count as ingested now, for as_of and known_at too"
    for options in ({"as_of": NOON}, {"known_at": "row"}):
        found = store.get_historical_features(ENTITIES, other, **options)
        assert found.to_polars()["orders"].to_list() == [None, None]
        assert said in found.notes
    assert said not in store.get_historical_features(ENTITIES, other).notes


def test_a_draft_does_not_bring_back_who_was_erased(store: FeatureStore) -> None:
    digest = suppression_secret(store.config).digest(members(USER), (plain_text(1),))
    store.registry.suppress(members(USER), {digest}, request="letter 17", who="ada")
    other = replace(SPENDING, name="ordering", schema=[ORDERS])
    found = store.get_historical_features(ENTITIES, other)
    assert found.to_polars()["orders"].to_list() == [None, 4]
