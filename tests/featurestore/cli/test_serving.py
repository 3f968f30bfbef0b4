"""`featurestore get`: values of any type on the command line."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal as Number
from pathlib import Path

import pytest

from featurestore import Entity, FeatureService, FeatureStore, FeatureView, Field, OnDemandFeatureView
from featurestore.cli.app import run
from featurestore.types import Array, Bool, Date, Decimal, Embedding, Float64, Int64, String, Struct

REQUEST = {
    "money": Decimal(6, 2),
    "tags": Array(String),
    "vector": Embedding(2),
    "record": Struct({"n": Int64, "on": Date, "ok": Bool, "prices": Array(Decimal(4, 1))}),
}
ROW = {
    "money": "1.5",
    "tags": '["a", null]',
    "vector": "[1, 2.5]",
    "record": '{"n": 9223372036854775807, "on": "2024-01-01", "ok": true, "prices": [1.1, null]}',
}


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    view = FeatureView(
        name="view",
        entities=[Entity(name="thing", join_keys=["id"], dtypes=[Float64])],
        schema=[Field(name="list", dtype=Array(Int64))],
    )
    asked = OnDemandFeatureView(
        name="asked",
        inputs=[view],
        request=[Field(name=name, dtype=dtype) for name, dtype in REQUEST.items()],
        schema=[Field(name=f"{name}_back", dtype=dtype) for name, dtype in REQUEST.items()],
        expressions={f"{name}_back": name for name in REQUEST},
    )
    with FeatureStore.init(tmp_path / "repo", project="shop") as store:
        store.apply([FeatureService(name="svc", features=[view, asked])])
        store.ingest("view", [{"id": 0.0, "list": [1, None], "event_timestamp": datetime(2024, 1, 1, tzinfo=UTC)}])
        store.materialize("view")
    return tmp_path / "repo"


def get(repo: Path, **changes: str) -> int:
    values = [f"{name}={value}" for name, value in ({"id": "-0"} | ROW | changes).items()]
    return run(["get", "svc", *values, "-C", str(repo), "--format", "json"], debug=False)


@pytest.mark.parametrize("value", ["[red]alert[/red] now", "[/oops]", ":smile: [link=http://x]y"])
def test_a_value_in_square_brackets_is_shown_as_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], value: str
) -> None:
    view = FeatureView(name="view", entities=[Entity(name="thing")], schema=[Field(name="text", dtype=String)])
    with FeatureStore.init(tmp_path / "repo", project="shop") as store:
        store.apply([FeatureService(name="svc", features=[view])])
        store.ingest("view", [{"thing": "a", "text": value, "event_timestamp": datetime(2024, 1, 1, tzinfo=UTC)}])
        store.materialize("view")
    assert run(["get", "svc", "thing=a", "-C", str(tmp_path / "repo")], debug=False) == 0
    assert value in capsys.readouterr().out


def test_a_request_field_with_a_default_may_be_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = OnDemandFeatureView(
        name="asked",
        request=[Field(name="hour", dtype=Int64, default=7)],
        schema=[Field(name="next_hour", dtype=Int64)],
        expressions={"next_hour": "hour + 1"},
    )
    view = FeatureView(name="view", entities=[Entity(name="thing")], schema=[Field(name="size", dtype=Int64)])
    with FeatureStore.init(tmp_path / "repo", project="shop") as store:
        store.apply([FeatureService(name="svc", features=[view, asked])])
    assert run(["get", "svc", "thing=a", "-C", str(tmp_path / "repo"), "--format", "json"], debug=False) == 0
    assert json.loads(capsys.readouterr().out)["views"]["asked"]["features"] == {"next_hour": 8}


def test_values_are_given_as_json_and_come_back(repo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert get(repo) == 0
    views = json.loads(capsys.readouterr().out)["views"]
    assert views["view"]["features"] == {"list": [1, None]}
    assert views["asked"]["features"] == {
        "money_back": str(Number("1.50")),
        "tags_back": ["a", None],
        "vector_back": [1.0, 2.5],
        "record_back": {"n": 2**63 - 1, "on": "2024-01-01", "ok": True, "prices": ["1.1", None]},
    }


@pytest.mark.parametrize(
    "changes",
    [
        {"money": "1.555"},
        {"money": "much"},
        {"tags": "a,b"},
        {"tags": '{"a": 1}'},
        {"tags": '[["a"]]'},
        {"vector": '["x", 1]'},
        {"record": '{"m": 1}'},
        {"record": '{"n": 1.5}'},
        {"record": "[1]"},
    ],
    ids=repr,
)
def test_a_value_of_another_form_is_said_in_one_line(
    repo: Path, capsys: pytest.CaptureFixture[str], changes: dict[str, str]
) -> None:
    assert get(repo, **changes) == 1
    ((name, value),) = changes.items()
    assert f'{name}="' in capsys.readouterr().err
    assert value


def test_a_value_that_is_null_and_one_whose_row_is_not_there_are_told_apart(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    schema = [Field(name="size", dtype=Int64), Field(name="text", dtype=String)]
    view = FeatureView(name="view", entities=[Entity(name="thing")], schema=schema)
    with FeatureStore.init(tmp_path / "repo", project="shop") as store:
        store.apply([FeatureService(name="svc", features=[view])])
        instant = datetime(2024, 1, 1, tzinfo=UTC)
        store.ingest("view", [{"thing": "a", "text": "x", "size": None, "event_timestamp": instant}])
        store.materialize("view")
    said = {}
    for thing in ("a", "b"):
        asked = ["get", "svc", f"thing={thing}", "-C", str(tmp_path / "repo"), "--format", "json"]
        assert run(asked, debug=False) == 0
        said[thing] = json.loads(capsys.readouterr().out)["views"]["view"]
    assert (said["a"]["status"], said["b"]["status"]) == ("PRESENT", "NOT_FOUND")
    assert said["a"]["feature_statuses"] == {"size": "NULL_VALUE", "text": "PRESENT"}
    assert said["b"]["feature_statuses"] == {"size": "NOT_FOUND", "text": "NOT_FOUND"}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--server", "127.0.0.1:1"], "No feature server answers at 127.0.0.1:1"),
        (["--server", "127.0.0.1:1", "--server", "127.0.0.1:2"], "answers at 127.0.0.1:1, 127.0.0.1:2"),
        (["--server", "nowhere"], "'nowhere' is no address"),
        (["--server", "127.0.0.1:1", "--ca", "no-such.pem"], "no-such.pem cannot be read"),
        (["--server", "127.0.0.1:1", "--key", "no-such.pem"], "go together"),
        (["--server", "features.example:1", "--token-file", "no-such"], "cross the network"),
        (["--server", "127.0.0.1:1", "--token-file", "no-such"], "no-such cannot be read"),
    ],
)
def test_a_server_that_cannot_be_asked_is_said_in_one_line(
    capsys: pytest.CaptureFixture[str], options: list[str], said: str
) -> None:
    assert run(["get", "svc", "id=1", *options], debug=False) == 1
    assert said in capsys.readouterr().err
