"""What people look at: show, search, two versions side by side, and what a plan says of those it does not reach."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from featurestore import types
from featurestore.definitions import Entity, FeatureView, Field, Model, MonitorPolicy
from featurestore.errors import ObjectNotFoundError, RegistryError
from featurestore.registry import Registry

Build = Callable[..., MonitorPolicy]

TEMP = Field(name="temp", dtype=types.Float64)
WIND = Field(name="wind_speed", dtype=types.Float64)


def test_everything_about_an_object_is_shown(registry: Registry, policy: Build) -> None:
    registry.apply([policy(owner="ada")], who="ada")
    registry.apply([policy(owner="ada", ttl=None).service], who="bob")
    registry.promote("flight_delay@1", who="ada")
    found = registry.show("weather@1")
    assert found["id"] == "weather@1"
    assert (found["kind"], found["current_version"], found["removed_at"]) == ("feature_view", 2, None)
    assert found["storage_id"].startswith("weather-")
    assert found["definition"]["schema"] == {"temp": {"dtype": "Float64"}, "wind_speed": {"dtype": "Float64"}}
    assert found["definition"]["ttl"] == "3:00:00"
    assert found["uses"] == ["airport@1"]
    assert found["used_by"] == ["alias production (flight_delay@1)"]
    assert registry.show("weather")["used_by"] == ["on_demand_feature_view chill@2", "feature_service flight_delay@2"]
    assert "monitor_policy watch@1" in registry.show("flight_delay")["used_by"]
    assert [(one["version"], one["applied_by"]) for one in found["versions"]] == [(1, "ada"), (2, "bob")]
    assert registry.show("flight_delay")["aliases"] == {"production": 1}
    assert registry.show("airport")["storage_id"] is None
    json.dumps(found)


def test_what_was_removed_is_shown_by_version(registry: Registry) -> None:
    registry.apply([Entity(name="plane")], who="ada")
    registry.remove("plane", who="ada")
    found = registry.show("plane@1")
    assert found["removed_at"]
    assert found["current_version"] is None
    with pytest.raises(ObjectNotFoundError):
        registry.show("plane")


def test_two_versions_are_compared_over_those_between(registry: Registry, policy: Build) -> None:
    def view(**parts: object) -> FeatureView:
        return policy(**parts).service.views[0]

    registry.apply([view()], who="ada")
    registry.apply([view(ttl=None)], who="ada")
    registry.apply([view(ttl=timedelta(hours=6), schema=[TEMP])], who="ada", allow_breaking=True)
    found = registry.diff("weather@1", "weather@3")
    assert found.render() == (
        "  ~ feature_view weather@1 -> weather@3\n"
        "      - schema.wind_speed = Float64\n"
        '      ~ ttl: "3:00:00" -> "6:00:00"\n'
        '      ! breaking: feature "wind_speed" is removed'
    )
    assert found.render("markdown") == (
        "### ~ `feature_view weather@1 -> weather@3`\n"
        "\n"
        "```diff\n"
        "- schema.wind_speed = Float64\n"
        '! ttl: "3:00:00" -> "6:00:00"\n'
        '! breaking: feature "wind_speed" is removed\n'
        "```"
    )
    assert json.loads(found.render("json")) == found.to_json()
    assert registry.diff("weather@2").new == "weather@3"
    assert registry.diff("weather").render() == "  ~ feature_view weather@3 -> weather@3 (no difference)"


@pytest.mark.parametrize("name", ["airport", "chill", "flight_delay", "watch"])
def test_every_kind_can_be_compared(registry: Registry, policy: Build, name: str) -> None:
    registry.apply([policy()], who="ada")
    assert registry.diff(f"{name}@1", name).differences == ()


def test_things_of_two_kinds_are_not_compared(registry: Registry, policy: Build) -> None:
    registry.apply([policy()], who="ada")
    with pytest.raises(RegistryError, match='"weather@1" is a feature view and "airport" an entity'):
        registry.diff("weather@1", "airport")


def test_a_search_finds_by_every_text_and_ranks_names_first(registry: Registry) -> None:
    airport = Entity(name="airport", description="One of three", join_keys=["origin"])
    pii = Field(name="temperature", dtype=types.Float64, tags={"pii": "true"}, description="Fahrenheit")
    weather = FeatureView(name="weather", entities=[airport], schema=[pii], owner="ada", tags={"team": "sky"})
    temperature = FeatureView(name="temperature_now", entities=[airport], schema=[WIND])
    registry.apply([weather, temperature], who="ada")

    def found(text: str) -> list[tuple[str, tuple[str, ...]]]:
        return [(one.id, one.where) for one in registry.search(text)]

    assert found("TEMPERATURE") == [
        ("temperature_now@1", ("name",)),
        ("weather@1", ("field temperature",)),
    ]
    assert found("fahren") == [("weather@1", ("description of field temperature: Fahrenheit",))]
    assert found("pii=true") == [("weather@1", ("tag pii=true of field temperature",))]
    assert found("sky") == [("weather@1", ("tag team=sky",))]
    assert found("ada") == [("weather@1", ("owner ada",))]
    assert found("origin") == [("airport@1", ("join key origin",))]
    assert found("weather temperature") == [("weather@1", ("name", "field temperature"))]
    assert found("weather nowhere") == []
    assert found("") == []
    registry.remove("weather", who="ada")
    assert found("fahrenheit") == []


def test_an_exact_name_comes_before_one_that_begins_so(registry: Registry) -> None:
    registry.apply([Entity(name="plane_type"), Entity(name="plane"), Entity(name="seaplane")], who="ada")
    assert [one.name for one in registry.search("plane")] == ["plane", "plane_type", "seaplane"]


def test_a_plan_says_whom_a_change_does_not_reach(registry: Registry, policy: Build) -> None:
    registry.apply([policy()], who="ada")
    registry.promote("flight_delay@1", who="ada")
    registry.record_dataset("delays", {"service": "flight_delay@1"}, who="ada")
    registry.record_model(Model(name="ridge", service="flight_delay@1", dataset="delays@1"), who="ada")
    changed = policy(ttl=None)
    (weather,) = registry.plan([changed.service.views[0]]).changed
    assert weather.notes == (
        (
            "until they are applied again, these do not see it: on_demand_feature_view chill@1, "
            "feature_service flight_delay@1"
        ),
        "these keep the version that they have: alias production (flight_delay@1), model ridge@1 (flight_delay@1)",
    )
    notes = {change.name: change.notes for change in registry.plan([changed]).changed}
    assert notes["weather"] == weather.notes[1:]
    assert notes["flight_delay"] == (
        "these keep the version that they have: alias production (flight_delay@1), model ridge@1 (flight_delay@1)",
        "it is what these are about: monitor_policy watch",
    )
    assert notes["chill"][-1].startswith("it takes about ")


def test_only_a_new_version_has_consequences(registry: Registry, policy: Build) -> None:
    registry.apply([policy()], who="ada")
    (change,) = registry.plan([policy(owner="ada")]).changed
    assert (change.name, change.notes) == ("weather", ())


def test_notes_can_be_added_to_what_changes(registry: Registry) -> None:
    plan = registry.plan([Entity(name="plane"), Entity(name="route")])
    plan = plan.with_notes({"plane": ["1,000 rows to backfill"], "nobody": ["nothing"]})
    assert [change.notes for change in plan.changes] == [("1,000 rows to backfill",), ()]
    assert "      # 1,000 rows to backfill" in plan.render()
    assert "- 1,000 rows to backfill" in plan.render("markdown")


def test_a_plan_for_a_pull_request_calls_out_what_breaks(registry: Registry) -> None:
    airport = Entity(name="airport", join_keys=["origin"])
    view = FeatureView(name="weather", entities=[airport], schema=[TEMP], description="a ``` b")
    registry.apply([view, Entity(name="plane")], who="ada")
    plan = registry.plan([replace(view, schema=[WIND], description="a ```` b")], prune=True)
    assert plan.render("markdown") == (
        "## Feature store plan: 1 to get a new version, 1 to remove\n"
        "\n"
        "> [!CAUTION]\n"
        "> **Breaking**: apply it with `--allow-breaking` if that is meant.\n"
        '> - feature_view weather: feature "temp" is removed\n'
        "\n"
        "### ~ `feature_view weather@1 -> weather@2`\n"
        "\n"
        "`````diff\n"
        "- schema.temp = Float64\n"
        "+ schema.wind_speed = Float64\n"
        '! description: "a ``` b" -> "a ```` b"\n'
        '! breaking: feature "temp" is removed\n'
        "`````\n"
        "\n"
        "### - `entity plane@1`\n"
        "\n"
        "1 definitions are as registered."
    )


def test_a_plan_for_a_program_holds_all_that_changes(registry: Registry) -> None:
    registry.apply([Entity(name="plane"), Entity(name="route")], who="ada")
    plan = registry.plan([Entity(name="plane"), Entity(name="airport")], prune=True)
    shown = json.loads(plan.render("json"))
    assert shown == json.loads(json.dumps(plan.to_json()))
    assert shown["counts"] == {"create": 1, "remove": 1, "unchanged": 1}
    assert [(one["name"], one["action"], one["from_version"], one["to_version"]) for one in shown["changes"]] == [
        ("airport", "create", None, 1),
        ("route", "remove", 1, None),
    ]
    assert (shown["empty"], shown["project"], shown["breaking"]) == (False, "flights", [])
    assert "test_inspection.py:" in shown["changes"][0]["where"]
