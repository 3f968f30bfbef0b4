"""Another language needs nothing of ours but proto/: a client in JavaScript, with gRPC's own packages for Node.js.

Its first half is the block of docs/serving.md.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from featurestore import Entity, FeatureService, FeatureStore, FeatureView, Field
from featurestore import types as t
from tests.forking import Forked

ROOT = Path(__file__).parent.parent.parent
DOCUMENT = ROOT / "docs" / "serving.md"
ADDRESS = "127.0.0.1:6566"
NOW = datetime.now(UTC).replace(microsecond=123_456)
SCHEMA = {
    "bool": t.Bool,
    "int32": t.Int32,
    "int64": t.Int64,
    "float32": t.Float32,
    "float64": t.Float64,
    "decimal": t.Decimal(6, 2),
    "string": t.String,
    "bytes": t.Bytes,
    "date": t.Date,
    "timestamp": t.Timestamp,
    "array": t.Array(t.Int64),
    "embedding": t.Embedding(2),
    "struct": t.Struct({"a": t.Int64, "b": t.Array(t.String)}),
}
VALUES: dict[str, Any] = {
    "bool": True,
    "int32": -(2**31),
    "int64": 2**63 - 1,
    "float32": 0.5,
    "float64": 1e300,
    "decimal": Decimal("1.50"),
    "string": "é\n☃",
    "bytes": b"\0\xff",
    "date": date(1969, 12, 31),
    "timestamp": datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
    "array": [1, None, -3],
    "embedding": [0.5, 1.5],
    "struct": {"a": None, "b": ["x", None]},
}
PLAIN = ["bool", "int32", "float32", "float64", "decimal", "string", "date", "timestamp"]


def block() -> str:
    """Return the JavaScript of docs/serving.md."""
    found = re.search(r"^```js\n(.*?)^```$", DOCUMENT.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert found is not None
    return found[1]


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server with the service of the document, and with some of all types; one row has passed its TTL."""
    folder = tmp_path_factory.mktemp("shop")
    one = Entity(name="one", join_keys=["k"], dtypes=[t.Int64])
    fields = [Field(name=name, dtype=dtype) for name, dtype in SCHEMA.items()]
    everything = FeatureView(name="everything", entities=[one], schema=fields)
    aging = FeatureView(
        name="aging", entities=[one], schema=[Field(name="old", dtype=t.Float64)], ttl=timedelta(seconds=5)
    )
    with FeatureStore.init(folder, project="shop") as store:
        store.apply(
            [
                *definitions(),
                FeatureService(name="all", features=[everything]),
                FeatureService(name="plain", features=[everything[PLAIN], aging]),
            ]
        )
        # Young enough to be materialized, and soon too old.
        born = datetime.now(UTC)
        store.ingest("aging", [{"k": 1, "old": 1.0, "event_timestamp": born}])
        store.materialize("aging")
        full = {"k": 1, "event_timestamp": NOW, **VALUES}
        store.ingest("everything", [full, {"k": 2, "event_timestamp": NOW, **dict.fromkeys(VALUES)}])
        orders = {"event_timestamp": NOW - timedelta(days=3)}
        store.ingest("spending", [{"user_id": 2, "total": 4.0, "orders": None, "plan": "basic", **orders}])
        for view in ("everything", "spending"):
            store.materialize(view)
    command = [sys.executable, "-m", "featurestore", "serve", "--port", "0", "--repo", str(folder)]
    server = Forked(command, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        said = server.stdout.readline()
        time.sleep(max(0.0, born.timestamp() + 5 - time.time()))
        yield said.split(" at ")[1].split(",")[0]
    finally:
        server.terminate()
        server.communicate(timeout=30)


def definitions() -> list[Any]:
    """Return those of the document."""
    code = re.search(r"^```python\n(.*?)^```$", DOCUMENT.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert code is not None
    names: dict[str, Any] = {}
    exec(code[1], names)
    return [names["churn"]]


def node(program: str, address: str, node_modules: Path) -> str:
    ran = subprocess.run(
        ["node", "-e", program.replace(ADDRESS, address)],
        cwd=ROOT,
        env=os.environ | {"NODE_PATH": str(node_modules)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def test_the_client_of_the_document_prints_what_the_document_says(address: str, node_modules: Path) -> None:
    shown = re.findall(r"^// prints: (.*)$", block(), re.MULTILINE)
    assert shown
    assert node(block(), address, node_modules).splitlines() == shown


@pytest.fixture(scope="module")
def found(address: str, node_modules: Path) -> dict[str, Any]:
    """What the client finds with the document's functions."""
    core = block().partition("async function main()")[0]
    rest = (ROOT / "tests" / "contract" / "node" / "client.js").read_text(encoding="utf-8")
    printed: dict[str, Any] = json.loads(node(core + rest, address, node_modules))
    return printed


def test_the_schema_tells_names_and_types(found: dict[str, Any]) -> None:
    assert found["schema"] == [["everything", [[name, dtype.name] for name, dtype in SCHEMA.items()]]]
    assert (found["service"], found["request_id"]) == ("all@1", "from-node")


def test_values_of_all_types_come_exactly(found: dict[str, Any]) -> None:
    row = found["rows"][0]
    assert row["status"] == "ROW_STATUS_PRESENT"
    assert row["nulls"] == ""
    assert row["event_timestamp"] == str(t.microseconds(NOW))
    assert (row["bools"], row["doubles"], row["floats"]) == ([True], [1e300], [0.5, 0.5, 1.5])
    assert row["int32s"] == [-(2**31), -1]
    assert row["int64s"] == [str(2**63 - 1), "-1"]
    assert row["strings"] == ["1.50", "é\n☃"]
    assert row["blobs"] == ["AP8="]
    array, struct = row["nested"]
    assert (array["int64s"], array["nulls"]) == (["1", "0", "-3"], "Ag==")
    assert (struct["int64s"], struct["nulls"]) == (["0"], "AQ==")
    assert (struct["nested"][0]["strings"], struct["nested"][0]["nulls"]) == (["x", ""], "Ag==")


def test_nulls_and_statuses_come_as_they_are(found: dict[str, Any]) -> None:
    _, null, third, absent = found["rows"]
    assert null["status"] == "ROW_STATUS_PRESENT"
    assert null["nulls"] == "/x8="  # 13 bits
    assert [third["status"], absent["status"]] == ["ROW_STATUS_NOT_FOUND"] * 2
    whole = [True, -(2**31), 0.5, 1e300, "1.50", "é\n☃", -1, -1]
    nothing = [None] * len(PLAIN)
    assert found["values"] == [whole, nothing, nothing, nothing, [None], [None], [None], [None]]
    assert found["aging"][0] == "ROW_STATUS_OUTSIDE_MAX_AGE"
    assert set(found["aging"][1:]) == {"ROW_STATUS_NOT_FOUND"}


def test_a_refused_request_says_what_and_which_field(found: dict[str, Any]) -> None:
    unknown, wrong = found["unknown"], found["wrong"]
    assert unknown["code"] == 5
    assert unknown["details"] == 'There is no feature service "al".\nHint: Did you mean "all"?'
    assert wrong["code"] == 3
    assert "google.rpc.BadRequest" in wrong["status"]
    assert "columns[k]" in wrong["status"]


def test_a_stream_names_each_answer_by_its_number(found: dict[str, Any]) -> None:
    stream = found["stream"]
    assert set(stream) == {"7", "8", str(2**64 - 1)}
    assert stream["7"] == found["rows"][0]
    assert stream[str(2**64 - 1)]["status"] == "ROW_STATUS_NOT_FOUND"
    assert stream["8"]["code"] == 5
    assert "none" in stream["8"]["message"]


def test_the_standard_health_check_answers(found: dict[str, Any]) -> None:
    assert found["health"] == [8, 1]


def test_what_is_pushed_is_served(found: dict[str, Any]) -> None:
    assert found["push"]["accepted"] == 1
    assert found["push"]["row"]["status"] == "ROW_STATUS_PRESENT"
    assert found["push"]["row"]["int64s"][0] == "9007199254740993"
