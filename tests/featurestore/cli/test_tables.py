"""loads, compact, restore and gc on the command line."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def shop(command: Any) -> Any:
    assert command("apply").code == 0
    for number in range(2):
        rows = f"user_id,total,orders,event_timestamp\n1,{number},1,2024-01-0{number + 1}T00:00:00Z\n"
        (command.folder / f"{number}.csv").write_text(rows)
        done = command("ingest", "spending", str(command.folder / f"{number}.csv"), "--load-id", f"day-{number}")
        assert done.code == 0, done.err
    return command


def setting(shop: Any, line: str) -> None:
    file = shop.folder / "featurestore.toml"
    file.write_text(f"{file.read_text()}\n[retention]\n{line}\n")


def test_loads_are_listed_and_restore_takes_one_of_them(shop: Any) -> None:
    listed = shop("loads", "spending").out.splitlines()
    assert [line.split()[1] for line in listed] == ["day-0", "day-1"]
    done = shop("restore", "spending", "--to", "day-0", "--reason", "a bug")
    assert done.code == 0
    assert "1 rows, 2 before, 1 load(s) withdrawn" in done.out
    assert "withdrawn  spending  day-1" in done.out
    assert ", withdrawn " in shop("loads", "spending").out.splitlines()[1]
    again = shop("restore", "spending", "--to", "day-1", "--format", "json")
    assert json.loads(again.out)["reinstated"] == ["day-1"]
    assert [one["withdrawn_at"] for one in json.loads(shop("loads", "spending", "--format", "json").out)] == [None] * 2


def test_a_restore_to_what_never_was_is_an_error_in_a_sentence(shop: Any) -> None:
    refused = shop("restore", "spending", "--to", "day-9")
    assert refused.code == 1
    assert 'Feature view "spending" has no load "day-9".' in refused.err
    assert "featurestore loads spending" in refused.err


def test_compaction_of_all_views_or_of_one(shop: Any) -> None:
    assert "2 rows sorted, 2 files of" in shop("compact").out
    assert "nothing to do" in shop("compact", "spending").out
    assert "compact" in shop("audit", "--action", "compact").out


def test_gc_says_what_would_go_and_then_removes_it(shop: Any) -> None:
    setting(shop, 'history = "0 seconds"')
    shop("compact")
    said = shop("gc", "--dry-run").out  # somebody may be reading them still
    assert "too young replaced" in said
    assert "bytes, written within the last hour" in said
    assert said.endswith("\n0 bytes would go.\n")
    left = next((shop.folder / "data" / "offline").glob("spending-*")) / "part-dead.parquet"
    left.write_bytes(b"half")
    os.utime(left, (1_000, 1_000))
    said = shop("gc", "--dry-run").out
    assert "would go  leftover" in said
    assert "4 bytes would go." in said
    assert left.exists()
    found = json.loads(shop("gc", "--format", "json").out)
    assert [(one["kind"], len(one["paths"])) for one in found["young"]] == [("replaced", 2)]
    assert [Path(one["paths"][0]) for one in found["removed"]] == [left]
    assert not left.exists()


def test_a_duration_that_is_none_is_an_error_that_says_how_to_write_it(shop: Any) -> None:
    setting(shop, 'log = "some weeks"')
    refused = shop("gc")
    assert refused.code == 1
    assert 'setting "retention.log": \'some weeks\' is no duration: write "90 days"' in refused.err


def test_status_shows_bytes(shop: Any) -> None:
    said = shop("status").out
    assert "on disk  offline" in said
    assert "history" in said
    assert json.loads(shop("status", "--format", "json").out)["views"][0]["bytes"]["table"] > 0


def test_status_shows_what_versions_that_are_not_live_still_hold(shop: Any) -> None:
    assert json.loads(shop("status", "--format", "json").out)["not_live"] == []
    shop.define(lambda text: text.replace("dtype=Float64", "dtype=Float64, le=1000"))
    assert shop("apply").code == 0
    (old,) = json.loads(shop("status", "--format", "json").out)["not_live"]
    assert (old["id"], old["live"], old["rows"]) == ("spending@1", False, 2)
    assert old["bytes"]["table"] > 0
    said = shop("status").out
    assert "  not live spending@1 " in said
    assert "kept until [retention] retired_versions says how long; then: featurestore gc" in said
    setting(shop, 'retired_versions = "36 hours"')
    assert "gc removes what was not loaded for 1.5 days" in shop("status").out
    settings = shop.folder / "featurestore.toml"
    settings.write_text(settings.read_text().replace("36 hours", "0 seconds"))
    assert shop("gc").code == 0
    assert json.loads(shop("status", "--format", "json").out)["not_live"] == []


def test_little_room_on_the_disk_is_said_before_anything_is_written(shop: Any, tmp_path: Path) -> None:
    assert json.loads(shop("status", "--format", "json").out)["low_disk"] is None
    settings = shop.folder / "featurestore.toml"
    settings.write_text(settings.read_text().replace("[offline]", "[offline]\nlow_disk_mb = 1_000_000_000", 1))
    assert "  warning: the disk is nearly full: " in shop("status").out
    hours = ["--start", "2024-01-01", "--end", "2024-01-02"]
    for command in (
        ("compact",),
        ("get-historical", "scoring", *hours, "--out", str(tmp_path / "new" / "rows.parquet")),
        ("dataset", "create", "rows", "--service", "scoring", *hours),
    ):
        said = shop(*command)
        assert (said.code, said.err.startswith("Warning: the disk is nearly full: ")) == (0, True), said.err


def test_the_reason_of_a_load_is_shown(shop: Any) -> None:
    rows = str(shop.folder / "day-1.csv")
    Path(rows).write_text("user_id,total,orders,event_timestamp\n1,5.0,1,2024-01-01T15:00:00Z\n")
    assert shop("ingest", "spending", rows, "--reason", "ticket 7").code == 0
    assert shop("loads", "spending").out.splitlines()[-1].endswith(": ticket 7")
    assert [one["reason"] for one in json.loads(shop("loads", "spending", "--format", "json").out)] == [
        "",
        "",
        "ticket 7",
    ]
    (entry, *_) = json.loads(shop("audit", "--action", "ingest", "--format", "json").out)[-1:]
    assert entry["details"]["reason"] == "ticket 7"


def test_a_view_without_loads_says_how_to_load(command: Any) -> None:
    command("apply")
    assert "featurestore ingest spending" in command("loads", "spending").out


def test_the_help_of_gc_says_what_decides(command: Any) -> None:
    assert "than the settings of retention say" in " ".join(command("gc", "--help").out.replace("│", "").split())
