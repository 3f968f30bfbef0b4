"""Removing: soft, never of what is used, and never the last word."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from sqlalchemy import create_engine, insert

from featurestore import types
from featurestore.definitions import Entity, FeatureService, FeatureView, Field, Model, MonitorPolicy
from featurestore.errors import DefinitionError, ObjectInUseError, ObjectNotFoundError, RegistryError
from featurestore.registry import Registry, schema

Build = Callable[..., MonitorPolicy]

PLANE = Entity(name="plane", join_keys=["tailnum"])
FACTS = FeatureView(name="facts", entities=[PLANE], schema=[Field(name="seats", dtype=types.Int64)])


def model(registry: Registry, service: str) -> None:
    registry.record_dataset("delays", {"service": service}, who="ada")
    registry.record_model(Model(name="ridge", service=service, dataset="delays@1"), who="ada")


def test_what_is_removed_is_listed_no_more_and_its_versions_can_be_read(registry: Registry) -> None:
    registry.apply([FACTS], who="ada")
    before = registry.revision()
    plan = registry.remove("facts", who="bob")
    assert [(one.action, one.name, one.from_version, one.to_version) for one in plan.changes] == [
        ("remove", "facts", 1, None)
    ]
    assert [one.id for one in registry.list()] == ["plane@1"]
    assert registry.get("facts@1").definition == FACTS
    assert registry.feature_view("facts@1").version == 1
    with pytest.raises(ObjectNotFoundError, match='"facts", a feature view, was removed on') as caught:
        registry.get("facts")
    assert "facts@1" in caught.value.hint
    assert registry.revision() == before + 1
    entry = registry.audit()[-1]
    assert (entry.who, entry.action, entry.object) == ("bob", "delete", "facts@1")
    assert registry.verify_audit() == []


def test_what_is_removed_is_not_found_to_be_removed_again(registry: Registry) -> None:
    registry.apply([FACTS], who="ada")
    registry.remove("facts", who="ada")
    before = registry.audit()
    with pytest.raises(ObjectNotFoundError, match="was removed"):
        registry.remove("facts", who="ada")
    assert registry.audit() == before


def test_applying_the_same_again_revives_its_version(registry: Registry) -> None:
    registry.apply([FACTS], who="ada")
    registry.remove("facts", who="ada")
    plan = registry.plan([FACTS])
    assert "  + feature_view facts@1 (known definition)" in plan.render()
    assert plan.counts == {"create": 1, "unchanged": 1}
    registry.apply([FACTS], who="ada")
    assert registry.get("facts").version == 1
    assert registry.plan([FACTS]).is_empty


def test_applying_another_definition_goes_on_with_the_numbers_and_breaks_nobody(registry: Registry) -> None:
    registry.apply([FACTS], who="ada")
    registry.remove("facts", who="ada")
    other = FeatureView(name="facts", entities=[PLANE], schema=[Field(name="engines", dtype=types.Int64)])
    plan = registry.apply([other], who="ada")
    assert plan.breaking == ()
    assert registry.get("facts").version == 2
    assert [one.version for one in registry.versions("facts")] == [1, 2]


def test_a_removed_name_stays_that_of_its_kind(registry: Registry) -> None:
    registry.apply([FACTS], who="ada")
    registry.remove("facts", who="ada")
    with pytest.raises(DefinitionError, match='"facts" is registered as a feature view'):
        registry.apply([Entity(name="facts")], who="ada")


@pytest.mark.parametrize(
    ("name", "users"),
    [
        ("airport", ["feature_view weather@1"]),
        ("weather", ["feature_service flight_delay@1", "on_demand_feature_view chill@1"]),
        ("chill", ["feature_service flight_delay@1"]),
        ("flight_delay", ["monitor_policy watch@1"]),
    ],
)
def test_what_another_object_uses_cannot_be_removed(
    registry: Registry, policy: Build, name: str, users: list[str]
) -> None:
    registry.apply([policy()], who="ada")
    before = registry.list(), registry.audit()
    with pytest.raises(ObjectInUseError, match=f"{name} is used by") as caught:
        registry.remove(name, who="ada")
    for user in users:
        assert user in caught.value.message
    assert caught.value.hint
    assert (registry.list(), registry.audit()) == before


def test_what_an_alias_or_a_model_holds_cannot_be_removed_though_no_current_version_uses_it(
    registry: Registry, policy: Build
) -> None:
    first = policy()
    registry.apply([first.service], who="ada")
    registry.promote("flight_delay@1", who="ada")
    model(registry, "flight_delay@1")
    # The service goes over to another view: from now on only the alias and the model know the first one.
    registry.apply([FACTS, FeatureService(name="flight_delay", features=[FACTS])], who="ada", allow_breaking=True)
    for name in ("airport", "weather", "chill"):
        users = registry.removal(name).changes[0].users
        assert "alias production (flight_delay@1)" in users
        assert "model ridge@1 (flight_delay@1)" in users
    with pytest.raises(ObjectInUseError, match="alias production"):
        registry.remove("chill", who="ada")


def test_what_another_project_may_use_cannot_be_removed(registry: Registry, url: str) -> None:
    registry.apply([FACTS], who="ada")
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(
            insert(schema.consents).values(
                project="flights", view="facts", consumer="pricing", given_at=1, given_by="ada"
            )
        )
    engine.dispose()
    with pytest.raises(ObjectInUseError, match=r'project "pricing" \(by consent\)'):
        registry.remove("facts", who="ada")


def test_a_version_of_a_definition_is_kept(registry: Registry) -> None:
    registry.apply([FACTS], who="ada")
    with pytest.raises(RegistryError, match='"facts@1" is a version, and versions are kept') as caught:
        registry.remove("facts@1", who="ada")
    assert caught.value.hint == 'Name the object: "facts".'


def test_a_model_is_removed_with_all_its_versions_or_one(registry: Registry, policy: Build) -> None:
    registry.apply([policy().service], who="ada")
    model(registry, "flight_delay@1")
    model(registry, "flight_delay@1")
    registry.remove("ridge@2", who="bob")
    assert [one.id for one in registry.models()] == ["ridge@1"]
    assert registry.model("ridge").id == "ridge@1"
    assert registry.model("ridge@2").id == "ridge@2"
    registry.remove("ridge", who="bob")
    assert registry.models() == []
    with pytest.raises(ObjectNotFoundError):
        registry.model("ridge")
    assert [entry.object for entry in registry.audit(action="delete")] == ["ridge@2", "ridge@1"]
    model(registry, "flight_delay@1")
    assert registry.model("ridge").id == "ridge@3"
    registry.remove("ridge", who="bob")
    registry.remove("flight_delay", who="bob")
    assert [one.name for one in registry.list("feature_service")] == []


def test_a_name_of_an_object_and_a_model_is_not_guessed(registry: Registry, policy: Build) -> None:
    registry.apply([policy().service, Entity(name="ridge")], who="ada")
    model(registry, "flight_delay@1")
    with pytest.raises(RegistryError, match='"ridge" is both an entity and a model') as caught:
        registry.remove("ridge", who="ada")
    assert caught.value.hint == 'Name a version of the model: "ridge@1".'
    registry.remove("ridge@1", who="ada")
    registry.remove("ridge", who="ada")


def test_pruning_removes_what_is_not_named_users_first(registry: Registry, policy: Build) -> None:
    registry.apply([policy(), FACTS], who="ada")
    plan = registry.plan([FACTS], prune=True)
    removed = [change.name for change in plan.changes if change.action == "remove"]
    assert removed == ["watch", "flight_delay", "chill", "weather", "airport"]
    assert plan.render().endswith(
        "  - monitor_policy watch@1\n"
        "  - feature_service flight_delay@1\n"
        "  - on_demand_feature_view chill@1\n"
        "  - feature_view weather@1\n"
        "  - entity airport@1\n"
        "\n"
        "Plan: 5 to remove, 2 unchanged."
    )
    assert len(registry.list()) == 7
    registry.apply([FACTS], who="bob", prune=True)
    assert [one.id for one in registry.list()] == ["facts@1", "plane@1"]
    assert [entry.object for entry in registry.audit(action="delete")] == [
        "watch@1",
        "flight_delay@1",
        "chill@1",
        "weather@1",
        "airport@1",
    ]
    assert registry.plan([FACTS], prune=True).is_empty


def test_pruning_is_all_or_nothing_where_something_is_in_use(registry: Registry, policy: Build) -> None:
    registry.apply([policy()], who="ada")
    registry.promote("flight_delay@1", who="ada")
    before = registry.list(), registry.audit()
    plan = registry.plan([FACTS], prune=True)
    assert "      ! in use: alias production (flight_delay@1)" in plan.render()
    with pytest.raises(ObjectInUseError, match=r"flight_delay is used by alias production") as caught:
        registry.apply([FACTS], who="ada", prune=True)
    assert "watch" not in caught.value.message
    assert (registry.list(), registry.audit()) == before


def test_pruning_sees_what_the_same_plan_changes(registry: Registry, policy: Build) -> None:
    """A service that lets go of a view does not keep it from being removed."""
    registry.apply([policy().service], who="ada")
    service = FeatureService(name="flight_delay", features=[policy().service.views[0]])
    registry.apply([service], who="ada", prune=True, allow_breaking=True)
    assert [one.id for one in registry.list()] == ["airport@1", "flight_delay@2", "weather@1"]


def test_pruning_leaves_other_projects_datasets_and_models_alone(registry: Registry, policy: Build, url: str) -> None:
    from featurestore.registry import open_registry

    registry.apply([FACTS, policy().service], who="ada")
    registry.record_dataset("delays", {"service": "flight_delay@1"}, who="ada")
    with open_registry(url, "pricing") as other:
        other.apply([PLANE], who="ada")
        other.apply([Entity(name="route")], who="ada", prune=True)
        assert [one.id for one in other.list()] == ["route@1"]
    assert len(registry.list()) == 6
    registry.apply([FACTS], who="ada", prune=True)
    assert [one.id for one in registry.datasets()] == ["delays@1"]


def test_a_removed_service_can_come_back_with_its_aliases_free(registry: Registry, policy: Build) -> None:
    registry.apply([policy(ttl=timedelta(hours=1)).service], who="ada")
    registry.remove("flight_delay", who="ada")
    registry.apply([policy(ttl=timedelta(hours=2)).service], who="ada")
    assert registry.resolve_service("flight_delay").id == "flight_delay@2"
