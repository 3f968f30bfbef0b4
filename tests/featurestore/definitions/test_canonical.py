"""The canonical form: what is one definition and what is another, on every machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import unicodedata
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from featurestore import types
from featurestore.definitions import (
    BaselineSource,
    Definition,
    Entity,
    FeatureService,
    FeatureView,
    Field,
    FileSource,
    MonitorPolicy,
    OnDemandFeatureView,
    PushSource,
    SqlSource,
    ViewProjection,
    content_hash,
    kind_of,
    storage_hash,
    storage_id,
)
from featurestore.definitions.canonical import canonical_json

AIRPORT = Entity(name="airport", join_keys=["origin"], dtypes=[types.String])
WEATHER = FeatureView(
    name="weather",
    entities=[AIRPORT],
    ttl=timedelta(hours=3),
    source=FileSource(path="data/*.parquet", timestamp_field="time_hour", created_timestamp_column="loaded_at"),
    schema=[
        Field(name="temp", dtype=types.Float64, ge=-80, le=140, not_null=True),
        Field(name="sky", dtype=types.String, in_set=("clear", "cloudy")),
    ],
)
CHILL = OnDemandFeatureView(
    name="chill",
    inputs=[WEATHER],
    request=[Field(name="hour", dtype=types.Int64)],
    schema=[Field(name="wind_chill", dtype=types.Float64)],
    expressions={"wind_chill": "temp - hour"},
)
SERVICE = FeatureService(name="flight_delay", features=[WEATHER[["temp"]], CHILL])
# The first release wrote a run length into every policy; one that leaves it to the budget came later.
POLICY = MonitorPolicy(name="watch", service=SERVICE, window=timedelta(days=1), average_run_length=2160, routes=["ops"])

GOLDEN = {
    "airport": "b2e2f8993d39699b1649e5c9ff6cd828e543913a44c4d5583bb0c2adc0d8b337",
    "weather": "fe17aeb862996248d0bf76fcd2434a17606045faf877a88fb1916d34fbb06d5a",
    "chill": "d065273d84a61ec307e0cadc7a6680ab53dc2f6528aaa217446a971c1731d56b",
    "flight_delay": "557b5d95eabbb4f1428b130a6b870a891c7f2f58feb882f7934cb2fda32b0b39",
    "watch": "9b866166108d87c1893370e2cf6f1253f62f6b2fe7bc8d740fa6e96d5bb22065",
}


@pytest.mark.parametrize("definition", [AIRPORT, WEATHER, CHILL, SERVICE, POLICY], ids=lambda one: one.name)
def test_a_hash_is_what_it_was_in_the_first_release(definition: Definition) -> None:
    """A hash that changes gives every user a new version of everything."""
    assert content_hash(definition) == GOLDEN[definition.name]


#: Each attribute that came after the first release, by itself: a spec has it only where it is set.
LATER = {
    "default": Field(name="sky", dtype=types.String, default="none"),
    "default_decimal": Field(name="sky", dtype=types.Decimal(6, 2), default=1),
    "default_instant": Field(name="sky", dtype=types.Timestamp, default=datetime(2013, 1, 31, 7, tzinfo=UTC)),
    "default_number": Field(name="sky", dtype=types.Float32, default=1.111),
    "default_struct": Field(
        name="sky", dtype=types.Struct({"b": types.Bytes, "a": types.Array(types.Int64)}), default={"a": [1], "b": b"x"}
    ),
    "regex": Field(name="sky", dtype=types.String, regex="[a-z]+"),
    "unique_within": Field(name="sky", dtype=types.String, unique_within="load"),
    "max_null_rate": Field(name="sky", dtype=types.String, max_null_rate=0.05),
}

GOLDEN_LATER = {
    "default": "7e374fdfed54dbf70eb9ae2f0da5dacb130fc2f3a83b47db6a3329d400f3008a",
    "default_decimal": "635a388db1e5c75d4f37099318b53d6071824343804801cd048e09d665369ae3",
    "default_instant": "25e4d20dfd14aea4f7fe6e5d50ace5203bb28d864eae195ddeba0fd67d426825",
    "default_number": "d1091dba51fd2d62501eb123f6db65282729022deda65916dfee8c32611b7800",
    "default_struct": "4b1d65c9d8a39f4f2be8298c2fd49200b5e43b725e9ccf943185bf58c7fc4ca5",
    "regex": "141bdfa6a44742138bbb39bf73d16e8898d35537948554a708a094d5346ea0ae",
    "unique_within": "27d5b6c64e75d345cb4472c5c1b320d67a0e715de042fb238db7fdcb3b731e73",
    "max_null_rate": "8cde9ba408e0c0ca19e19320267e34aef012002ad30d6717355fc3ff564864d3",
}


@pytest.mark.parametrize("attribute", LATER)
def test_a_hash_with_a_later_attribute_is_what_it_was_when_that_came(attribute: str) -> None:
    view = FeatureView(name="weather", entities=[AIRPORT], schema=[LATER[attribute]])
    assert content_hash(view) == GOLDEN_LATER[attribute]


def test_the_name_of_stored_rows_is_what_it_was_in_the_first_release() -> None:
    assert storage_id(WEATHER) == "weather-152d9c19e8da"


@pytest.mark.parametrize("seed", ["1", "2"])
def test_another_process_finds_the_same_hash(seed: str) -> None:
    """Sets and dicts are in another order where PYTHONHASHSEED is another."""
    code = (
        "from featurestore import types\n"
        "from featurestore.definitions import Entity, FeatureView, Field, content_hash\n"
        "names = {'clear', 'cloudy', 'fog', 'hail', 'rain', 'snow'}\n"
        "sky = Field(name='sky', dtype=types.String, in_set=names, tags={name: name for name in names})\n"
        "print(content_hash(FeatureView(name='weather', entities=[Entity(name='airport')], schema=[sky])))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONHASHSEED": seed},
        capture_output=True,
        text=True,
        check=True,
    )
    names = ("snow", "rain", "hail", "fog", "cloudy", "clear")
    here = FeatureView(
        name="weather",
        entities=[Entity(name="airport")],
        schema=[Field(name="sky", dtype=types.String, in_set=names)],
    )
    assert done.stdout.strip() == content_hash(here)


@pytest.mark.parametrize(
    "other",
    [
        replace(WEATHER, description="hourly", owner="ada", tags={"team": "ops"}),
        replace(WEATHER, entities=[replace(AIRPORT, description="an airport", tags={"a": "b"})]),
        replace(WEATHER, schema=[replace(WEATHER.schema[0], description="F", tags={"pii": "true"}), WEATHER.schema[1]]),
        replace(WEATHER, schema=[replace(WEATHER.schema[0], ge=-80.0), WEATHER.schema[1]]),
        replace(WEATHER, schema=[WEATHER.schema[0], replace(WEATHER.schema[1], in_set=("cloudy", "clear"))]),
    ],
    ids=["notes", "entity notes", "field notes", "-80 and -80.0", "order of a set"],
)
def test_what_only_people_read_does_not_change_the_hash(other: FeatureView) -> None:
    assert content_hash(other) == content_hash(WEATHER)
    assert storage_id(other) == storage_id(WEATHER)


@pytest.mark.parametrize(
    "other",
    [
        replace(WEATHER, name="weather2"),
        replace(WEATHER, schema=WEATHER.schema[:1]),
        replace(WEATHER, schema=WEATHER.schema[::-1]),
        replace(WEATHER, schema=[replace(WEATHER.schema[0], dtype=types.Float32), WEATHER.schema[1]]),
        replace(WEATHER, schema=[replace(WEATHER.schema[0], ge=-81), WEATHER.schema[1]]),
        replace(WEATHER, schema=[replace(WEATHER.schema[0], not_null=False), WEATHER.schema[1]]),
        replace(WEATHER, entities=[Entity(name="airport", join_keys=["dest"])]),
        replace(WEATHER, entities=[Entity(name="airport", join_keys=["origin"], dtypes=[types.Int64])]),
        replace(WEATHER, source=FileSource(path="other/*.parquet", timestamp_field="time_hour")),
        replace(WEATHER, source=None),
        replace(WEATHER, on_bad_rows="reject"),
    ],
    ids=["name", "fewer", "order", "dtype", "limit", "null", "key", "key type", "path", "no source", "bad rows"],
)
def test_what_changes_rows_changes_both_hashes(other: FeatureView) -> None:
    assert content_hash(other) != content_hash(WEATHER)
    assert storage_hash(other) != storage_hash(WEATHER)


@pytest.mark.parametrize("ttl", [None, timedelta(hours=4), timedelta(hours=3, microseconds=1)])
def test_a_ttl_changes_what_is_seen_and_not_what_is_stored(ttl: timedelta | None) -> None:
    other = replace(WEATHER, ttl=ttl)
    assert content_hash(other) != content_hash(WEATHER)
    assert storage_id(other) == storage_id(WEATHER)


def test_a_view_that_changes_changes_what_is_made_from_it() -> None:
    other = replace(WEATHER, ttl=None)
    assert content_hash(replace(CHILL, inputs=[other])) != content_hash(CHILL)
    assert content_hash(FeatureService(name="s", features=[other])) != content_hash(
        FeatureService(name="s", features=[WEATHER])
    )


def test_a_choice_of_features_is_part_of_a_service() -> None:
    chosen = [[WEATHER], [WEATHER[["temp"]]], [WEATHER[["temp", "sky"]]], [WEATHER[["sky", "temp"]]]]
    hashes = {content_hash(FeatureService(name="s", features=features)) for features in chosen}
    assert len(hashes) == len(chosen)


def test_a_policy_follows_its_service_by_name() -> None:
    other = replace(POLICY, service=FeatureService(name="flight_delay", features=[WEATHER]))
    assert content_hash(other) == content_hash(POLICY)
    assert content_hash(replace(POLICY, effect_threshold=0.2)) != content_hash(POLICY)


def test_kinds_do_not_share_hashes() -> None:
    """Two kinds whose specs were ever alike must stay apart."""
    assert len({kind_of(one) for one in (AIRPORT, WEATHER, CHILL, SERVICE, POLICY)}) == 5


def test_the_canonical_form_keeps_every_letter_as_it_is() -> None:
    """A path or an allowed value in decomposed letters is another one for the file system and for the check."""
    composed = "caf\u00e9"
    assert canonical_json([composed]) != canonical_json([unicodedata.normalize("NFD", composed)])
    assert canonical_json({"b": 1.0, "a": [1.5, True, None]}) == '{"a":[1.5,true,null],"b":1}'


JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.integers(-(2**60), 2**60).map(float)
    | st.sampled_from(["1.0", "1e+16", "a 2.0", '"3.0,', "4.0]", "-0.0"])
    | st.text(st.characters(codec="utf-8"), max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
)


@given(JSON_VALUES)
def test_the_canonical_form_is_pythons_json_with_integral_floats_as_integers(value: Any) -> None:
    def plain(one: Any) -> Any:
        if isinstance(one, dict):
            return {key: plain(inner) for key, inner in one.items()}
        if isinstance(one, list):
            return [plain(inner) for inner in one]
        return int(one) if isinstance(one, float) and one.is_integer() else one

    expected = json.dumps(plain(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert canonical_json(value) == expected


# Round trip

NAMES = st.from_regex(r"[a-z][a-z0-9]{0,5}(_[a-z0-9]{1,3})?", fullmatch=True).filter(
    lambda name: name not in ("load_id", "row_number")
)
TEXTS = st.text(st.characters(codec="utf-8"), max_size=8)
NOTES: dict[str, st.SearchStrategy[Any]] = {"description": TEXTS, "tags": st.dictionaries(TEXTS, TEXTS, max_size=2)}
WIDEST = {"Int32": 2.0**30, "Int64": 2.0**62, "Float32": 2.0**100, "Float64": 2.0**1000}


@st.composite
def fields(draw: st.DrawFn, name: str) -> Field:
    dtype = draw(st.sampled_from(list(types.BY_NAME.values())))
    widest = WIDEST.get(dtype.name, 0.0)
    numbers = st.integers(int(-min(widest, 2.0**53)), int(min(widest, 2.0**53))) | st.floats(-widest, widest)
    limits = sorted(draw(st.lists(numbers, min_size=2, max_size=2))) if dtype.numeric else [None, None]
    values = {types.String: TEXTS, types.Int64: st.integers(-(2**63), 2**63 - 1), types.Bool: st.booleans()}
    return Field(
        name=name,
        dtype=dtype,
        not_null=draw(st.booleans()),
        ge=draw(st.sampled_from([None, limits[0]])),
        le=draw(st.sampled_from([None, limits[1]])),
        in_set=draw(st.none() | st.lists(values[dtype], min_size=1, max_size=3)) if dtype in values else None,
        regex=draw(st.sampled_from([None, "[a-z]*", r"\d+|é"])) if dtype == types.String else None,
        unique_within=draw(st.sampled_from([None, "load", "table"])),
        max_null_rate=draw(st.none() | st.floats(0, 1, exclude_max=True)),
        default=draw(st.none() | values[dtype]) if dtype in values else None,
        **draw(st.fixed_dictionaries(NOTES)),
    )


@st.composite
def sources(draw: st.DrawFn) -> Any:
    columns = {"timestamp_field": TEXTS.filter(bool), "created_timestamp_column": st.none() | TEXTS.filter(bool)}
    file = FileSource(path=draw(TEXTS) + ".csv", name=draw(NAMES), **draw(st.fixed_dictionaries(columns)))
    sql = SqlSource(query="SELECT 1 " + draw(TEXTS), sources=[file], **draw(st.fixed_dictionaries(columns)))
    push = PushSource(name=draw(NAMES), **draw(st.fixed_dictionaries(columns)))
    return draw(st.sampled_from([None, file, sql, push]))


@st.composite
def services(draw: st.DrawFn) -> FeatureService:
    """Draw a service over a stored view, a choice of one, and an on-demand view; all their names differ."""
    names = iter(draw(st.lists(NAMES, min_size=16, max_size=16, unique=True)))
    about = st.fixed_dictionaries({**NOTES, "owner": TEXTS})
    keys = [next(names) for _ in range(draw(st.integers(1, 2)))]
    key_types = draw(st.lists(st.sampled_from([types.String, types.Int64]), min_size=len(keys), max_size=len(keys)))
    entity = Entity(name=next(names), join_keys=keys, dtypes=key_types, **draw(st.fixed_dictionaries(NOTES)))
    views = [
        FeatureView(
            name=next(names),
            entities=[entity],
            schema=[draw(fields(next(names))) for _ in range(draw(st.integers(1, 2)))],
            ttl=draw(st.none() | st.timedeltas(timedelta(microseconds=1), timedelta(days=36_525))),
            source=draw(sources()),
            on_bad_rows=draw(st.sampled_from(["quarantine", "reject"])),
            **draw(about),
        )
        for _ in range(2)
    ]
    feature = next(names)
    on_demand = OnDemandFeatureView(
        name=next(names),
        inputs=views[: draw(st.integers(0, 1))],
        request=[draw(fields(next(names)))],
        schema=[draw(fields(feature))],
        expressions={feature: draw(TEXTS)},
        **draw(about),
    )
    chosen: FeatureView | ViewProjection = views[0][[views[0].schema[0].name]] if draw(st.booleans()) else views[0]
    return FeatureService(name=next(names), features=[chosen, views[1], on_demand], **draw(about))


def stored(value: Any) -> Any:
    """Return what comes back from a database's text."""
    return json.loads(json.dumps(value))


