"""The object that users hold: what it takes, which versions it feeds, and what it says of mistakes."""

from __future__ import annotations

from collections.abc import Iterator
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
    MonitorPolicy,
    OnDemandFeatureView,
    RetrainingPolicy,
)
from featurestore.definitions import storage_id
from featurestore.errors import ConfigError, DefinitionError, ObjectNotFoundError, OfflineStoreError
from featurestore.types import Float64, Int64

NOON = datetime(2024, 1, 1, 12, tzinfo=UTC)
USER = Entity(name="user", join_keys=["user_id"], dtypes=[Int64])
TOTAL = Field(name="total", dtype=Float64)
SPENDING = FeatureView(name="spending", entities=[USER], schema=[TOTAL])
SCORING = FeatureService(name="scoring", features=[SPENDING])


@pytest.fixture
def store(tmp_path: Path) -> Iterator[FeatureStore]:
    with FeatureStore.init(tmp_path / "shop") as store:
        yield store


def row(**values: Any) -> dict[str, Any]:
    return {"user_id": 1, "total": 10.5, "event_timestamp": NOON} | values


def test_one_definition_needs_no_list(store: FeatureStore) -> None:
    store.apply(SCORING)
    assert store.get("spending").version == 1


def test_a_service_stands_for_its_name(store: FeatureStore) -> None:
    store.apply([SCORING])
    store.ingest("spending", [row()])
    store.materialize("spending")
    entities = [{"user_id": 1, "event_timestamp": NOON}]
    assert store.get_historical_features(entities, SCORING).to_polars()["total"].to_list() == [10.5]
    assert store.get_online_features(SCORING, [{"user_id": 1}]).to_dict() == {"total": [10.5]}


def test_inputs_of_one_name_are_not_taken_for_each_other(store: FeatureStore) -> None:
    shop = Entity(name="shop", join_keys=["shop_id"], dtypes=[Int64])
    earning = FeatureView(name="earning", entities=[shop], schema=[TOTAL])

    def computed(name: str, **given: Any) -> OnDemandFeatureView:
        schema = [Field(name=name, dtype=Float64)]
        return OnDemandFeatureView(name=f"on_{name}", schema=schema, expressions={name: "total + 0"}, **given)

    views = [computed("spent", inputs=[SPENDING]), computed("earned", inputs=[earning])]
    asked = computed("asked", request=[TOTAL])
    store.apply(
        [FeatureService(name="two_views", features=views), FeatureService(name="one", features=[views[0], asked])]
    )
    store.ingest("spending", [row()])
    store.ingest("earning", [{"shop_id": 1, "total": 2.0, "event_timestamp": NOON}])
    for name in ("spending", "earning"):
        store.materialize(name)
    for service, keys, expected in (
        ("two_views", {"user_id": 1, "shop_id": 1}, {"spent": [10.5], "earned": [2.0]}),
        ("one", {"user_id": 1, "total": 7.0}, {"spent": [10.5], "asked": [7.0]}),
    ):
        assert store.get_online_features(service, [keys]).to_dict() == expected
        joined = store.get_historical_features([keys | {"event_timestamp": NOON}], service).to_polars()
        assert joined.select(list(expected)).to_dict(as_series=False) == expected


@pytest.mark.parametrize("features", [["spending:total"], None, 3])
def test_what_names_no_service_is_refused_with_what_to_do(store: FeatureStore, features: Any) -> None:
    store.apply([SCORING])
    with pytest.raises(DefinitionError, match="names no feature service") as caught:
        store.get_online_features(features, [{"user_id": 1}])
    assert "FeatureService" in caught.value.hint


@pytest.mark.parametrize(
    "rows",
    [
        [{"user_id": 1}, {"user_id": 2}],
        {"user_id": [1, 2]},
        pl.DataFrame({"user_id": [1, 2]}),
        pl.DataFrame({"user_id": [1, 2]}).to_pandas(),
        pl.DataFrame({"user_id": [1, 2]}).to_arrow(),
    ],
    ids=["dicts", "columns", "polars", "pandas", "arrow"],
)
def test_entity_rows_of_a_lookup_come_in_any_form(store: FeatureStore, rows: Any) -> None:
    store.apply([SCORING])
    store.ingest("spending", [row()])
    store.materialize("spending")
    assert store.get_online_features("scoring", rows).to_dict() == {"total": [10.5, None]}


def test_entity_rows_that_can_be_read_only_once_are_read_once(store: FeatureStore) -> None:
    store.apply([SCORING])
    store.ingest("spending", [row()])
    store.materialize("spending")
    rows = ({"user_id": number} for number in (1, 2))
    assert store.get_online_features("scoring", rows).to_dict() == {"total": [10.5, None]}


