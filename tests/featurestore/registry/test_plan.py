"""Plan and apply: what changes, what it is called, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from featurestore import types
from featurestore.definitions import (
    Entity,
    FeatureService,
    FeatureView,
    Field,
    FileSource,
    MonitorPolicy,
    OnDemandFeatureView,
    SqlSource,
)
from featurestore.definitions.functions import PythonFunction
from featurestore.errors import BreakingChangeError, DefinitionError
from featurestore.registry import Difference, Plan, Registry

Build = Callable[..., MonitorPolicy]

TEMP = Field(name="temp", dtype=types.Float64)
WIND = Field(name="wind_speed", dtype=types.Float64)


def actions(plan: Plan) -> dict[str, tuple[str, int | None, int]]:
    return {change.name: (change.action, change.from_version, change.to_version) for change in plan.changes}


def test_all_that_a_definition_reaches_is_applied_with_it(registry: Registry, policy: Build) -> None:
    plan = registry.apply([policy()], who="ada")
    assert list(actions(plan).items()) == [
        ("airport", ("create", None, 1)),
        ("weather", ("create", None, 1)),
        ("chill", ("create", None, 1)),
        ("flight_delay", ("create", None, 1)),
        ("watch", ("create", None, 1)),
    ]
    assert [one.id for one in registry.list()] == ["airport@1", "chill@1", "flight_delay@1", "watch@1", "weather@1"]


def test_a_plan_changes_nothing(registry: Registry, policy: Build) -> None:
    assert not registry.plan([policy()]).is_empty
    assert registry.list() == []
    assert registry.revision() == 0
    assert registry.audit() == []


def test_the_same_definitions_again_are_no_change(registry: Registry, policy: Build) -> None:
    registry.apply([policy()], who="ada")
    before = registry.revision(), registry.audit(), registry.list()
    plan = registry.apply([policy()], who="bob")
    assert plan.is_empty
    assert plan.render() == "No changes: 5 definitions are as registered."
    assert (registry.revision(), registry.audit(), registry.list()) == before


def test_what_a_user_sees_differently_is_a_new_version_of_all_that_is_made_from_it(
    registry: Registry, policy: Build
) -> None:
    registry.apply([policy()], who="ada")
    changed = policy(ttl=timedelta(hours=6), schema=[TEMP, WIND, Field(name="dewp", dtype=types.Float64)])
    plan = registry.apply([changed], who="bob")
    assert actions(plan) == {
        "airport": ("unchanged", 1, 1),
        "weather": ("new version", 1, 2),
        "chill": ("new version", 1, 2),
        "flight_delay": ("new version", 1, 2),
        "watch": ("unchanged", 1, 1),
    }
    by_name = {change.name: change.differences for change in plan.changes}
    assert by_name["weather"] == (
        Difference("schema.dewp", None, {"dtype": "Float64"}),
        Difference("ttl", "3:00:00", "6:00:00"),
    )
    assert by_name["chill"] == (Difference("inputs.weather", "weather@1", "weather@2"),)
    assert by_name["flight_delay"] == (
        Difference("features.weather", "weather@1[temp]", "weather@2[temp]"),
        Difference("features.chill", "chill@1", "chill@2"),
    )
    assert plan.breaking == ()


def test_notes_change_without_a_new_version(registry: Registry, policy: Build) -> None:
    registry.apply([policy()], who="ada")
    before = registry.revision()
    secret = replace(TEMP, description="air", tags={"pii": "true"})
    plan = registry.apply([policy(owner="ada", schema=[secret, WIND])], who="bob")
    assert actions(plan)["weather"] == ("update notes", 1, 1)
    assert {change.action for change in plan.changes if change.name != "weather"} == {"unchanged"}
    weather = next(change for change in plan.changes if change.name == "weather")
    assert weather.differences == (
        Difference("schema.temp.description", None, "air"),
        Difference("schema.temp.tags", None, {"pii": "true"}),
        Difference("owner", None, "ada"),
    )
    assert registry.feature_view("weather").definition.owner == "ada"
    assert registry.revision() == before + 1
    assert registry.audit(object="weather")[-1].details["action"] == "update notes"


def test_a_service_that_is_not_applied_again_still_knows_which_features_identify_people(
    registry: Registry, policy: Build
) -> None:
    registry.apply([policy()], who="ada")
    view = policy(schema=[replace(TEMP, tags={"pii": "true"}), WIND]).service.views[0]
    registry.apply([view], who="ada")
    assert [one.pii for one in registry.service("flight_delay").definition.outputs["weather"]] == [True]


def test_a_known_definition_makes_its_version_current_again(registry: Registry, policy: Build) -> None:
    registry.apply([policy()], who="ada")
    registry.apply([policy(ttl=None)], who="ada")
    plan = registry.apply([policy()], who="ada")
    assert actions(plan)["weather"] == ("make current", 2, 1)
    assert registry.get("weather").version == 1
    assert [one.version for one in registry.versions("weather")] == [1, 2]
    registry.apply([policy(ttl=timedelta(days=1))], who="ada")
    assert registry.get("weather").version == 3


def test_what_is_not_named_stays(registry: Registry, policy: Build) -> None:
    registry.apply([policy()], who="ada")
    registry.apply([Entity(name="plane", join_keys=["tailnum"])], who="ada")
    assert len(registry.list()) == 6


@pytest.mark.parametrize(
    ("view", "reason"),
    [
        ({"schema": [TEMP]}, 'feature "wind_speed" is removed'),
        ({"schema": [TEMP, Field(name="wind", dtype=types.Float64)]}, 'feature "wind_speed" is removed'),
        (
            {"schema": [TEMP, replace(WIND, dtype=types.Float32)]},
            'feature "wind_speed" changes from Float64 to Float32',
        ),
        ({"entities": [Entity(name="airport", join_keys=["dest"])]}, 'join key "origin" is removed'),
        (
            {"entities": [Entity(name="airport", join_keys=["origin"], dtypes=[types.Int64])]},
            'join key "origin" changes from String to Int64',
        ),
        ({"entities": [Entity(name="town", join_keys=["origin"])]}, 'entity "town" is added'),
        (
            {"entities": [Entity(name="airport", join_keys=["origin"]), Entity(name="plane")]},
            'join key "plane" is added',
        ),
    ],
)
def test_a_breaking_change_is_refused_unless_asked_for(
    registry: Registry, policy: Build, view: dict[str, object], reason: str
) -> None:
    registry.apply([policy()], who="ada")
    before = registry.list()
    with pytest.raises(BreakingChangeError, match=f"feature_view weather: .*{reason}") as caught:
        registry.apply([policy(**view)], who="ada")
    assert "--allow-breaking" in caught.value.hint
    assert registry.list() == before
    plan = registry.apply([policy(**view)], who="ada", allow_breaking=True)
    assert f"feature_view weather: {reason}" in plan.breaking
    assert registry.get("weather").version == 2


def test_a_request_field_that_callers_must_newly_send_is_breaking(registry: Registry, policy: Build) -> None:
    chill = policy().service.on_demand_views[0]
    registry.apply([chill], who="ada")
    more = replace(chill, request=[*chill.request, Field(name="month", dtype=types.Int64)])
    assert registry.plan([more]).breaking == ('on_demand_feature_view chill: request field "month" is added',)
    optional = replace(more, request=[more.request[0], replace(more.request[1], default=6)])
    assert registry.plan([optional]).breaking == ()
    registry.apply([optional], who="ada")
    assert registry.plan([more]).breaking == (
        'on_demand_feature_view chill: request field "month" has no default any more',
    )


@pytest.mark.parametrize(
    "view", [{"ttl": None}, {"schema": [TEMP, WIND, replace(WIND, name="gust")]}, {"schema": [WIND, TEMP]}]
)
def test_what_users_survive_is_not_breaking(registry: Registry, policy: Build, view: dict[str, object]) -> None:
    registry.apply([policy()], who="ada")
    plan = registry.plan([policy(**view)])
    assert actions(plan)["weather"] == ("new version", 1, 2)
    assert plan.breaking == ()


def test_another_order_of_features_is_shown(registry: Registry, policy: Build) -> None:
    """It is another version, because values come in that order; a plan must not show it as no difference."""
    registry.apply([policy()], who="ada")
    plan = registry.plan([policy(schema=[WIND, TEMP])])
    weather = next(change for change in plan.changes if change.name == "weather")
    assert weather.differences == (Difference("schema (order)", ["temp", "wind_speed"], ["wind_speed", "temp"]),)


def test_two_different_definitions_of_one_name_are_refused(registry: Registry, policy: Build) -> None:
    with pytest.raises(DefinitionError, match='two different definitions of feature_view "weather"'):
        registry.plan([policy(), policy(ttl=None).service.views[0]])
    with pytest.raises(DefinitionError, match="two different definitions"):
        registry.plan([policy(), policy(description="other").service.views[0]])


def test_a_service_cannot_hide_two_definitions_in_its_on_demand_inputs(registry: Registry, policy: Build) -> None:
    weather, chill = policy().service.views[0], policy(description="other").service.on_demand_views[0]
    with pytest.raises(DefinitionError, match="two different definitions"):
        registry.plan([FeatureService(name="other", features=[chill]), weather])


def test_one_name_cannot_stand_for_two_kinds(registry: Registry, policy: Build) -> None:
    with pytest.raises(DefinitionError, match='"weather" is both a feature view and an entity'):
        registry.plan([policy(), Entity(name="weather")])
    registry.apply([policy()], who="ada")
    with pytest.raises(DefinitionError, match='"weather" is registered as a feature view, and now defined as an en'):
        registry.apply([Entity(name="weather")], who="ada")


def test_an_expression_that_cannot_be_evaluated_is_refused_at_apply(registry: Registry) -> None:
    chill = OnDemandFeatureView(
        name="chill",
        request=[Field(name="hour", dtype=types.Int64)],
        schema=[Field(name="later", dtype=types.Int64)],
        expressions={"later": "hours + 1"},
    )
    with pytest.raises(DefinitionError, match='names "hours"') as caught:
        registry.apply([chill], who="ada")
    assert caught.value.hint == 'Did you mean "hour"?'
    assert registry.list() == []


def test_what_is_not_a_definition_is_refused(registry: Registry) -> None:
    with pytest.raises(DefinitionError, match="'weather' is not a definition"):
        registry.plan(["weather"])  # type: ignore[list-item]


def test_a_plan_reads_like_terraforms(registry: Registry) -> None:
    airport = Entity(name="airport", join_keys=["origin"])
    view = FeatureView(name="weather", entities=[airport], schema=[TEMP], owner="ada")
    assert registry.apply([view], who="ada").render() == (
        "  + entity airport@1\n"
        "      + join_keys = origin String\n"
        "  + feature_view weather@1\n"
        "      + entities = airport@1\n"
        "      + schema = temp Float64\n"
        '      + on_bad_rows = "quarantine"\n'
        '      + owner = "ada"\n'
        "\n"
        "Plan: 2 to create."
    )
    other = replace(view, schema=[WIND], ttl=timedelta(hours=1))
    assert registry.plan([other]).render() == (
        "  ~ feature_view weather@1 -> weather@2\n"
        "      - schema.temp = Float64\n"
        "      + schema.wind_speed = Float64\n"
        '      + ttl = "1:00:00"\n'
        '      ! breaking: feature "temp" is removed\n'
        "\n"
        "Plan: 1 to get a new version, 1 unchanged."
    )
    assert registry.plan([replace(view, owner="bob")]).render() == (
        "  ~ feature_view weather@1 (notes only, no new version)\n"
        '      ~ owner: "ada" -> "bob"\n'
        "\n"
        "Plan: 1 with new notes, 1 unchanged."
    )


def test_a_query_is_shown_as_text_and_its_change_as_a_diff(registry: Registry) -> None:
    airport = Entity(name="airport", join_keys=["origin"])
    files = FileSource(name="readings", path="readings.csv")
    query = """
        SELECT origin, event_timestamp,
            temp
        FROM readings
    """
    view = FeatureView(
        name="weather", entities=[airport], schema=[TEMP], source=SqlSource(query=query, sources=[files])
    )
    assert (
        '      + source.kind = "sql"\n'
        "      + source.query =\n"
        "          SELECT origin, event_timestamp,\n"
        "              temp\n"
        "          FROM readings\n"
        '      + source.sources.readings.kind = "file"\n'
    ) in registry.apply([view], who="ada").render()
    other = replace(view, source=SqlSource(query=query.replace("temp", "temp + 1"), sources=[files]))
    assert (
        "      ~ source.query:\n"
        "            SELECT origin, event_timestamp,\n"
        "          -     temp\n"
        "          +     temp + 1\n"
        "            FROM readings\n"
    ) in registry.plan([other]).render()


def test_a_new_view_is_shown_with_its_checks_and_defaults(registry: Registry) -> None:
    fields = [Field(name="temp", dtype=types.Float64, ge=-80, le=140, not_null=True), replace(WIND, default=0.0)]
    view = FeatureView(name="weather", entities=[Entity(name="airport")], schema=fields)
    said = registry.apply([view], who="ada").render()
    assert "      + schema.temp = Float64, not_null=true, ge=-80, le=140\n" in said
    assert "      + schema.wind_speed = Float64, default=0.0\n" in said


def doubled(*examples: dict[str, float]) -> OnDemandFeatureView:
    return OnDemandFeatureView(
        name="doubled",
        request=[Field(name="given", dtype=types.Float64)],
        schema=[Field(name="out", dtype=types.Float64)],
        function=PythonFunction(
            source='def double(rows):\n    if rows.height:\n        pass\n    return {"out": rows["given"] * 2}\n',
            packages=(),
            examples=examples,
        ),
    )


def test_a_function_is_shown_as_it_is_written_and_its_examples_by_number(registry: Registry) -> None:
    said = registry.apply([doubled({"given": 1.0, "out": 2.0}, {"given": 2.0, "out": 4.0})], who="ada").render()
    assert (
        "          def double(rows):\n"
        "              if rows.height:\n"
        "                  pass\n"
        '              return {"out": rows["given"] * 2}\n'
    ) in said
    assert "examples.1.given = 1.0" in said
    assert "examples.2.out = 4.0" in said


def test_an_example_that_is_wrong_is_refused_though_nothing_else_changed(registry: Registry) -> None:
    right = {"given": 1.0, "out": 2.0}
    registry.apply([doubled(right)], who="ada")
    with pytest.raises(DefinitionError, match="Example 2"):
        registry.plan([doubled(right, {"given": 2.0, "out": 5.0})])