def test_what_a_policy_does_not_use_is_not_in_its_spec() -> None:
    policy = MonitorPolicy(name="watch", service=SERVICE, routes=["pager"])
    assert set(policy.spec()) == {
        "name", "service", "window_us", "smallest_change", "effect_threshold", "routes", "retrain"
    }  # fmt: skip


def test_a_policy_that_uses_everything_comes_back_from_its_text() -> None:
    policy = MonitorPolicy(
        name="watch",
        source=FileSource(path="orders/*.parquet", timestamp_field="at"),
        fields=[Field(name="paid", dtype=types.Float64, tags={"pii": "true"}), Field(name="shop", dtype=types.String)],
        window=500,
        minimum_rows=100,
        features=["paid"],
        slices=["shop"],
        baseline=BaselineSource(since="2026-01-01", until="2026-02-01", filter="paid > 0"),
        thresholds={"paid": 0.3},
        quality=False,
        prediction_drift=False,
        skew=False,
        performance={"accuracy": 0.02},
        hold_for=2,
        keep_firing_for=5,
        severity="ticket",
        share=2.5,
        routes=["pager"],
        description="all of it",
    )
    again = MonitorPolicy.from_spec(stored(policy.spec()), stored(policy.notes()))
    assert again == policy
    assert again.fields[0].pii
    assert content_hash(again) == content_hash(policy)


