"""Releases: nothing moves to rows that are behind, others approve, and a version goes elsewhere by its hash."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from featurestore import Entity, FeatureService, FeatureStore, FeatureView, Field, FileSource, PromotionPolicy
from featurestore.definitions import OnDemandFeatureView
from featurestore.errors import BreakingChangeError, ConfigError, ObjectNotFoundError, RegistryError
from featurestore.registry import PrivateKey, Registry, open_registry, signing
from featurestore.registry.records import Alias, Promotion
from featurestore.types import Float64, Int64
from tests import backends

NOON = datetime(2024, 1, 1, 12, tzinfo=UTC)
USER = Entity(name="user", join_keys=["user_id"], dtypes=[Int64])
TOTAL, ORDERS = Field(name="total", dtype=Float64), Field(name="orders", dtype=Int64)
SPENDING = FeatureView(name="spending", entities=[USER], schema=[TOTAL, ORDERS])
SCORING = FeatureService(name="scoring", features=[SPENDING])
LESS = replace(SCORING, features=[replace(SPENDING, schema=[TOTAL])])


@pytest.fixture
def store(tmp_path: Path) -> Iterator[FeatureStore]:
    with FeatureStore.init(tmp_path / "shop") as store:
        yield store


def row(**values: Any) -> dict[str, Any]:
    return {"user_id": 1, "total": 10.5, "orders": 2, "event_timestamp": NOON} | values


def release(store: FeatureStore, service: FeatureService = SCORING) -> None:
    """Apply a service, with a row of its view offline and online."""
    store.apply(service, allow_breaking=True)
    store.ingest("spending", [row()])
    store.materialize("spending")


def test_promote_says_where_the_alias_points(store: FeatureStore) -> None:
    release(store)
    moved = store.promote("scoring@1")
    assert isinstance(moved, Alias)
    assert (moved.id, moved.alias, moved.before) == ("scoring@1", "production", ())
    assert moved.moved_by == store.who()
    assert store.aliases() == store.aliases("scoring") == [moved]
    with pytest.raises(ObjectNotFoundError):
        store.aliases("scorin")


def test_a_version_with_rows_that_were_never_materialized_is_behind(store: FeatureStore) -> None:
    release(store)
    store.ingest("spending", [row(user_id=2), row(user_id=3)])
    with pytest.raises(RegistryError, match=r"scoring@1 is behind: spending@1 has 1 load \(2 rows") as caught:
        store.promote("scoring@1")
    assert "--catch-up" in caught.value.hint
    assert store.aliases() == []
    store.promote("scoring@1", catch_up=True)
    assert store.get_online_features("scoring", [{"user_id": 3}]).to_dict() == {"total": [10.5], "orders": [2]}


def test_a_canary_whose_rows_are_behind_gets_less_and_not_more(store: FeatureStore) -> None:
    release(store, LESS)
    store.promote("scoring@1")
    release(store)
    store.promote("scoring@2", alias="canary", share=0.5)
    store.ingest("spending", [row(user_id=2)])
    with pytest.raises(RegistryError, match="is behind"):
        store.promote("scoring@2", alias="canary", share=0.6)
    store.promote("scoring@2", alias="canary", share=0.0)
    assert store.registry.canaries() == {"scoring": (2, 0.0)}


def test_a_version_that_keeps_rows_longer_is_behind_until_they_are_online(store: FeatureStore) -> None:
    two_days_ago = datetime.now(UTC) - timedelta(days=2)
    short = replace(SPENDING, ttl=timedelta(days=1))
    release(store, replace(SCORING, features=[short]))
    store.ingest("spending", [row(event_timestamp=two_days_ago)])
    store.materialize("spending")
    store.promote("scoring@1")
    store.apply(replace(SCORING, features=[replace(SPENDING, ttl=timedelta(days=30))]))
    with pytest.raises(RegistryError, match="spending@2 keeps some of 2 rows that a shorter TTL left out online"):
        store.promote("scoring@2")
    store.promote("scoring@2", catch_up=True)
    assert store.get_online_features("scoring", [{"user_id": 1}]).to_dict()["total"] == [10.5]


def test_a_load_of_bad_rows_alone_leaves_nothing_behind(store: FeatureStore) -> None:
    release(store, replace(SCORING, features=[replace(SPENDING, schema=[replace(TOTAL, ge=0), ORDERS])]))
    assert store.ingest("spending", [row(total=-1.0)]).quarantined == 1
    store.promote("scoring@1")


def test_a_view_that_was_never_ingested_does_not_stand_in_the_way(store: FeatureStore) -> None:
    store.apply(SCORING)
    store.promote("scoring@1")


def test_a_new_version_without_rows_is_behind_the_one_that_is_served(store: FeatureStore) -> None:
    release(store)
    store.promote("scoring@1")
    other = replace(SPENDING, schema=[replace(TOTAL, dtype=Int64)])
    store.apply(replace(SCORING, features=[other]), allow_breaking=True)
    assert store.offline.loads(other) == []  # what nothing could be carried over to
    with pytest.raises(RegistryError, match=r"spending@2 lacks 1 load .* of spending@1"):
        store.promote("scoring@2")
    with pytest.raises(RegistryError, match="cannot catch up with spending@1 by itself") as caught:
        store.promote("scoring@2", catch_up=True)
    assert "featurestore ingest spending@2" in caught.value.hint
    assert store.registry.aliases("scoring") == {"production": 1}


def test_a_rollback_to_a_version_that_was_not_fed_meanwhile_is_refused_or_catches_up(store: FeatureStore) -> None:
    release(store, LESS)
    store.promote("scoring@1")
    store.apply(SCORING, allow_breaking=True)
    store.ingest("spending@2", [row(total=1.0)])
    store.materialize("spending")
    store.promote("scoring@2", catch_up=True)
    store.ingest("spending@2", [row(user_id=2, total=7.0)])
    store.materialize("spending@2")
    with pytest.raises(RegistryError, match=r"spending@1 lacks .* of spending@2"):
        store.rollback("scoring")
    back = store.rollback("scoring", catch_up=True)
    assert back is not None
    assert back.id == "scoring@1"
    assert store.get_online_features("scoring", [{"user_id": 2}]).to_dict() == {"total": [7.0]}


def test_a_version_that_has_a_source_catches_up_from_it(store: FeatureStore) -> None:
    def write(name: str, user: int) -> None:
        pl.DataFrame([row(user_id=user)]).write_parquet(store.config.root / name)

    write("a.parquet", 1)
    sourced = replace(SPENDING, source=FileSource(path="*.parquet", created_timestamp_column=None))
    store.apply(replace(SCORING, features=[replace(sourced, schema=[TOTAL, ORDERS])]))
    store.ingest("spending")
    store.materialize("spending")
    store.promote("scoring@1")
    store.apply(replace(SCORING, features=[replace(sourced, schema=[TOTAL])]), allow_breaking=True)
    write("b.parquet", 2)
    store.ingest("spending@2")
    store.materialize("spending@2")
    # Promotion moves on although spending@1, which it leaves, was not fed; the way back is what catches up.
    store.promote("scoring@2")
    with pytest.raises(RegistryError, match="spending@1 lacks"):
        store.rollback("scoring")
    assert any("spending@1: " in line for line in store.catch_up("scoring@1"))
    store.rollback("scoring")
    found = store.get_online_features("scoring", [{"user_id": 2}])
    assert found.to_dict() == {"total": [10.5], "orders": [2]}


def test_a_version_that_could_not_take_all_fields_says_how_to_load_them(store: FeatureStore) -> None:
    release(store)
    store.promote("scoring@1")
    store.apply(LESS, allow_breaking=True)
    store.ingest("spending@2", [row(user_id=2)])
    store.materialize("spending@2")
    with pytest.raises(RegistryError, match="spending@2 has no orders"):
        store.catch_up("scoring@1")


def test_a_rollback_to_a_named_version_and_the_end_of_a_canary(store: FeatureStore) -> None:
    release(store)
    for features in ([SPENDING[["total"]]], [SPENDING[["orders"]]]):
        store.apply(replace(SCORING, features=features), allow_breaking=True)
    for version in (1, 2, 3):
        store.promote(f"scoring@{version}")
    back = store.rollback("scoring", to=1)
    assert back is not None
    assert (back.id, back.before) == ("scoring@1", ())
    canary = store.promote("scoring@3", alias="canary", share=1)
    assert isinstance(canary, Alias)
    assert canary.share == 1
    rows = [{"user_id": 1}]
    assert store.get_online_features("scoring", rows).service == "scoring@3"
    assert store.registry.resolve_service("scoring").id == "scoring@1"
    store.promote("scoring@3", alias="canary", share=0)
    assert store.get_online_features("scoring", rows).service == "scoring@1"
    store.promote("scoring@3", alias="canary", share=0.5)
    keys = [str(number) for number in range(50)]
    answers = {store.get_online_features("scoring", rows, routing_key=key).service for key in keys}
    assert answers == {"scoring@1", "scoring@3"}
    assert store.rollback("scoring", alias="canary") is None
    assert store.get_online_features("scoring", rows).service == "scoring@1"
    with pytest.raises(ObjectNotFoundError):
        store.rollback("scoring", alias="canary")


def become(store: FeatureStore, monkeypatch: pytest.MonkeyPatch, name: str) -> FeatureStore:
    """Return the store as somebody who proves their name opens it."""
    key = store.config.root / f"{name}.pem"
    if not key.exists():
        key.write_text(signing.generate())
        store.registry.add_identity(name, PrivateKey(key.read_text(), "The key").public, who=store.who())
    monkeypatch.setenv("FEATURESTORE_IDENTITY", name)
    monkeypatch.setenv("FEATURESTORE_IDENTITY_KEY", str(key))
    return FeatureStore(store.config.root)


def test_a_guarded_service_is_promoted_by_two(store: FeatureStore, monkeypatch: pytest.MonkeyPatch) -> None:
    release(store)
    store.apply(PromotionPolicy(name="two_people", service=SCORING))
    with become(store, monkeypatch, "ada") as ada:
        waiting = ada.promote("scoring@1")
        assert isinstance(waiting, Promotion)
        assert ada.promotions("scoring") == [waiting]
        assert ada.aliases() == []
        with pytest.raises(RegistryError, match="they asked for it"):
            ada.approve(waiting.number)
        ada.ingest("spending", [row(user_id=2)])
        with become(ada, monkeypatch, "bob") as bob:
            assert bob.who() == "bob"
            with pytest.raises(RegistryError, match="is behind"):
                bob.approve(waiting.number)
            done = bob.approve(waiting.number, catch_up=True)
            assert (done.state, done.decided_by) == ("approved", ("bob",))
        assert ada.registry.aliases("scoring") == {"production": 1}
        other = ada.promote("scoring@1", alias="production")
        assert isinstance(other, Alias)


def test_somebody_unverified_is_told_how_to_be(store: FeatureStore) -> None:
    store.apply([SCORING, PromotionPolicy(name="two_people", service=SCORING)])
    store.promote("scoring@1")
    with pytest.raises(RegistryError, match="not been verified") as caught:
        store.approve(1)
    assert "featurestore identity create" in caught.value.hint
    assert store.reject(1).state == "rejected"


def test_a_view_that_was_removed_is_fed_while_a_rollback_may_lead_to_it(store: FeatureStore) -> None:
    release(store)
    store.promote("scoring@1")
    store.apply(FeatureService(name="scoring", features=[replace(SPENDING, name="other")]))
    store.promote("scoring@2")
    store.delete("spending")
    assert store.ingest("spending", [row(total=4.0, event_timestamp=NOON.replace(hour=13))]).written == 1
    assert store.materialize("spending").written == 1
    store.rollback("scoring")
    assert store.get_online_features("scoring", [{"user_id": 1}]).to_dict() == {"total": [4.0], "orders": [2]}


@pytest.fixture(params=backends.params("registry", "sqlite", "postgresql"))
def production(request: pytest.FixtureRequest, store: FeatureStore) -> Path:
    """Return a configuration beside the store's own, with a registry and a project of its own."""
    url = "sqlite:///data/production.db"
    if request.param == "postgresql":
        url = request.getfixturevalue("postgresql").replace("postgresql://", "postgresql+psycopg://")
    file = store.config.root / "prod.toml"
    file.write_text(
        f'project = "live"\nregistry = "{url}"\nonline = "lmdb://data/live"\n[offline]\npath = "data/live"\n'
    )
    return file


