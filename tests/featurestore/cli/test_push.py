"""Push from the shell."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from featurestore import FeatureStore
from tests import forking

AT = "2024-01-01T00:00:00Z"


@pytest.fixture
def applied(command: Any) -> Any:
    assert command("apply").code == 0
    return command


def lines(path: Path, *rows: object) -> Path:
    path.write_text("".join(f"{one if isinstance(one, str) else json.dumps(one)}\n" for one in rows))
    return path


def look(folder: Path, *users: int) -> list[Any]:
    with FeatureStore(folder) as store:
        found = store.get_online_features("scoring", [{"user_id": one} for one in users]).to_dict()
        values: list[Any] = found["orders"]
        return values


def recent(user: int, **values: object) -> dict[str, object]:
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    return {"user_id": user, "event_timestamp": now, **values}


def test_lines_of_json_are_served_and_each_bad_one_is_told(applied: Any, tmp_path: Path) -> None:
    file = lines(
        tmp_path / "rows.jsonl",
        recent(1, total=1.5, orders=3),
        "",
        recent(2, total=-1),
        recent(3, totl=1),
        "not json",
        recent(4, orders="many"),
        recent(5, orders=2**63),
        {"user_id": 6, "event_timestamp": "2024-01-01T00:00:00"},
        "[1]",
        recent(7, orders=None),
    )
    said = applied("push", "spending", str(file))
    assert said.code == 1
    assert "spending@1: 2 rows pushed, 7 rejected" in said.out
    told = dict(line.split(": ", 1) for line in said.err.splitlines())
    assert list(told) == [f"row {number}" for number in (4, 5, 6, 7, 8, 9, 3)]
    assert told["row 3"] == "total is under 0"
    assert told["row 4"] == 'The view has no "totl". Did you mean "total"?'
    assert told["row 5"] == "The line is not JSON"
    assert told["row 7"] == '"orders" is not Int64'
    assert "names no time zone" in told["row 8"]
    assert look(applied.folder, 1, 2, 7) == [3, None, None]


def test_a_csv_file_and_a_parquet_file_are_pushed_with_their_declared_types(applied: Any, tmp_path: Path) -> None:
    at = recent(1)["event_timestamp"]
    (tmp_path / "rows.csv").write_text(f"user_id,total,orders,event_timestamp\n1,1.5,3,{at}\n2,x,4,{at}\n")
    said = applied("push", "spending", str(tmp_path / "rows.csv"))
    assert (said.code, "1 rows pushed, 1 rejected" in said.out) == (1, True)
    assert "row 2: total" in said.err
    instants = pa.array([time.time_ns() // 1000], pa.timestamp("us", "UTC"))
    table = pa.table({"user_id": [8], "total": [1.0], "orders": [9], "event_timestamp": instants})
    pq.write_table(table, tmp_path / "rows.parquet")
    said = applied("push", "spending", str(tmp_path / "rows.parquet"))
    assert (said.code, said.err) == (0, "")
    assert look(applied.folder, 1, 2, 8) == [3, None, 9]


def test_lines_of_standard_input_are_served_as_they_come(applied: Any) -> None:
    program = [sys.executable, "-m", "featurestore", "push", "spending", "-", "--repo", str(applied.folder)]
    with forking.Forked(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        for number in (1, 2):
            process.stdin.write(json.dumps(recent(number, orders=number)) + "\n")
            process.stdin.flush()
            wait_for(lambda user=number: look(applied.folder, user) == [user])  # type: ignore[misc]
        process.stdin.write(json.dumps(recent(3, orders=3)))  # the last line needs no end
        process.stdin.close()
        assert process.wait(30) == 0
    assert look(applied.folder, 3) == [3]


def test_what_a_killed_command_had_pushed_waits_and_is_shown_and_brought_in(applied: Any) -> None:
    program = [sys.executable, "-m", "featurestore", "push", "spending", "-", "--repo", str(applied.folder)]
    with forking.Forked(program, stdin=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        process.stdin.write(json.dumps(recent(1, orders=1)) + "\n")
        process.stdin.flush()
        wait_for(lambda: look(applied.folder, 1) == [1])
        os.kill(process.pid, signal.SIGKILL)
    assert "1 rows wait for the offline store since" in applied("status").out
    said = applied("push", "--flush")
    assert (said.code, "1 pushed rows brought into the offline store, in 1 load(s)" in said.out) == (0, True)
    assert "rows wait" not in applied("status").out
    said = applied("push", "--flush")
    assert (said.code, said.out) == (0, "No pushed rows wait for the offline store.\n")
    assert "push-" in applied("loads", "spending").out


def test_a_log_that_is_damaged_is_a_line_of_the_status_beside_all_else(applied: Any) -> None:
    with FeatureStore(applied.folder) as store:
        store.push("spending", [{"user_id": 1, "event_timestamp": datetime.now(UTC)}])
        (file,) = store.config.path(store.config.push.path).glob("*.wal")
        whole = file.read_bytes()
        file.write_bytes(whole[:-1])
    said = applied("status")
    assert said.code == 0
    assert f"  pushed   The push log {file} is damaged at byte 8. " in said.out
    assert "view     spending@1" in said.out
    found = json.loads(applied("status", "--format", "json").out)
    assert (found["push"]["rows"], "is damaged at byte 8" in found["push"]["damage"]) == (None, True)
    assert [one["id"] for one in found["views"]] == ["spending@1"]
    said = applied("push", "--flush")
    assert (said.code, "is damaged at byte 8" in said.err) == (1, True)
    file.write_bytes(whole)
    assert "1 pushed rows brought" in applied("push", "--flush").out


def wait_for(so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not so():
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), "nothing to push"),
        (("spending",), "needs a view and a file"),
        (("spendin", "rows.jsonl"), 'no feature view "spendin"'),
        (("spending", "none.jsonl"), "none.jsonl cannot be read"),
        (("spending", "none.txt"), "no file"),
        (("other/spending", "none.jsonl"), 'belongs to project "other"'),
    ],
)
def test_a_wrong_push_says_what_is_wrong(applied: Any, arguments: tuple[str, ...], says: str) -> None:
    said = applied("push", *arguments)
    assert (said.code, says in said.err) == (1, True), said.err
