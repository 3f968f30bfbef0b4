"""The contract by buf: well made, and never broken for those who have the last one."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
PROTO = ROOT / "proto"
#: The last contract that others have; `make proto-release` renews it, and says what that means.
RELEASED = Path(__file__).parent / "released.binpb"

Buf = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def buf(node_modules: Path) -> Buf:
    def run(*arguments: object) -> subprocess.CompletedProcess[str]:
        command = [node_modules / ".bin" / "buf", *map(str, arguments)]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    return run


def test_the_contract_is_made_as_contracts_should_be(buf: Buf) -> None:
    ran = buf("lint", PROTO)
    assert (ran.stdout + ran.stderr, ran.returncode) == ("", 0)


def test_the_contract_does_not_break_those_who_have_the_last_one(buf: Buf) -> None:
    ran = buf("breaking", PROTO, "--against", RELEASED)
    assert (ran.stdout + ran.stderr, ran.returncode) == ("", 0)


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("  uint32 row_count = 5;\n", "", '"row_count"'),
        ("  string request_id = 3;", "  string request_id = 30;", '"request_id"'),
        ("  bytes nulls = 7;", "  string nulls = 7;", 'type from "bytes" to "string"'),
        ("  bytes nulls = 7;", "  repeated bytes nulls = 7;", "cardinality"),
        ("  uint32 row_count = 5;", "  uint32 rows_counted = 5;", 'name from "row_count" to "rows_counted"'),
        (
            "  rpc GetServiceSchema(GetServiceSchemaRequest) returns (GetServiceSchemaResponse);\n",
            "",
            "GetServiceSchema",
        ),
        ("  ROW_STATUS_OUTSIDE_MAX_AGE = 3;", "  ROW_STATUS_TOO_OLD = 3;", "ROW_STATUS_OUTSIDE_MAX_AGE"),
        ("package featurestore.v1;", "package featurestore.v2;", "package"),
    ],
)
def test_a_contract_that_breaks_others_is_refused(buf: Buf, tmp_path: Path, before: str, after: str, said: str) -> None:
    broken = tmp_path / "proto"
    shutil.copytree(PROTO, broken)
    file = broken / "featurestore" / "v1" / "serving.proto"
    text = file.read_text()
    assert before in text
    file.write_text(text.replace(before, after, 1))
    ran = buf("breaking", broken, "--against", RELEASED)
    assert ran.returncode == 100
    assert said in ran.stdout


def test_a_contract_that_says_more_is_taken(buf: Buf, tmp_path: Path) -> None:
    wider = tmp_path / "proto"
    shutil.copytree(PROTO, wider)
    file = wider / "featurestore" / "v1" / "serving.proto"
    field = "  string routing_key = 4;\n"
    assert field in file.read_text()
    file.write_text(file.read_text().replace(field, field + "  string purpose = 5;\n"))
    assert buf("breaking", wider, "--against", RELEASED).returncode == 0
