"""Two projects over one registry: one owns a view and feeds it, the other trains with it and looks it up."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

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
from featurestore.definitions import SharedFeatureView, storage_id
from featurestore.errors import (
    ObjectInUseError,
    ObjectNotFoundError,
    OfflineStoreError,
    OnlineStoreError,
    RegistryError,
)
from featurestore.materialize import materialize
from featurestore.registry.records import Alias
from featurestore.serving.replay import ReplayFeed
from featurestore.types import Float64, Int64

NOON = datetime(2024, 1, 1, 12, tzinfo=UTC)
USER = Entity(name="user", join_keys=["user_id"], dtypes=[Int64])
TOTAL, ORDERS = Field(name="total", dtype=Float64), Field(name="orders", dtype=Int64)
SPENDING = FeatureView(name="spending", entities=[USER], schema=[TOTAL, ORDERS])
NARROW = replace(SPENDING, schema=[TOTAL])
SHARED = SharedView("sales/spending")
PER_ORDER = OnDemandFeatureView(
    name="per_order",
    inputs=[SHARED],
    schema=[Field(name="per_order", dtype=Float64)],
    expressions={"per_order": "total / orders"},
)
CAMPAIGN = FeatureService(name="campaign", features=[SHARED, PER_ORDER])

SETTINGS = """\
project = "{project}"
registry = "sqlite:///{root}/registry.db"
online = "lmdb://{online}"

