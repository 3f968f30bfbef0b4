"""Commands on features at an instant: what they write, and what they say."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow.parquet as pq
import pytest

from featurestore import FeatureStore

NOON = datetime(2024, 1, 1, 12, tzinfo=UTC)


@pytest.fixture
def shop(command: Any) -> Any:
    assert command("apply").code == 0
    with FeatureStore(command.folder) as store:
        store.ingest(
            "spending",
            [
                {"user_id": user, "total": 10.0 * user, "orders": user, "event_timestamp": NOON + timedelta(hours=user)}
                for user in (1, 2, 3)
            ],
        )
    (command.folder / "rows.csv").write_text(
        "user_id,event_timestamp,label\n1,2024-01-01T14:00:00Z,yes\n2,2024-01-01T13:00:00Z,no\n"
    )
    return command


def test_rows_of_a_file_are_joined_and_written(shop: Any, tmp_path: Path) -> None:
    out = tmp_path / "new" / "out.parquet"
    said = shop("get-historical", "scoring", "--entities", str(shop.folder / "rows.csv"), "--out", str(out))
    assert (said.code, said.err) == (0, "")
    assert said.out == f"2 rows of scoring@1 in {out}\n"
    assert pl.read_parquet(out).select("label", "total").rows() == [("yes", 10.0), ("no", None)]


def test_every_option_reaches_the_join(shop: Any, tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    rows = str(shop.folder / "rows.csv")
    flags = ["--full-feature-names", "--with-status", "--as-of", "2024-01-01T00:00:00Z", "--explain"]
    said = shop("get-historical", "scoring", "--entities", rows, "--out", str(out), *flags)
    assert said.code == 0
    assert "as of 2024-01-01" in said.out
    lines = out.read_text().splitlines()
    names = "user_id event_timestamp label spending__total spending__orders spending__status spending__event_timestamp"
    assert lines[0].replace('"', "").split(",") == names.split()
    assert lines[1].endswith('yes",,,2,')
    known = shop(
        "get-historical", "scoring", "--entities", rows, "--out", str(out), "--known-at", "row", "--format", "json"
    )
    assert json.loads(known.out) == {"service": "scoring@1", "rows": 2, "path": str(out), "notes": []}
    assert out.read_text().splitlines()[1].endswith(",,")  # nothing was ingested by then


def test_a_range_of_time_becomes_a_delta_table(shop: Any, tmp_path: Path) -> None:
    hours = ["--start", "2024-01-01T13:00:00Z", "--end", "2024-01-01T15:00:00Z"]
    said = shop("get-historical", "scoring", *hours, "--out", str(tmp_path / "table"))
    assert said.out == f"2 rows of scoring@1 in {tmp_path / 'table'}\n"
    assert sorted(pl.read_delta(str(tmp_path / "table"))["total"].to_list()) == [10.0, 20.0]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "no entity rows"),
        (["--entities", "gone.csv"], "there is no file gone.csv"),
        (["--entities", "a.csv", "--sql", "SELECT 1"], "given twice"),
        (["--sql", "SELECT 1 FROM nothing"], 'names the table "nothing"'),
        (["--sql", "FROM nothing"], '"FROM nothing", is none'),
        (["--sql", "SELEC 1"], '"SELEC 1", is none.\nHint: It begins with SELECT'),
        (["--start", "2024-01-01T00:00:00Z"], "no end."),
        (["--start", "2024-01-01", "--end", "soon"], '--end is "soon"'),
        (["--start", "2024-01-01", "--end", "2024-01-02T00:00:00"], "--end is 2024-01-02T00:00:00, which names"),
        (["--entities", "a.csv", "--start", "2024-01-01"], "given twice"),
        (["--known-at", "column"], "known-at"),
    ],
)
def test_what_cannot_be_asked_is_said_in_a_sentence(shop: Any, arguments: list[str], says: str, tmp_path: Path) -> None:
    said = shop("get-historical", "scoring", *arguments, "--out", str(tmp_path / "out.parquet"))
    assert said.code == 1
    assert says in said.err
    assert "Traceback" not in said.err
    assert not (tmp_path / "out.parquet").exists()


@pytest.mark.parametrize("arguments", [[], ["--end", "2024-01-02"], ["--entities", "a.csv", "--start", "2024-01-01"]])
def test_the_hint_names_options_and_not_arguments_of_python(shop: Any, arguments: list[str]) -> None:
    said = shop("get-historical", "scoring", *arguments, "--out", "out.parquet")
    assert said.err.endswith("Hint: Pass --entities FILE, or --sql QUERY, or both --start and --end.\n")


def test_a_date_is_its_midnight_in_utc(shop: Any, tmp_path: Path) -> None:
    days = ["--start", "2024-01-01", "--end", "2024-01-02", "--as-of", "9000-01-01"]
    said = shop("get-historical", "scoring", *days, "--out", str(tmp_path / "out.parquet"))
    assert said.out.startswith("3 rows of scoring@1"), said.err


def test_a_file_of_another_kind_is_refused_before_anything_is_read(shop: Any, tmp_path: Path) -> None:
    out = tmp_path / "out.xlsx"
    said = shop("get-historical", "scoring", "--entities", "no.csv", "--out", str(out))
    assert said.code == 1
    assert f"{out} ends in neither .parquet nor .csv" in said.err
    assert "a folder" in said.err
    assert not out.exists()
    hours = ["--start", "2024-01-01T13:00:00Z", "--end", "2024-01-01T15:00:00Z"]
    assert shop("get-historical", "scoring", *hours, "--out", str(tmp_path / "out.delta")).code == 0
    assert (tmp_path / "out.delta" / "_delta_log").exists()


def test_a_batch_with_instants_of_its_own_is_told_that_they_do_not_count(shop: Any, tmp_path: Path) -> None:
    rows = str(shop.folder / "rows.csv")
    said = shop("score", "scoring", "--entities", rows, "--out", str(tmp_path / "out.parquet"), "--no-log")
    assert said.code == 0
    assert "note: all rows are of one instant, " in said.out
    assert 'column "event_timestamp" does not count' in said.out
    assert "get-historical" in said.out


def test_a_type_that_a_cell_cannot_hold_is_said(shop: Any, tmp_path: Path) -> None:
    shop.define(
        lambda text: text.replace("dtype=Int64),\n    ]", "dtype=Array(Int64)),\n    ]").replace(
            "import Float64,", "import Array, Float64,"
        )
    )
    assert shop("apply", "--allow-breaking").code == 0
    out = tmp_path / "out.csv"
    said = shop("get-historical", "scoring", "--entities", str(shop.folder / "rows.csv"), "--out", str(out))
    assert said.code == 1
    assert "cannot be written" in said.err
    assert ".parquet" in said.err
    assert list(tmp_path.glob("*out.csv*")) == []


def test_a_batch_is_scored_and_logged(shop: Any, tmp_path: Path) -> None:
    (shop.folder / "keys.csv").write_text("user_id\n1\n9\n")
    out = tmp_path / "scores.parquet"
    keys = ["--entities", str(shop.folder / "keys.csv"), "--out", str(out)]
    said = shop("score", "scoring", *keys, "--at", "2024-01-01T14:00:00Z", "--request-id", "nightly")
    assert (said.code, said.err) == (0, "")
    assert said.out.startswith(f"2 rows of scoring@1 at 2024-01-01 14:00:00 UTC in {out}; 2 logged as nightly\n")
    assert pl.read_parquet(out).select("user_id", "total", "spending__status").rows() == [(1, 10.0, 1), (9, None, 2)]
    (file,) = (shop.folder / "data" / "log" / "scoring").glob("*.parquet")
    assert pq.read_table(file)["request_id"].to_pylist() == ["nightly"] * 2
    again = shop("score", "scoring", *keys[:3], str(tmp_path / "scores.csv"), "--no-log", "--format", "json")
    assert json.loads(again.out)["logged"] == 0
    assert (tmp_path / "scores.csv").read_text().count("\n") == 3
    assert len(list(file.parent.glob("*.parquet"))) == 1


def test_a_batch_goes_into_one_file(shop: Any, tmp_path: Path) -> None:
    said = shop("score", "scoring", "--entities", str(shop.folder / "rows.csv"), "--out", str(tmp_path))
    assert said.code == 1
    assert "ends in neither .parquet nor .csv" in said.err


def test_a_hint_names_no_column_of_our_own(shop: Any, tmp_path: Path) -> None:
    (shop.folder / "keys.csv").write_text("shop\n1\n")
    said = shop("score", "scoring", "--entities", str(shop.folder / "keys.csv"), "--out", str(tmp_path / "out.csv"))
    assert said.code == 1
    assert 'no column "user_id"' in said.err
    assert "scored_at__" not in said.err