def test_a_version_that_production_serves_is_fed_on_after_a_newer_one_is_applied(store: FeatureStore) -> None:
    store.apply([SCORING])
    store.registry.promote("scoring@1", who="ada")
    wider = replace(SPENDING, schema=[TOTAL, Field(name="orders", dtype=Int64)])
    store.apply([replace(SCORING, features=[wider])])
    report = store.ingest("spending", [row(orders=2)])
    assert report.written == 1
    assert [(other.view, other.written) for other in report.also] == [("spending@1", 1)]
    made = store.materialize("spending")
    assert [(other.view, other.written) for other in made.also] == [("spending@1", 1)]
    assert store.get_online_features("scoring", [{"user_id": 1}]).to_dict() == {"total": [10.5]}
    assert store.get_online_features("scoring@2", [{"user_id": 1}]).to_dict() == {"total": [10.5], "orders": [2]}
    assert [view["id"] for view in store.status()["views"]] == ["spending@2", "spending@1"]


def test_the_status_counts_rows_that_are_kept_aside_now(store: FeatureStore) -> None:
    store.apply([SCORING])
    soon = datetime.now(UTC) + timedelta(seconds=60.5)
    assert store.ingest("spending", [row(event_timestamp=soon)]).quarantined == 1
    assert store.status()["views"][0]["quarantined"] == 1
    while datetime.now(UTC) + timedelta(seconds=60) < soon:
        pass
    assert store.reingest_quarantine("spending").written == 1
    assert store.status()["views"][0]["quarantined"] == 0


def test_rows_that_an_older_live_version_cannot_take_are_published_and_it_is_said(store: FeatureStore) -> None:
    store.apply([SCORING])
    store.registry.promote("scoring@1", who="ada")
    other = replace(SPENDING, schema=[Field(name="orders", dtype=Int64)])
    store.apply([replace(SCORING, features=[other])], allow_breaking=True)
    report = store.ingest("spending", [{"user_id": 1, "orders": 2, "event_timestamp": NOON}])
    assert report.written == 1
    assert report.also == ()
    assert any("spending@1 is live too, and could not take these rows" in note for note in report.notes)


def test_what_fails_after_the_current_version_was_fed_can_be_done_again_without_doubling_rows(
    store: FeatureStore,
) -> None:
    store.apply([SCORING])
    store.registry.promote("scoring@1", who="ada")
    wider = replace(SPENDING, schema=[TOTAL, Field(name="orders", dtype=Int64)])
    store.apply([replace(SCORING, features=[wider])])
    older = store.offline.table(store.registry.feature_view("spending@1").definition).path
    older.parent.mkdir(parents=True)
    older.write_text("in the way")
    with pytest.raises(OfflineStoreError, match="spending has these rows, but spending@1, which is live too") as caught:
        store.ingest("spending", [row(orders=1)])
    load_id = caught.value.hint.split('"')[1]
    older.unlink()
    report = store.ingest("spending", [row(orders=1)], load_id=load_id)
    assert (report.written, report.skipped, [one.written for one in report.also]) == (0, 1, [1])


def test_a_named_version_is_fed_alone(store: FeatureStore) -> None:
    store.apply([SCORING])
    store.registry.promote("scoring@1", who="ada")
    wider = replace(SPENDING, schema=[TOTAL, Field(name="orders", dtype=Int64)])
    store.apply([replace(SCORING, features=[wider])])
    assert store.ingest("spending@1", [row()]).also == ()
    assert store.offline.table_version(wider) is None


def test_versions_that_differ_in_ttl_share_rows_and_the_longest_one_keeps_them(store: FeatureStore) -> None:
    """A rollback must find what the longer TTL may still serve."""
    long = replace(SPENDING, ttl=timedelta(days=36_500))
    store.apply([replace(SCORING, features=[long])])
    store.registry.promote("scoring@1", who="ada")
    store.apply([replace(SCORING, features=[replace(SPENDING, ttl=timedelta(hours=1))])])
    assert store.ingest("spending", [row()]).also == ()
    assert store.materialize("spending").written == 1
    assert store.get_online_features("scoring@1", [{"user_id": 1}]).to_dict() == {"total": [10.5]}
    short = store.get_online_features("scoring@2", [{"user_id": 1}])
    assert short.statuses == {"spending": ["OUTSIDE_MAX_AGE"]}