[offline]
path = "{offline}"
"""


def open_project(folder: Path, project: str, offline: str = "", online: str = "") -> FeatureStore:
    here = folder / project
    here.mkdir(exist_ok=True)
    text = SETTINGS.format(
        project=project, root=folder, offline=offline or folder / "offline", online=online or folder / "online"
    )
    (here / "featurestore.toml").write_text(text)
    return FeatureStore(here)


@pytest.fixture
def sales(tmp_path: Path) -> Iterator[FeatureStore]:
    with open_project(tmp_path, "sales") as store:
        store.apply(SPENDING)
        store.ingest("spending", [row()])
        store.materialize("spending")
        store.share("spending", with_project="ads")
        yield store


@pytest.fixture
def ads(tmp_path: Path, sales: FeatureStore) -> Iterator[FeatureStore]:  # noqa: ARG001 - the owner comes first
    with open_project(tmp_path, "ads") as store:
        store.apply(CAMPAIGN)
        yield store


def row(**values: Any) -> dict[str, Any]:
    return {"user_id": 1, "total": 10.5, "orders": 2, "event_timestamp": NOON} | values


def entities(*users: int) -> list[dict[str, Any]]:
    return [{"user_id": user, "event_timestamp": NOON + timedelta(hours=1)} for user in users or (1,)]


def looked_up(store: FeatureStore, user: int = 1, service: str = "campaign") -> dict[str, list[Any]]:
    return store.get_online_features(service, [{"user_id": user}]).to_dict()


def test_a_load_that_its_owner_has_not_entered_yet_was_not_there_at_an_instant_before(
    ads: FeatureStore, sales: FeatureStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = datetime.now(UTC)

    def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(sales.offline, "_enter_load", killed)
    with pytest.raises(KeyboardInterrupt):
        sales.ingest("spending", [row(total=99.0)])
    assert ads.get_historical_features(entities(), "campaign").to_polars()["total"].to_list() == [99.0]
    then = ads.get_historical_features(entities(), "campaign", as_of=before).to_polars()
    assert then["total"].to_list() == [10.5]


def test_the_rows_of_the_owner_are_trained_with_and_looked_up(ads: FeatureStore) -> None:
    joined = ads.get_historical_features(entities(), "campaign", with_status=True).to_polars()
    assert joined.row(0, named=True) | {"event_timestamp": None} == {
        "user_id": 1,
        "event_timestamp": None,
        "total": 10.5,
        "orders": 2,
        "per_order": 5.25,
        "spending__status": 1,
        "spending__event_timestamp": NOON,
    }
    assert looked_up(ads) == {"total": [10.5], "orders": [2], "per_order": [5.25]}


def test_the_manifest_of_a_dataset_says_whose_view_it_is(ads: FeatureStore) -> None:
    dataset = ads.create_training_dataset("clicks", entity_df=entities(), features="campaign")
    (about,) = dataset.manifest["views"].values()
    said = {"version": 1, "storage_id": storage_id(SPENDING), "table_version": 1, "project": "sales"}
    assert said.items() <= about.items()
    assert ads.reproduce_dataset("clicks").proved
    ads.log_model("ridge", service="campaign", dataset="clicks")
    assert ads.registry.models()[0].service == "campaign@1"


def test_the_schema_of_the_service_names_the_owners_version(ads: FeatureStore, sales: FeatureStore) -> None:
    sales.apply(NARROW, allow_breaking=True)
    sales.apply(SPENDING)
    sales.apply(replace(SPENDING, ttl=timedelta(days=9999)))
    ads.apply(CAMPAIGN)
    assert {view.name: view.version for view in ads.client().get_schema("campaign").views} == {
        "spending": 3,
        "per_order": 2,
    }


def test_ties_between_loads_are_broken_by_the_owners_ledger_which_is_not_written(
    ads: FeatureStore, sales: FeatureStore
) -> None:
    sales.ingest("spending", [row(total=20.0)])
    sales.ingest("spending", [row(total=30.0)])
    before = (sales.registry.audit(), ads.registry.audit())
    assert ads.get_historical_features(entities(), "campaign").to_polars()["total"].to_list() == [30.0]
    assert (sales.registry.audit(), ads.registry.audit()) == before
    assert ads.registry.loads(storage_id(SPENDING)) == []
    (view,) = ads.registry.service("campaign").definition.views
    assert [load.order for load in ads.offline.loads(view)] == [1, 2, 3]


def test_a_load_that_the_owner_has_not_entered_yet_is_left_to_the_owner_to_enter(
    ads: FeatureStore, sales: FeatureStore
) -> None:
    table = sales.offline.table(SPENDING)
    ledger = sales.registry.loads(storage_id(SPENDING))
    # As a kill leaves it, between the commit of the table and the entry in the ledger.
    with sales.registry._database.write() as connection:
        connection.exec_driver_sql("DELETE FROM loads")
    assert table.exists()
    assert ads.get_historical_features(entities(), "campaign").to_polars()["total"].to_list() == [10.5]
    assert sales.registry.loads(storage_id(SPENDING)) == []
    assert [load.load_id for load in sales.offline.loads(SPENDING)] == [load.load_id for load in ledger]


def test_a_new_version_of_the_owner_leaves_the_consumer_where_it_is_and_both_are_fed(
    ads: FeatureStore, sales: FeatureStore
) -> None:
    sales.apply(NARROW, allow_breaking=True)
    report = sales.ingest("spending", [row(user_id=2, total=7.0)])
    assert [one.view for one in report.also] == ["spending@1"]
    assert [one.view for one in sales.materialize("spending").also] == ["spending@1"]
    assert ads.registry.service("campaign").pins["sales/spending"] == 1
    assert looked_up(ads, 2) == {"total": [7.0], "orders": [2], "per_order": [3.5]}
    assert ads.get_historical_features(entities(2), "campaign").to_polars()["orders"].to_list() == [2]
    assert [view["id"] for view in sales.status()["views"]] == ["spending@2", "spending@1"]
    assert ads.status()["views"] == []
    ads.apply(FeatureService(name="campaign", features=[SHARED]), allow_breaking=True)
    assert ads.registry.service("campaign").pins == {"sales/spending": 2}
    assert looked_up(ads, 2) == {"total": [7.0]}
    sales.ingest("spending", [row(user_id=3)])
    assert sales.ingest("spending", [row(user_id=4)]).also == ()


@pytest.mark.parametrize("view", ["spending", "spending@1", "sales/spending", "sales/spending@1"])
def test_the_consumer_cannot_load_or_materialize_it(ads: FeatureStore, view: str) -> None:
    for do in (lambda: ads.ingest(view, [row()]), lambda: ads.ingest(view), lambda: ads.materialize(view)):
        with pytest.raises(RegistryError, match='belongs to project "sales"') as caught:
            do()
        assert "featurestore ingest spending" in caught.value.hint
    with pytest.raises(ObjectNotFoundError):
        ads.ingest("spendin", [row()])


def test_the_offline_store_writes_no_rows_of_another_project(ads: FeatureStore) -> None:
    (view,) = ads.registry.service("campaign").definition.views
    with pytest.raises(RegistryError, match='belongs to project "sales"'):
        ads.offline.ingest(view, [row()], who="eve")


def test_the_owners_own_view_may_be_named_with_its_project(sales: FeatureStore) -> None:
    assert sales.ingest("sales/spending", [row(user_id=2)]).written == 1
    assert sales.materialize("sales/spending@1").written == 1


def test_rows_in_another_place_are_missed_with_what_to_do(tmp_path: Path, sales: FeatureStore) -> None:
    sales.share("spending", with_project="elsewhere")
    with open_project(tmp_path, "elsewhere", offline="data/offline") as other:
        other.apply(CAMPAIGN)
        for do in (
            lambda: other.get_historical_features(entities(), "campaign"),
            lambda: other.create_training_dataset("clicks", entity_df=entities(), features="campaign"),
            lambda: other.promote("campaign"),
        ):
            with pytest.raises(OfflineStoreError, match='"sales" has loaded view "spending"') as caught:
                do()
            assert "elsewhere/data/offline" in caught.value.message
            assert '"[offline]" of both' in caught.value.hint


def test_rows_in_another_online_store_are_missed_before_they_are_served(tmp_path: Path, sales: FeatureStore) -> None:
    sales.share("spending", with_project="elsewhere")
    with open_project(tmp_path, "elsewhere", online="data/online") as other:
        other.apply(CAMPAIGN)
        with pytest.raises(OnlineStoreError, match='"sales" has materialized view "spending"') as caught:
            other.promote("campaign")
        assert 'the same "online" in both' in caught.value.hint


def test_a_view_that_its_owner_never_loaded_gives_nulls_and_says_so(tmp_path: Path) -> None:
    with open_project(tmp_path, "sales") as sales, open_project(tmp_path, "ads") as ads:
        sales.apply(SPENDING)
        sales.share("spending", with_project="ads")
        ads.apply(CAMPAIGN)
        found = ads.get_historical_features(entities(), "campaign")
        assert found.to_polars()["total"].to_list() == [None]
        assert "never ingested" in found.notes[0]
        assert isinstance(ads.promote("campaign"), Alias)


def test_a_rehearsal_follows_the_rows_of_the_owner(tmp_path: Path, ads: FeatureStore, sales: FeatureStore) -> None:
    from featurestore.online import open_online_store

    sales.ingest("spending", [row(total=99.0, event_timestamp=NOON + timedelta(hours=1))])
    views = ads.registry.service("campaign").definition.views
    online = open_online_store("lmdb://rehearsal", tmp_path)
    feed = ReplayFeed(ads.offline, online)
    feed.start(NOON)
    feed.follow(views)
    assert feed.advance(int((NOON + timedelta(hours=2)).timestamp() * 1e6)) == 1
    feed.close()
    online.close()


def test_a_service_whose_shared_rows_are_behind_is_not_promoted_and_the_owner_is_named(
    ads: FeatureStore, sales: FeatureStore
) -> None:
    sales.ingest("spending", [row(user_id=2)])
    for catch_up in (False, True):
        with pytest.raises(RegistryError, match=r"sales/spending@1 has 1 load .* never materialized") as caught:
            ads.promote("campaign", catch_up=catch_up)
        assert 'In the folder of "sales"' in caught.value.hint
        assert "featurestore materialize spending@1" in caught.value.hint
    sales.materialize("spending")
    assert isinstance(ads.promote("campaign"), Alias)


def test_a_version_that_the_owner_has_not_fed_is_behind(tmp_path: Path, ads: FeatureStore, sales: FeatureStore) -> None:
    file = tmp_path / "rows.csv"
    file.write_text("user_id,total,orders,event_timestamp\n1,1.5,1,2024-01-01T12:00:00Z\n")
    source = FileSource(path=str(file), timestamp_field="event_timestamp")
    ads.apply(FeatureService(name="campaign", features=[replace(SPENDING, name="mine")]), allow_breaking=True)
    sales.apply(replace(SPENDING, source=source))
    sales.ingest("spending")
    sales.materialize("spending")
    ads.apply(FeatureService(name="late", features=[SharedView("sales/spending@1")]))
    with pytest.raises(RegistryError, match=r"sales/spending@1 lacks 1 load .* of sales/spending@2") as caught:
        ads.promote("late")
    assert "featurestore ingest spending@1" in caught.value.hint


def test_a_rollback_to_what_is_shared_no_more_is_refused(ads: FeatureStore, sales: FeatureStore) -> None:
    ads.promote("campaign@1")
    ads.apply(FeatureService(name="campaign", features=[replace(SPENDING, name="mine")]), allow_breaking=True)
    ads.apply(PER_ORDER)
    with pytest.raises(ObjectInUseError, match="alias production"):
        sales.unshare("spending", with_project="ads")
    ads.promote("campaign@2")
    ads.delete("per_order")
    sales.unshare("spending", with_project="ads")
    with pytest.raises(RegistryError, match='does not share view "spending" any more') as caught:
        ads.rollback("campaign")
    assert "featurestore share spending --with ads" in caught.value.hint
    # What was made with it can still be made again.
    assert ads.get_historical_features(entities(), "campaign@1").to_polars()["total"].to_list() == [10.5]


def test_a_view_that_others_use_is_not_deleted(ads: FeatureStore, sales: FeatureStore) -> None:
    with pytest.raises(ObjectInUseError, match='feature_service campaign@1 of project "ads"'):
        sales.delete("spending")
    assert [one.reference for one in ads.shares()] == ["sales/spending"]


def test_a_service_with_a_shared_view_goes_to_another_registry_that_has_both_projects(
    tmp_path: Path, ads: FeatureStore
) -> None:
    production = tmp_path / "production"
    production.mkdir()
    with open_project(production, "sales") as sales, open_project(production, "ads"):
        sales.apply(SPENDING)
        with pytest.raises(Exception, match="does not share"):
            ads.transfer("campaign", production / "ads")
        sales.share("spending", with_project="ads")
        done = ads.transfer("campaign", production / "ads")
    assert done.there.pins["sales/spending"] == 1
    assert done.there.content_hash == done.here.content_hash


def test_status_and_audit_do_not_stumble_over_it(ads: FeatureStore) -> None:
    assert json.loads(json.dumps(ads.status()))["services"] == [{"id": "campaign@1", "features": 3, "aliases": {}}]
    assert ads.verify_audit().problems == ()


def test_a_materialization_would_read_what_the_owner_wrote(ads: FeatureStore) -> None:
    (view,) = ads.registry.service("campaign").definition.views
    assert isinstance(view, SharedFeatureView)
    assert materialize(view, ads.offline, ads.online, now=NOON + timedelta(hours=1), full=True).older == 1


def test_a_view_that_is_defined_alike_is_not_the_other_projects(tmp_path: Path, sales: FeatureStore) -> None:
    with open_project(tmp_path, "copied") as copied:
        copied.apply([FeatureService(name="alike", features=[SPENDING])])
        for refused in (
            lambda: copied.get_historical_features(entities(), "alike"),
            lambda: copied.ingest("spending", [row(total=0.0)]),
            lambda: copied.materialize("spending"),
        ):
            with pytest.raises(OfflineStoreError, match='has rows of project "sales", and this is "copied"') as caught:
                refused()
            assert 'SharedView("sales/spending")' in caught.value.hint
    assert [load.rows_written for load in sales.offline.loads(SPENDING)] == [1]
    with open_project(tmp_path, "copied", offline=str(tmp_path / "own")) as copied:
        assert copied.ingest("spending", [row()]).written == 1
