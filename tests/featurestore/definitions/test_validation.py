"""Definitions that cannot be what they say are refused when they are built, with what to do about it."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import timedelta
from typing import Any

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
    PushSource,
    SqlSource,
)
from featurestore.definitions.sources import source_from_spec
from featurestore.errors import DefinitionError

TEMP = Field(name="temp", dtype=types.Float64)
HOUR = Field(name="hour", dtype=types.Int64)
AIRPORT = Entity(name="airport", join_keys=["origin"])
WEATHER = FeatureView(name="weather", entities=[AIRPORT], schema=[TEMP])
SERVICE = FeatureService(name="flight_delay", features=[WEATHER])
FLIGHTS = FileSource(name="flights", path="flights.csv")


def view(**parts: Any) -> FeatureView:
    return FeatureView(**{"name": "weather", "entities": [AIRPORT], "schema": [TEMP], **parts})


def on_demand(**parts: Any) -> OnDemandFeatureView:
    return OnDemandFeatureView(
        **{
            "name": "chill",
            "inputs": [WEATHER],
            "request": [HOUR],
            "schema": [Field(name="cold", dtype=types.Float64)],
            "expressions": {"cold": "temp - hour"},
            **parts,
        }
    )


def policy(**parts: Any) -> MonitorPolicy:
    return MonitorPolicy(**{"name": "watch", "service": SERVICE, **parts})


@pytest.mark.parametrize(
    ("build", "message", "hint"),
    [
        # Names
        (lambda: Entity(name="air port"), "'air port' cannot name an entity", "starts with a letter"),
        (lambda: Entity(name="1st"), "'1st' cannot name an entity", "starts with a letter"),
        (lambda: Entity(name="a" * 101), "cannot name an entity", "at most 100"),
        (lambda: view(name="weather__temp"), "cannot name a feature view", 'single "_"'),
        (lambda: view(name="weather_"), "cannot name a feature view", 'single "_"'),
        (lambda: view(name=None), "None cannot name a feature view", "starts with a letter"),
        (lambda: Field(name="load_id", dtype=types.Int64), '"load_id" cannot name a field', "Rename it."),
        # Entities
        (lambda: Entity(name="airport", join_keys="origin"), "one text as its join_keys", 'join_keys=["origin"]'),
        (lambda: Entity(name="user", dtypes=types.Int64), "one DType as its dtypes, not a list", "dtypes=[Int64]"),
        (lambda: Entity(name="user", join_keys=None), "None as its join_keys", "join_keys=[...]"),
        (lambda: Entity(name="user", description=None), "description=None, which is not a text", "leave it out"),
        (lambda: Entity(name="user", tags=["a"]), "tags=.'a'., which is not a dict", "tags={"),
        (lambda: Entity(name="user", tags={"pii": True}), "'pii': True in its tags", 'tags={"pii": "true"}'),
        (lambda: Entity(name="route", join_keys=["a", "a"]), 'names "a" twice', "Remove or rename"),
        (
            lambda: Entity(name="route", join_keys=["a", "b"], dtypes=[types.Int64]),
            'Entity "route" has 2 join keys and 1 dtypes',
            "Give one dtype a key.",
        ),
        (
            lambda: Entity(name="point", dtypes=[types.Embedding(2)]),
            'Join key "point" of entity "point" cannot be Embedding',
            "A key may be: Bool, Int32, Int64, Float32, Float64, String, Bytes, Date, Timestamp, or a Decimal.",
        ),
        # Fields
        (lambda: Field(name="temp", dtype=float), "which is not a feature type", "Float64"),
        (lambda: Field(name="sky", dtype=types.String, ge=0), "ge=0 has no meaning", ""),
        (lambda: Field(name="temp", dtype=types.Float64, le=math.nan), "le=nan, which is not a finite number", ""),
        (lambda: Field(name="temp", dtype=types.Float64, le=True), "le=True, which is not a finite number", ""),
        (lambda: Field(name="temp", dtype=types.Float64, ge=2, le=1), "ge=2 over le=1: no value passes", ""),
        (lambda: Field(name="sky", dtype=types.String, in_set=()), "empty in_set", ""),
        (lambda: Field(name="sky", dtype=types.String, in_set=("a", 1)), "has 1, which is not String", "str"),
        (lambda: Field(name="n", dtype=types.Int64, in_set=("a",)), "which is not Int64", "int"),
        (lambda: Field(name="n", dtype=types.Int64, in_set=(True,)), "has True, which is not Int64", "int"),
        (lambda: Field(name="x", dtype=types.Float64, in_set=(1.5,)), "in_set has no meaning", ""),
        (lambda: Field(name="x", dtype=types.Float64, le=float("inf")), "not a finite number", ""),
        (lambda: Field(name="n", dtype=types.Int64, ge=2**70), "its ge that no Int64 can be", "9223372036854775807"),
        (lambda: Field(name="n", dtype=types.Int64, le=2.0**63), "its le that no Int64 can be", "Int64 holds"),
        (lambda: Field(name="n", dtype=types.Int32, in_set=[2**40]), "its in_set that no Int32 can be", "Int32 holds"),
        (lambda: Field(name="n", dtype=types.Float32, le=1e39), "its le that no Float32 can be", "Float32 holds"),
        (lambda: Field(name="n", dtype=types.Float64, le=10**400), "its le that no Float64 can be", "Float64 holds"),
        (lambda: Field(name="n", dtype=types.Float64, not_null="yes"), "not_null='yes'", "not_null=True"),
        (lambda: Field(name="n", dtype=types.String, in_set="abc"), "one text as its in_set", 'in_set=["abc"]'),
        (lambda: Field(name="n", dtype=types.String, tags=None), "tags=None, which is not a dict", "tags={"),
        (lambda: Field(name="load_order", dtype=types.Int64), "the store adds a column", "Rename"),
        (lambda: Field(name="File_Row_Number", dtype=types.Int64), "the store adds a column", "Rename"),
        (lambda: Field(name="Event_Timestamp", dtype=types.Int64), "the store adds a column", "Rename"),
        # Views
        (lambda: view(entities=[]), 'Feature view "weather" needs entities', "Entity objects"),
        (lambda: view(entities=["airport"]), 'Feature view "weather" needs entities', "Entity objects"),
        (lambda: view(entities=AIRPORT), "has one Entity as its entities, not a list", "Write entities=[airport]."),
        (lambda: view(entities={AIRPORT.name}), "one set as its entities", "entities=[...]"),
        (lambda: view(schema=TEMP), "one Field as its schema, not a list", "Write schema=[temp]."),
        (lambda: view(schema=None), "None as its schema, not a list", "Write schema=[...]."),
        (lambda: view(owner=5), "owner=5, which is not a text", "leave it out"),
        (lambda: view(tags=["a"]), "which is not a dict", "tags={"),
        (lambda: view(schema=[]), "has no fields", "Give schema"),
        (lambda: view(schema=["temp"]), "'temp' in its schema, which is not a Field", ""),
        (lambda: view(schema=[TEMP, TEMP]), 'names "temp" twice', "Remove or rename"),
        (lambda: view(schema=[Field(name="origin", dtype=types.String)]), 'names "origin" twice', "Remove or rename"),
        (lambda: view(ttl=timedelta(0)), "has ttl=", "ttl=None keeps values for ever"),
        (lambda: view(ttl=timedelta(-1)), "has ttl=", "ttl=None keeps values for ever"),
        (lambda: view(ttl=3600), "ttl=3600, which is not a timedelta", "ttl=timedelta(seconds=3600)"),
        (lambda: view(ttl="1h"), "ttl='1h', which is not a timedelta", "ttl=timedelta(seconds=3600)"),
        (lambda: view(ttl=timedelta.max), "has ttl=", "ttl=None keeps values for ever"),
        (lambda: view(source="a.csv"), "'a.csv' as its source", "FileSource"),
        (lambda: view(on_bad_rows="ignore"), 'on_bad_rows="ignore"', '"quarantine", "reject" or "warn"'),
        (lambda: WEATHER["temp"], "is one text", 'Write weather[["temp"]].'),
        (lambda: WEATHER[0], "takes no features", 'weather[["temp"]]'),
        (lambda: WEATHER[None], "takes no features", 'weather[["temp"]]'),
        (lambda: WEATHER[[0]], 'has no feature "0"', "There is: temp."),
        (lambda: WEATHER[["tmp"]], 'no feature "tmp"', 'Did you mean "temp"?'),
        (lambda: WEATHER[[]], "takes no feature", ""),
        (lambda: WEATHER[["temp", "temp"]], 'names "temp" twice', ""),
        # On-demand views
        (lambda: on_demand(inputs=["weather"]), "'weather' as an input", "FeatureView objects"),
        (lambda: on_demand(inputs=WEATHER), "one FeatureView as its inputs", "inputs=[weather]"),
        (lambda: on_demand(request=HOUR), "one Field as its request", "request=[hour]"),
        (lambda: on_demand(request=["hour"]), "'hour' in its request, which is not a Field", ""),
        (lambda: on_demand(expressions={"cold": 1}), "'cold': 1 in its expressions", 'expressions={"cold": "1"}'),
        (lambda: on_demand(expressions="temp"), "which is not a dict", "expressions={"),
        (lambda: on_demand(description=None), "description=None", "leave it out"),
        (lambda: on_demand(inputs=[], request=[]), "neither inputs nor request fields", ""),
        (lambda: on_demand(expressions={}), 'no expression for "cold"', 'Add expressions={"cold": "..."}.'),
        (lambda: on_demand(expressions={"cold": "1", "hot": "2"}), 'an expression for "hot"', ""),
        (lambda: on_demand(request=[TEMP]), 'names "temp" twice', ""),
        # Services
        (lambda: FeatureService(name="s", features=[]), "has no features", "Give features"),
        (lambda: FeatureService(name="s", features=WEATHER), "one FeatureView as its features", "features=[weather]"),
        (lambda: FeatureService(name="s", features=WEATHER[["temp"]]), "one ViewProjection as its features", ""),
        (lambda: FeatureService(name="s", features=[WEATHER], tags="a"), "tags='a', which is not a dict", ""),
        (lambda: FeatureService(name="s", features=[WEATHER], owner=None), "owner=None, which is not a text", ""),
        (lambda: FeatureService(name="s", features=["weather"]), "'weather' among its features", ""),
        (lambda: FeatureService(name="s", features=[WEATHER, WEATHER]), 'names "weather" twice', ""),
        (
            lambda: FeatureService(name="s", features=[WEATHER, view(name="other")]),
            '"temp" from "weather" and from "other"',
            "leave one out",
        ),
        (
            lambda: FeatureService(name="s", features=[view(ttl=timedelta(1)), on_demand()]),
            'two different definitions of view "weather"',
            "Use one object for both.",
        ),
        (
            lambda: FeatureService(
                name="s",
                features=[
                    WEATHER,
                    view(
                        name="b",
                        entities=[Entity(name="airport", join_keys=["origin"], dtypes=[types.Int64])],
                        schema=[HOUR],
                    ),
                ],
            ),
            'join key "origin" as String and as Int64',
            "Use one entity",
        ),
        (
            lambda: FeatureService(name="s", features=[view(schema=[HOUR]), on_demand(inputs=[])]),
            'both needs "hour" with each request and gives a feature of that name',
            "Rename",
        ),
        # Policies
        (lambda: policy(service="flight_delay"), "'flight_delay', which is not a FeatureService", ""),
        (lambda: policy(window=timedelta(milliseconds=1)), "has window=", "a second to 100 years"),
        (lambda: policy(window=timedelta.max), "has window=", "a second to 100 years"),
        (lambda: policy(window=5.0), "window=5.0, which is not a timedelta", "window=timedelta(seconds=5.0)"),
        (lambda: policy(window=0), "window=0", "a row to"),
        (lambda: policy(service=None), "neither a service nor a source", "source=..."),
        (lambda: policy(fields=[TEMP]), "has fields, which a service says itself", "features"),
        (lambda: policy(features=["tempp"]), 'names "tempp" in its features', 'Did you mean "temp"?'),
        (lambda: policy(thresholds={"tempp": 0.2}), 'names "tempp" in its thresholds', 'Did you mean "temp"?'),
        (lambda: policy(thresholds={"temp": 2}), "the threshold 2", "between 0 and 1"),
        (lambda: policy(thresholds={"temp:nul_rate": 0.2}), '"nul_rate" is no effect', 'Did you mean "null_rate"?'),
        (lambda: policy(thresholds={"tempp:null_rate": 0.2}), 'names "tempp" in its', 'Did you mean "temp"?'),
        (lambda: policy(thresholds={"*": 0.2}), 'names "\\*" in its thresholds', "There is: temp"),
        (lambda: policy(thresholds=0.2), "thresholds=0.2, which is not a dict", "thresholds="),
        (lambda: policy(performance={"accuracy": 0}), '"accuracy" get worse by 0', "over 0"),
        (lambda: policy(share=0), "share=0", "a weight, over 0"),
        (lambda: policy(hold_for=-1), "hold_for=-1", "a number of windows, 0 or more"),
        (lambda: policy(keep_firing_for=0), "keep_firing_for=0", "a number of windows, 1 or more"),
        (lambda: policy(minimum_rows=1.5), "minimum_rows=1.5", "a number of rows, 0 or more"),
        (lambda: policy(severity="pager"), "severity='pager'", 'Did you mean "page"?'),
        (lambda: policy(quality="yes"), "quality='yes', which is neither True nor False", ""),
        (lambda: policy(baseline="delays@1"), "which is not a BaselineSource", 'dataset="delays@1"'),
        (lambda: policy(slices="carrier"), "one text as its slices, not a list", ""),
        (lambda: policy(routes="ops"), "one text as its routes, not a list", 'Write routes=["ops"].'),
        (lambda: policy(routes=[5]), "a route=5, which is not a text", ""),
        (lambda: policy(average_run_length="a"), "average_run_length='a'", "over 1"),
        (lambda: policy(smallest_change=None), "smallest_change=None", "between 0 and 1"),
        (lambda: policy(retrain=1), "retrain=1, which is neither True nor False", ""),
        (lambda: policy(owner=None), "owner=None, which is not a text", ""),
        (lambda: policy(average_run_length=1), "average_run_length=1", "over 1"),
        (lambda: policy(average_run_length=math.inf), "average_run_length=inf", "over 1"),
        (lambda: policy(smallest_change=0), "smallest_change=0", "between 0 and 1"),
        (lambda: policy(effect_threshold=1), "effect_threshold=1", "between 0 and 1"),
        (lambda: policy(routes=["ops", "ops"]), 'names "ops" twice', ""),
        (lambda: policy(actions=["restore"]), 'allows the action "restore", which there is not', "restore_load"),
        (lambda: policy(actions="restore_load"), "one text as its actions, not a list", ""),
        (lambda: policy(actions_per_day=0), "actions_per_day=0", "a number of actions, 1 or more"),
        (
            lambda: policy(service=None, source=FLIGHTS, fields=[TEMP], actions=["restore_load"]),
            "allows actions, and watches no service",
            "leave them out",
        ),
        # Sources
        (lambda: FileSource(path=""), "path of a FileSource is ''", "Name a file or a glob."),
        (lambda: FileSource(path="data"), "neither .parquet nor .csv", "folder/"),
        (lambda: FileSource(path="a.csv", timestamp_field=""), "not the name of a column", ""),
        (lambda: SqlSource(query=" ", sources=[FLIGHTS]), "query of a SqlSource is empty", "Write one SELECT."),
        (lambda: SqlSource(query="SELECT 1", sources=[]), "names no sources", "List the FileSource"),
        (lambda: SqlSource(query="SELECT 1", sources=[FileSource(path="a.csv")]), "which has no name", "Give it one"),
        (lambda: SqlSource(query="SELECT 1", sources=[FLIGHTS, FLIGHTS]), 'names "flights" twice', ""),
        (
            lambda: SqlSource(query="SELECT 1", sources=[FLIGHTS], late_by=timedelta(hours=1)),
            "A SqlSource has late_by=.*, and no lookback",
            "the whole query runs each time",
        ),
        (
            lambda: SqlSource(query="SELECT 1", sources=[FLIGHTS], lookback=7),
            "has lookback=7, which is not a timedelta",
            "lookback=timedelta",
        ),
        (
            lambda: SqlSource(query="SELECT 1", sources=[FLIGHTS], name="daily", lookback=timedelta(days=-1)),
            'The SqlSource "daily" has lookback=',
            "0 or more",
        ),
        (lambda: SqlSource(query="SELECT 1", sources=FLIGHTS), "one FileSource as its sources", "sources=[flights]"),
        (
            lambda: SqlSource(query="q", sources=[FLIGHTS], timestamp_field=None),
            "The timestamp_field of a SqlSource",
            "",
        ),
        (lambda: FileSource(path="a.csv", created_timestamp_column=5), "The created_timestamp_column of the File", ""),
        (lambda: FileSource(path="a.csv", name=5), "name=5, which is not a text", ""),
        (lambda: PushSource(name="p", timestamp_field=None), 'timestamp_field of the PushSource "p"', ""),
        (lambda: PushSource(name="a b"), "cannot name a source", "starts with a letter"),
        (lambda: source_from_spec({"kind": "sqll"}), 'no kind of source "sqll"', 'Did you mean "sql"?'),
    ],
)
def test_what_cannot_be_is_refused_with_a_hint(build: Callable[[], object], message: str, hint: str) -> None:
    with pytest.raises(DefinitionError, match=message) as caught:
        build()
    assert hint in caught.value.hint


def test_an_entity_without_keys_is_its_own_key() -> None:
    assert Entity(name="carrier").keys == {"carrier": types.String}


def test_a_service_knows_what_it_reads_needs_and_gives() -> None:
    wind = Field(name="wind", dtype=types.Float64)
    other = view(name="other", schema=[wind, Field(name="gust", dtype=types.Float64)])
    service = FeatureService(name="s", features=[other[["wind"]], on_demand()])
    assert [one.name for one in service.views] == ["other", "weather"]
    assert service.keys == {"origin": types.String}
    assert service.request == (HOUR,)
    assert {owner: [one.name for one in given] for owner, given in service.outputs.items()} == {
        "other": ["wind"],
        "chill": ["cold"],
    }


@pytest.mark.parametrize(("tag", "pii"), [("true", True), ("yes", True), ("false", False), ("", False), ("No", False)])
def test_a_tag_says_whether_a_field_identifies_people(tag: str, pii: bool) -> None:
    assert Field(name="mail", dtype=types.String, tags={"pii": tag}).pii is pii
    assert Field(name="mail", dtype=types.String).pii is False


def test_definitions_do_not_follow_lists_that_change_after_them() -> None:
    schema, tags = [TEMP], {"team": "ops"}
    made = view(schema=schema, tags=tags)
    schema.append(HOUR)
    tags["team"] = "eve"
    assert made.schema == (TEMP,)
    assert made.tags == {"team": "ops"}


def test_a_set_may_list_what_is_allowed_and_a_longest_ttl_may_be_named() -> None:
    """What is allowed has no order; the order of everything else shows in results."""
    assert set(Field(name="sky", dtype=types.String, in_set={"clear", "cloudy"}).in_set or ()) == {"clear", "cloudy"}
    assert view(ttl=timedelta(days=36_525)).ttl == timedelta(days=36_525)
