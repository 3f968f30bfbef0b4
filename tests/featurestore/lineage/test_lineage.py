"""Lineage of registered things: what leads where, which versions, and how it is shown."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from sqlalchemy import event

from featurestore import (
    Entity,
    FeatureService,
    FeatureStore,
    FeatureView,
    Field,
    FileSource,
    OnDemandFeatureView,
    SharedView,
    SqlSource,
)
from featurestore.cli.app import run
from featurestore.errors import ObjectNotFoundError, RegistryError
from featurestore.lineage import Lineage
from featurestore.transforms import Transform
from featurestore.types import Float64


def up(found: Lineage) -> set[str]:
    return {node.name for node in found.upstream}


def down(found: Lineage) -> set[str]:
    return {node.name for node in found.downstream}


def ways(found: Lineage, source: str) -> tuple[str, ...]:
    (edge,) = (edge for edge in found.edges if edge.source.partition(":")[2] == source)
    return edge.how


FILES = "data/weather/*.parquet"


def test_a_feature_of_files_comes_from_its_column_and_its_rows_from_key_and_time(whole: FeatureStore) -> None:
    found = whole.lineage("weather:temp", down=False)
    assert [node.name for node in found.upstream] == [f"{FILES}.temp", f"{FILES}.origin", f"{FILES}.time_hour"]
    assert ways(found, f"{FILES}.temp") == ("identity",)
    assert ways(found, f"{FILES}.origin") == ("key",)
    assert ways(found, f"{FILES}.time_hour") == ("time",)


def test_a_feature_leads_to_every_service_dataset_model_and_monitor_that_has_it(whole: FeatureStore) -> None:
    assert down(whole.lineage("weather:temp")) == {
        "context@1:chill",
        "doubled@1:double",
        "flight_delay@1",
        "people@1",
        "watch@1",
        "q1@1",
        "ridge@1",
    }


def test_a_feature_that_a_service_does_not_take_leads_there_only_by_what_is_computed_from_it(
    whole: FeatureStore,
) -> None:
    found = whole.lineage("weather:dewp", depth=1)
    assert down(found) == {"context@1:chill", "doubled@1:double"}


def test_a_column_is_followed_through_sql_and_expressions_to_the_model(whole: FeatureStore) -> None:
    found = whole.lineage("flights.arr_delay")
    assert {"delays@1:mean_delay", "context@1:knock_on", "flight_delay@1", "ridge@1"} <= down(found)
    assert [edge.how for edge in found.edges if edge.target == "feature:delays@1:mean_delay"] == [
        ("aggregation", "filter")
    ]
    assert [edge.how for edge in found.edges if edge.target == "feature:delays@1:flights"] == [("filter",)]


def test_a_model_comes_from_its_service_and_dataset_and_in_the_end_from_columns(whole: FeatureStore) -> None:
    found = up(whole.lineage("ridge"))
    assert {"q1@1", "flight_delay@1", "weather@1:temp", "context@1:hour", "flights.carrier", f"{FILES}.dewp"} <= found
    assert "weather@1:dewp" in found  # by way of context@1:chill
    assert not any("doubled" in one or "clicks" in one for one in found)


def test_an_expression_comes_from_what_transform_reads_and_a_function_from_all_that_it_is_given(
    whole: FeatureStore, define: Any
) -> None:
    defined = define()
    read = {name for one in ("chill", "knock_on") for name in up(whole.lineage(f"context:{one}", depth=1))}
    assert {name.rpartition(":")[2] for name in read} == set(Transform(defined["context"]).inputs)
    assert up(whole.lineage("doubled:double", depth=1)) == {"weather@1:temp", "weather@1:dewp"}


def test_a_view_and_a_source_are_followed_as_a_whole(whole: FeatureStore) -> None:
    found = whole.lineage("weather")
    assert (up(found), {node.kind for node in found.upstream}) == ({FILES}, {"source"})
    assert down(found) == {"context@1", "doubled@1", "flight_delay@1", "people@1", "watch@1", "q1@1", "ridge@1"}
    assert {"delays@1", "context@1", "flight_delay@1"} <= down(whole.lineage("flights"))
    assert up(whole.lineage("context")) == {"weather@1", "delays@1", FILES, "flights"}


def test_a_monitor_watches_every_version_of_its_service_that_is_in_use(whole: FeatureStore, define: Any) -> None:
    assert {"flight_delay@1", "weather@1:temp"} <= up(whole.lineage("watch"))
    whole.registry.promote("flight_delay@1", who="ada")
    whole.apply([define(ttl=timedelta(hours=6))["flight_delay"]])
    assert {"flight_delay@1", "flight_delay@2", "weather@1:temp", "weather@2:temp"} <= up(whole.lineage("watch"))


def test_a_service_keeps_the_version_that_it_was_applied_with(whole: FeatureStore, define: Any) -> None:
    whole.apply(define(ttl=timedelta(hours=6))["weather"])
    new = whole.lineage("weather:temp")
    assert new.root.name == "weather@2:temp"
    assert down(new) == set()
    assert new.notes == ("weather@1 is used by context, doubled, flight_delay, people.",)
    old = whole.lineage("weather@1:temp")
    assert "flight_delay@1" in down(old)
    assert "weather@1:temp  feature, Float64, current is weather@2" in old.render()
    whole.apply([define(ttl=timedelta(hours=6))["flight_delay"]])
    again = whole.lineage("weather:temp")
    assert {"flight_delay@2", "context@2:chill"} <= down(again)
    assert again.notes == ("weather@1 is used by doubled, people.",)


def test_an_old_version_of_a_service_counts_as_long_as_something_hangs_on_it(store: FeatureStore, define: Any) -> None:
    store.apply(list(define().values()))
    narrow = FeatureService(name="people", features=[define()["clicks"]])
    store.apply(narrow, allow_breaking=True)
    assert down(store.lineage("clicks:age")) == {"people@2"}
    store.registry.promote("people@1", who="ada")
    found = store.lineage("clicks:age")
    assert down(found) == {"people@1", "people@2"}
    assert "people@1  feature service, production, current is people@2" in found.render()


def test_depth_and_direction_bound_what_is_followed(whole: FeatureStore) -> None:
    assert up(whole.lineage("flight_delay", depth=1)) == {
        "weather@1:temp",
        "delays@1:mean_delay",
        "delays@1:flights",
        "context@1:chill",
        "context@1:knock_on",
    }
    assert whole.lineage("flight_delay", up=False).upstream == ()
    assert whole.lineage("flight_delay", down=False).downstream == ()
    with pytest.raises(RegistryError, match="depth=0"):
        whole.lineage("flight_delay", depth=0)


def test_a_star_is_resolved_by_the_files_where_they_are_and_is_honest_where_not(store: FeatureStore) -> None:
    view = FeatureView(
        name="flown",
        entities=[Entity(name="plane")],
        source=SqlSource(
            query="SELECT *, distance / 60 AS per_minute FROM flights JOIN planes USING (plane)",
            sources=[
                FileSource(name="flights", path="data/flights.parquet"),
                FileSource(name="planes", path="data/planes.csv"),
            ],
        ),
        schema=[Field(name="seats", dtype=Float64), Field(name="per_minute", dtype=Float64)],
    )
    store.apply(view)
    blind = store.lineage("flown:seats")
    assert {(edge.source, edge.how[0]) for edge in blind.edges} >= {
        ("source:flights", "unresolved"),
        ("source:planes", "unresolved"),
    }
    assert "planes  source, data/planes.csv, somewhere in it" in blind.render()
    data = Path(store.config.root, "data")
    data.mkdir(exist_ok=True)
    pl.DataFrame({"plane": ["N1"], "event_timestamp": [None], "distance": [1]}).write_parquet(data / "flights.parquet")
    (data / "planes.csv").write_text("plane,seats\nN1,3\n")
    found = store.lineage("flown:seats")
    assert [edge.source for edge in found.edges if edge.how == ("identity",)] == ["source_column:planes.seats"]
    assert "flown@1:per_minute" in down(store.lineage("flights.distance"))
    assert "flown@1:seats" not in down(store.lineage("flights.distance"))


@pytest.mark.parametrize(
    ("reference", "says", "hint"),
    [
        ("wether", "wether", 'Did you mean "weather"?'),
        ("weather:tmp", '"weather@1" has no feature "tmp"', 'Did you mean "temp"?'),
        ("weather@7", "no version 7", "weather@1"),
        ("flights.arr_dela", 'column "arr_dela" of source "flights"', 'Did you mean "arr_delay"?'),
        ("flihgts.arr_delay", "flihgts.arr_delay", 'Did you mean "flights"?'),
        ("flight_delay:temp", "a feature service, which has no features of its own", "featurestore lineage"),
        ("ridge@9", 'There is no "ridge@9"', "ridge@1"),
        ("model:rigde", 'There is no model "rigde"', 'Did you mean "ridge"?'),
        ("airport", "is an entity", "join keys"),
    ],
)
def test_what_is_not_there_is_told_with_what_is(whole: FeatureStore, reference: str, says: str, hint: str) -> None:
    with pytest.raises(ObjectNotFoundError) as told:
        whole.lineage(reference)
    assert says in told.value.message
    assert hint in told.value.hint


def test_a_dataset_and_a_model_may_be_named_with_their_kind(whole: FeatureStore) -> None:
    assert whole.lineage("dataset:q1").root.id == "dataset:q1@1"
    assert whole.lineage("model:ridge@1").root.id == "model:ridge@1"


def test_the_tree_shows_both_directions_what_repeats_once_and_what_is_personal(whole: FeatureStore) -> None:
    assert whole.lineage("delays:mean_delay").render().splitlines() == [
        "delays@1:mean_delay  feature, Float64",
        "  comes from",
        "  ├─ flights.arr_delay  column, aggregated, filter",
        "  └─ rows by flights: carrier (key, group), hour_ended (time, group)",
        "  goes into",
        "  ├─ context@1:knock_on  on-demand feature, Float64",
        "  │  └─ flight_delay@1  feature service",
        "  │     ├─ q1@1  dataset",
        "  │     │  └─ ridge@1  model",
        "  │     ├─ ridge@1  model",
        "  │     └─ watch@1  monitor policy",
        "  └─ flight_delay@1  feature service (see above)",
    ]
    assert "clicks@1:age  feature, Int64 [pii]" in whole.lineage("people").render()
    assert whole.lineage("people").render().startswith("people@1  feature service [pii]\n")


def test_json_has_every_node_with_what_holds_it_and_every_edge(whole: FeatureStore) -> None:
    found = json.loads(whole.lineage("clicks:age").render("json"))
    nodes = {node["id"]: node for node in found["nodes"]}
    assert found["root"] == "feature:clicks@1:age"
    assert nodes[found["root"]]["pii"] is True
    assert nodes[found["root"]]["parent"] in nodes
    assert {"source": "source_column:site.age", "target": found["root"], "how": ["identity"]} in found["edges"]
    assert {end for edge in found["edges"] for end in (edge["source"], edge["target"])} <= nodes.keys()


def test_a_mermaid_chart_is_well_formed_and_its_ids_are_stable(whole: FeatureStore) -> None:
    chart = whole.lineage("flight_delay").render("mermaid")
    lines = chart.splitlines()
    assert lines[0] == "flowchart LR"
    node = re.compile(r'  (?:  )?(n[0-9a-f]{12})\["[^"<>`]+"\](?::::\w+)?')
    edge = re.compile(r"  (n[0-9a-f]{12}) (?:-->|-\.->) (n[0-9a-f]{12})")
    box = re.compile(r'  subgraph n[0-9a-f]{12}\["[^"]+"\]')
    named: set[str] = set()
    depth = 0
    for line in lines[1:]:
        if box.fullmatch(line):
            depth += 1
        elif line == "  end":
            depth -= 1
        elif found := edge.fullmatch(line):
            assert {found[1], found[2]} <= named, line
        elif found := node.fullmatch(line):
            named.add(found[1])
        else:
            assert line.startswith("  classDef "), line
        assert depth in (0, 1)
    assert depth == 0
    assert chart == whole.lineage("flight_delay").render("mermaid")
    (root,) = re.findall(r"(n\w+)\[\"temp\"\]:::root", whole.lineage("weather:temp").render("mermaid"))
    assert f"{root}[" in chart


def test_the_command_prints_every_form_and_tells_what_it_does_not_find(
    whole: FeatureStore, capsys: pytest.CaptureFixture[str]
) -> None:
    repo = ["--repo", str(whole.config.root)]
    capsys.readouterr()
    for form in ("text", "mermaid", "json", "openlineage"):
        assert run(["lineage", "weather:temp", "--format", form, *repo], debug=False) == 0
        assert capsys.readouterr().out == whole.lineage("weather:temp").render(form) + "\n"  # type: ignore[arg-type]
    assert run(["lineage", "weather:temp", "--up", "--depth", "1", *repo], debug=False) == 0
    assert "goes into" not in capsys.readouterr().out
    assert run(["lineage", "weather:tmp", *repo], debug=False) == 1
    assert 'Did you mean "temp"?' in capsys.readouterr().err


def test_only_what_edges_lead_to_is_read(store: FeatureStore) -> None:
    user = Entity(name="user")
    views = [
        FeatureView(
            name=f"view{number}",
            entities=[user],
            source=FileSource(name=f"file{number}", path=f"data/{number}.parquet"),
            schema=[Field(name="x", dtype=Float64)],
        )
        for number in range(40)
    ]
    store.apply([*views, *(FeatureService(name=f"service{one.name[4:]}", features=[one]) for one in views)])
    read: list[Any] = []
    event.listen(store.registry._database.engine, "before_cursor_execute", lambda *call: read.append(call[2]))
    few = store.lineage("view7:x")
    assert down(few) == {"service7@1"}
    statements = len(read)
    store.apply([FeatureService(name="all", features=[views[0]])])
    read.clear()
    store.lineage("view7:x")
    assert len(read) == statements < 20


def test_a_view_of_another_project_is_followed_from_both_sides(whole: FeatureStore, tmp_path: Path) -> None:
    whole.share("weather", with_project="ads")
    (tmp_path / "ads").mkdir()
    registry = f"sqlite:///{whole.config.root}/data/registry.db"
    (tmp_path / "ads" / "featurestore.toml").write_text(f'project = "ads"\nregistry = "{registry}"\n')
    with FeatureStore(tmp_path / "ads") as ads:
        ads.apply(FeatureService(name="bids", features=[SharedView("flights/weather")[["temp"]]]))
        assert up(ads.lineage("bids")) >= {"flights/weather@1:temp", f"{FILES}.temp"}
        (event,) = ads.lineage("bids").to_openlineage()  # the owner tells of the view
        assert event["inputs"] == [{"namespace": "featurestore://flights", "name": "weather@1"}]
    assert "ads/bids@1" in down(whole.lineage("weather:temp"))
    assert "ads/bids@1" not in down(whole.lineage("weather:dewp"))


def test_every_use_of_a_view_leads_to_the_same_view(store: FeatureStore, define: Any) -> None:
    weather = define()["weather"]
    dest = weather.with_join_key_map({"origin": "dest"}, name="dest_weather")
    warmer = OnDemandFeatureView(
        name="warmer",
        inputs=[weather, dest],
        schema=[Field(name="difference", dtype=Float64), Field(name="there", dtype=Float64)],
        expressions={"difference": "dest_weather__temp - temp", "there": "dest_weather__dewp"},
    )
    store.apply(FeatureService(name="pairs", features=[weather, dest[["dewp"]], warmer]))
    assert up(store.lineage("warmer:difference")) == up(store.lineage("weather:temp")) | {"weather@1:temp"}
    assert "weather@1:dewp" in up(store.lineage("warmer:there"))
    assert {"pairs@1", "warmer@1:there"} <= down(store.lineage("weather:dewp"))
    assert "warmer@1:difference" not in down(store.lineage("weather:dewp"))
    events = {one["job"]["name"].partition(".")[2]: one for one in store.lineage("pairs").to_openlineage()}
    assert [one["name"] for one in events["pairs@1"]["inputs"]] == ["weather@1", "warmer@1"]
    fields = events["warmer@1"]["outputs"][0]["facets"]["columnLineage"]["fields"]
    assert [(one["name"], one["field"]) for one in fields["there"]["inputFields"]] == [("weather@1", "dewp")]
    assert [(one["name"], one["field"]) for one in fields["difference"]["inputFields"]] == [("weather@1", "temp")]
