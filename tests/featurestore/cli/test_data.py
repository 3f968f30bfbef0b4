"""Commands on rows: a file is read by the view's types, and what cannot be read is said in one line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from featurestore import Entity, FeatureService, FeatureStore, FeatureView, Field, FileSource
from featurestore.cli.app import run
from featurestore.types import Float64
from tests.featurestore.cli.conftest import CommandLine

CSV = "shop,sales,event_timestamp\n007,1.5,2013-01-01T07:00:00Z\n008,many,2013-01-01T07:00:00Z\n"


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    view = FeatureView(name="sales", entities=[Entity(name="shop")], schema=[Field(name="sales", dtype=Float64)])
    with FeatureStore.init(tmp_path / "repo", project="shop") as store:
        store.apply([view, FeatureService(name="forecast", features=[view])])
    return tmp_path / "repo"


def test_a_file_is_read_by_the_views_types_and_its_bad_rows_are_kept_aside(
    repo: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (repo / "a.csv").write_text(CSV)
    assert run(["ingest", "sales", str(repo / "a.csv"), "-C", str(repo)], debug=False) == 0
    said = capsys.readouterr()
    assert "1 rows written, 1 quarantined (1 sales is not Float64)" in said.out
    assert said.err == ""  # a bar is for terminals
    assert run(["quarantine", "sales", "-C", str(repo)], debug=False) == 0
    said = capsys.readouterr()
    assert "as it came: sales=many" in said.out
    assert "unreadable__" not in said.out
    assert "created_timestamp" not in said.out


def test_what_is_kept_aside_is_shown_without_values_of_personal_fields(command: Any) -> None:
    assert command("apply").code == 0
    file = command.folder / "rows.csv"
    instant = "2024-01-01T06:00:00Z"
    file.write_text(f"user_id,total,orders,event_timestamp\n1,-77.5,3,{instant}\n2,secret,3,{instant}\n")
    assert command("ingest", "spending", str(file)).code == 0
    for form in ("text", "json"):
        said = command("quarantine", "spending", "--format", form).out
        assert "77.5" not in said
        assert "secret" not in said
        assert "(pii)" in said
    assert "total=(pii)" in command("quarantine", "spending").out
    out = command.folder / "out.csv"
    assert command("quarantine", "spending", "--out", str(out)).code == 0
    assert "77.5" in out.read_text()


def test_a_view_that_cannot_be_loaded_does_not_keep_the_others_from_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "good.csv").write_text(CSV)
    views = [
        FeatureView(
            name=name,
            entities=[Entity(name="shop")],
            schema=[Field(name="sales", dtype=Float64)],
            source=FileSource(path=f"{name}.csv"),
        )
        for name in ("bad", "good")
    ]
    with FeatureStore.init(tmp_path, project="shop") as store:
        store.apply(views)
    assert run(["ingest", "-C", str(tmp_path)], debug=False) == 1
    said = capsys.readouterr()
    assert "good: 1 rows written" in said.out
    assert 'No file matches "bad.csv"' in said.err
    assert "1 of 2 views could not be loaded: bad." in said.err


@pytest.mark.parametrize(
    "content",
    [b"shop,\xff,event_timestamp\n1,2,2013-01-01T07:00:00Z\n", b"shop,event_timestamp\n\xff,2013-01-01T07:00:00Z\n"],
    ids=["name", "value"],
)
def test_entity_rows_that_are_not_utf8_are_refused(
    repo: Path, capsys: pytest.CaptureFixture[str], content: bytes
) -> None:
    (repo / "rows.csv").write_bytes(content)
    arguments = ["dataset", "create", "d", "--service", "forecast", "--entities", str(repo / "rows.csv")]
    assert run([*arguments, "-C", str(repo)], debug=False) == 1
    said = capsys.readouterr().err
    assert "rows.csv cannot be read: it is not UTF-8 text." in said
    assert "Hint: Save it as UTF-8." in said


def test_a_file_that_is_no_parquet_shows_no_sql_that_nobody_wrote(
    repo: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (repo / "noise.parquet").write_bytes(bytes(range(200)))
    assert run(["ingest", "sales", str(repo / "noise.parquet"), "-C", str(repo)], debug=False) == 1
    said = capsys.readouterr().err
    assert "noise.parquet cannot be read: " in said
    assert "EXPLAIN" not in said
    assert "LINE 1" not in said


def test_a_view_without_a_source_is_told_the_command_that_loads_a_file(
    repo: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["ingest", "sales", "-C", str(repo)], debug=False) == 1
    assert "Hint: Pass the rows: featurestore ingest sales FILE, or store.ingest" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("ends", "line"), [(("\n", "\r\n", "\n"), 2), (("\r\n", "\r\n", "\n"), 3), (("\n", "\r", "\n"), 2)]
)
def test_a_file_with_two_kinds_of_line_ends_is_refused_with_the_line(
    repo: Path, capsys: pytest.CaptureFixture[str], ends: tuple[str, ...], line: int
) -> None:
    rows = ["shop,sales,event_timestamp", "007,1,2013-01-01T07:00:00Z", "008,1,2013-01-01T07:00:00Z"]
    (repo / "a.csv").write_bytes("".join(row + end for row, end in zip(rows, ends, strict=True)).encode())
    assert run(["ingest", "sales", str(repo / "a.csv"), "-C", str(repo)], debug=False) == 1
    said = capsys.readouterr().err
    assert f"a.csv cannot be read: line {line} does not end as line 1 does.\nHint: Save it with one kind" in said
    assert "strict_mode" not in said


def test_an_empty_store_says_that_there_is_nothing_to_do(command: Any) -> None:
    for words in (("materialize",), ("compact",)):
        said = command(*words)
        assert (said.code, said.out) == (0, "There is no feature view. Next: featurestore apply\n")
    said = command("audit")
    assert (said.code, said.out) == (0, "There is no entry.\n")
    assert command("audit", "--format", "json").out == "[]\n"


def test_an_online_store_that_is_away_is_said_in_its_place_and_all_else_is_shown(command: CommandLine) -> None:
    command("apply")
    file = command.folder / "rows.csv"
    file.write_text("user_id,total,orders,event_timestamp\n1,7.5,3,2024-01-01T06:00:00Z\n")
    command("ingest", "spending", str(file))
    there = command("status")
    assert there.code == 0
    assert "1 rows, 1 loads; online 0 rows" in there.out
    assert json.loads(command("status", "--format", "json").out)["online"] == {"error": None}
    settings = command.folder / "featurestore.toml"
    section = '\n[online]\ntype = "redis"\naddresses = ["127.0.0.1:1"]\n'
    settings.write_text(settings.read_text().replace('online = "lmdb://data/online"\n', "") + section)
    away = command("status")
    error = (
        "The online store at 127.0.0.1:1 is away: Connection refused. Start it, or check [online] in "
        "featurestore.toml; what needs it goes on by itself when it is back."
    )
    assert (away.code, away.err) == (1, "")
    lines = away.out.splitlines()
    assert "online" not in lines[1]
    assert lines[2] == f"  online   {error}"
    assert "1 rows, 1 loads; online not known" in away.out
    assert "service  scoring@1" in away.out
    said = command("status", "--format", "json")
    found = json.loads(said.out)
    assert (said.code, found["online"], found["bytes"]["online"]) == (1, {"error": error}, None)
    (view,) = found["views"]
    assert (view["rows"], view["online_rows"], view["bytes"]["online"]) == (1, None, None)