def opened(production: Path) -> Registry:
    with FeatureStore(production) as store:
        return open_registry(store.config.database_url(store.config.registry), store.config.project)


def test_a_version_goes_to_another_registry_and_back_by_its_hash(store: FeatureStore, production: Path) -> None:
    share = OnDemandFeatureView(
        name="ratio",
        inputs=[SPENDING],
        request=[Field(name="basket", dtype=Float64)],
        schema=[Field(name="basket_share", dtype=Float64)],
        expressions={"basket_share": "basket / total"},
    )
    store.apply([LESS])
    described = replace(SCORING, features=[SPENDING, share], owner="ada", description="of a basket")
    store.apply([described, PromotionPolicy(name="two_people", service=described)], allow_breaking=True)
    done = store.transfer("scoring@2", production)
    assert (done.here.id, done.there.id) == ("scoring@2", "scoring@1")
    assert done.here.content_hash == done.there.content_hash
    assert done.there.definition == described
    with opened(production) as there:
        assert {one.id for one in there.list()} == {"ratio@1", "scoring@1", "spending@1", "user@1"}
        assert there.aliases("scoring") == {}
        (came,) = there.audit(action="transfer")
        assert came.object == "scoring@1"
        assert came.details["content_hash"] == done.here.content_hash
        assert came.details["authors"] == [done.here.applied_by]
        assert there.verify_audit() == []
    (went,) = store.registry.audit(action="transfer")
    assert went.object == "scoring@2"
    assert went.details["content_hash"] == done.here.content_hash
    assert went.details["into"][2] == "scoring@1"
    with FeatureStore(production) as live:
        live.promote("scoring@1")
        again = store.transfer("scoring@2", production)
        assert again.plan.is_empty
        assert len(live.registry.audit(action="transfer")) == 1
        assert live.transfer("scoring", store.config.root).there.id == "scoring@2"
    assert "postgres:" not in str(went.details)