def test_a_policy_that_lets_the_monitor_act_comes_back_and_is_another_version() -> None:
    policy = MonitorPolicy(name="watch", service=SERVICE, actions=["restore_load"], actions_per_day=3)
    again = MonitorPolicy.from_spec(stored(policy.spec()), stored(policy.notes()), SERVICE)
    assert (again.actions, again.actions_per_day) == (("restore_load",), 3)
    assert content_hash(again) == content_hash(policy) != content_hash(MonitorPolicy(name="watch", service=SERVICE))


def test_a_policy_of_the_first_release_comes_back_as_it_was() -> None:
    spec = {
        "name": "watch",
        "service": "flight_delay",
        "window_us": 86_400_000_000,
        "average_run_length": 2160,
        "smallest_change": 0.02,
        "effect_threshold": 0.1,
        "routes": ["ops"],
        "retrain": True,
    }
    again = MonitorPolicy.from_spec(spec, {"description": "", "owner": "", "tags": {}}, SERVICE)
    assert again == POLICY
    assert again.spec() == spec


@given(services())
def test_every_definition_comes_back_from_its_text(service: FeatureService) -> None:
    policy = MonitorPolicy(name="watch", service=service, routes=["ops"], retrain=False, description="d")
    assert MonitorPolicy.from_spec(stored(policy.spec()), stored(policy.notes()), service) == policy
    for definition in (*service.views, *service.on_demand_views, service, *service.views[0].entities):
        again = type(definition).from_spec(stored(definition.spec()), stored(definition.notes()))
        assert again.spec() == definition.spec()
        assert again.notes() == definition.notes()
        assert content_hash(again) == content_hash(definition)