def test_a_materialization_is_on_record_with_its_counts(store: FeatureStore) -> None:
    store.apply([SCORING])
    assert store.materialize("spending").read == 0
    assert store.registry.audit(action="materialize") == []
    store.ingest("spending", [row(), row(user_id=2)])
    report = store.materialize("spending")
    assert report.view == "spending"
    done = store.registry.last_materialization(storage_id(SPENDING))
    assert done is not None
    assert done.table_version == store.offline.table_version(SPENDING)
    assert done.counts == {"read": 2, "written": 2, "older": 0, "expired": 0, "rejected": 0}
    assert [entry.object for entry in store.registry.audit(action="materialize")] == [storage_id(SPENDING)]


def test_a_policy_that_leads_nowhere_is_refused_when_it_is_applied(store: FeatureStore) -> None:
    policy = MonitorPolicy(name="drift", service=SCORING, routes=["ops"])
    with pytest.raises(ConfigError, match='routes to "ops"'):
        store.apply([policy])
    with pytest.raises(ObjectNotFoundError):
        store.get("drift")


def _with_channels(store: FeatureStore, text: str) -> FeatureStore:
    file = store.config.root / "featurestore.toml"
    file.write_text(file.read_text() + text)
    return FeatureStore(store.config.root)


def test_an_escalation_that_leads_nowhere_is_refused_when_it_is_applied(store: FeatureStore) -> None:
    told = _with_channels(store, '\n[channels.ops]\nkind = "console"\n')
    policy = MonitorPolicy(
        name="drift", service=SCORING, routes=["ops"], escalate_after=timedelta(minutes=30), escalate_to=["opps"]
    )
    with told, pytest.raises(ConfigError, match='escalates to "opps"') as raised:
        told.apply([policy])
    assert "ops" in raised.value.hint


@pytest.mark.parametrize("fallback", ["pager", "ops"])
def test_a_policy_whose_channel_has_a_fallback_that_is_none_is_refused(store: FeatureStore, fallback: str) -> None:
    text = f'\n[channels.ops]\nkind = "console"\nfallback = "{fallback}"\n'
    with _with_channels(store, text) as told:
        with pytest.raises(ConfigError, match=r"channels\.ops\.fallback"):
            told.plan([MonitorPolicy(name="drift", service=SCORING, routes=["ops"])])
        # Another policy does not need it.
        assert not told.plan([MonitorPolicy(name="quiet", service=SCORING)]).is_empty


def test_a_policy_that_nobody_hears_of_is_noted_and_applied(store: FeatureStore) -> None:
    policy = MonitorPolicy(name="drift", service=SCORING)
    for plan in (store.plan([policy]), store.apply([policy])):
        assert "It routes to nothing: nobody is told of what it finds." in plan.render()
        assert (
            "It asks for new models, and nobody hears of that. Name channels in routes=[...], or set" in plan.render()
        )
    assert store.get("drift").version == 1


@pytest.mark.parametrize(
    ("policy", "signals", "said"),
    [
        ({"retrain": False}, "", ["It routes to nothing"]),
        ({}, 'command = ["train"]', ["It routes to nothing"]),
        ({}, "port = 6577", ["It routes to nothing"]),
        ({"retrain": RetrainingPolicy(routes=["ops"])}, "", ["It routes to nothing"]),
        ({"escalate_to": ["ops"], "escalate_after": timedelta(hours=1)}, "", ["It asks for new models, and nobody"]),
        ({"retrain": RetrainingPolicy(approval=True, approval_routes=["ops"]), "routes": ["ops"]}, "", []),
        ({"retrain": RetrainingPolicy(approval=True), "routes": ["ops"]}, "", []),
        (
            {"retrain": RetrainingPolicy(approval=True)},
            'command = ["train"]',
            ["It routes to nothing", "Its retraining signals wait for somebody to agree, and nobody is asked"],
        ),
        ({"retrain": RetrainingPolicy(approval=True)}, "port = 6577", ["It routes to nothing"]),
        (
            {"retrain": RetrainingPolicy(approval=True, approval_routes=["ops"])},
            "",
            ["It routes to nothing", "It asks for new models, and nobody hears of that"],
        ),
    ],
)
def test_what_of_a_policy_reaches_nobody_is_noted(
    store: FeatureStore, policy: dict[str, Any], signals: str, said: list[str]
) -> None:
    text = f'\n[channels.ops]\nkind = "console"\n[signals]\n{signals}\n'
    with _with_channels(store, text) as told:
        plan = told.plan([MonitorPolicy(name="drift", service=SCORING, **policy)])
    notes = [note for change in plan.changes for note in change.notes if change.name == "drift"]
    assert len(notes) == len(said)
    assert all(note.startswith(begin) for note, begin in zip(notes, said, strict=True))


def test_a_store_is_not_made_twice(store: FeatureStore) -> None:
    with pytest.raises(ConfigError, match="exists already"):
        FeatureStore.init(store.config.root)