def test_a_version_that_breaks_users_there_is_refused_unless_it_is_meant(store: FeatureStore, production: Path) -> None:
    store.apply(SCORING)
    store.apply(LESS, allow_breaking=True)
    store.transfer("scoring@1", production)
    with pytest.raises(BreakingChangeError, match="orders"):
        store.transfer("scoring@2", production)
    assert store.transfer("scoring@2", production, allow_breaking=True).there.id == "scoring@2"


def test_who_is_not_known_here_transfers_nothing(
    store: FeatureStore, production: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.apply(SCORING)
    key = store.config.root / "ada.pem"
    key.write_text(signing.generate())
    with opened(production) as there:
        there.add_identity("ada", PrivateKey(key.read_text(), "The key").public, who=store.who())
    monkeypatch.setenv("FEATURESTORE_IDENTITY", "ada")
    monkeypatch.setenv("FEATURESTORE_IDENTITY_KEY", str(key))
    with FeatureStore(store.config.root) as mine, pytest.raises(ObjectNotFoundError, match='identity "ada"'):
        mine.transfer("scoring", production)
    with opened(production) as there:
        assert there.list() == []


def test_a_registry_is_not_transferred_into_itself(store: FeatureStore) -> None:
    store.apply(SCORING)
    with pytest.raises(RegistryError, match="this very registry"):
        store.transfer("scoring", store.config.root)
    with pytest.raises(ConfigError, match=r"There is no other\.toml"):
        store.transfer("scoring", store.config.root / "other.toml")
