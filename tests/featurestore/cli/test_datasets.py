"""Commands on training datasets: made, listed, shown, made again, compared."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from featurestore import Entity, FeatureService, FeatureStore, FeatureView, Field
from featurestore.cli.app import run
from featurestore.types import Float64, Int64

START = datetime(2013, 1, 1, tzinfo=UTC)


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    view = FeatureView(
        name="spending",
        entities=[Entity(name="user", join_keys=["user_id"], dtypes=[Int64])],
        schema=[Field(name="total", dtype=Float64)],
    )
    with FeatureStore.init(tmp_path / "repo", project="shop") as store:
        store.apply([view, FeatureService(name="scoring", features=[view])])
        rows = [
            {"user_id": n % 10, "total": float(n), "event_timestamp": START + timedelta(hours=n)} for n in range(40)
        ]
        store.ingest("spending", rows)
    entities = pl.DataFrame(rows).select("user_id", "event_timestamp", bought=pl.col("total") > 20)
    entities.write_parquet(tmp_path / "repo" / "entities.parquet")
    entities.with_columns(pl.col("event_timestamp").dt.strftime("%Y-%m-%dT%H:%M:%SZ")).write_csv(
        tmp_path / "repo" / "entities.csv"
    )
    return tmp_path / "repo"


def command(repo: Path, *arguments: str) -> int:
    return run(["dataset", *arguments, "-C", str(repo)], debug=False)


def create(repo: Path, *more: str) -> int:
    return command(
        repo, "create", "buyers", "--service", "scoring", "--entities", str(repo / "entities.parquet"), *more
    )


def test_a_dataset_is_made_listed_shown_made_again_and_compared(repo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    split = ["--label", "bought", "--split", "key:train=0.7,test=0.3", "--seed", "1", "--hyperparameters", '{"a": 1}']
    assert create(repo, *split) == 0
    said = capsys.readouterr()
    assert "buyers@1: 40 rows of scoring@1 in data/offline/datasets/buyers/" in said.out
    assert "  train 32 rows, test 8 rows\n" in said.out
    assert said.err == ""
    assert command(repo, "list") == 0
    assert "buyers@1" in capsys.readouterr().out
    with FeatureStore(repo) as store:
        store.log_model("ridge", service="scoring", dataset="buyers", metrics={"auc": 0.75})
        assert store.get_training_dataset("buyers").split("test").to_arrow().num_rows == 8
    assert command(repo, "show", "buyers") == 0
    shown = capsys.readouterr().out
    for part in (
        "dataset buyers@1",
        "label          bought",
        'split          by="key", seed=1, shares={"test": 0.3, "train": 0.7}',
        "hyperparameters a=1",
        "view           spending@1, spending-",
        " v1, 1 files",
        "model          ridge@1 of scoring@1: auc 0.75",
    ):
        assert part in shown
    assert command(repo, "show", "buyers@1", "--format", "json") == 0
    assert json.loads(capsys.readouterr().out)["models"] == ["ridge@1"]
    out = repo / "again.parquet"
    assert command(repo, "reproduce", "buyers", "--out", str(out)) == 0
    assert capsys.readouterr().out == f"buyers@1: all 40 rows are the same.\n  40 rows in {out}\n"
    assert create(repo, "--split", "time:test=2013-01-02T00:00:00Z") == 0
    assert command(repo, "diff", "buyers@1", "buyers@2") == 0
    said = capsys.readouterr()
    assert "~ buyers@1 -> buyers@2" in said.out
    assert "40 -> 40: 0 added, 0 removed, 40 common" in said.out
    assert "label        bought -> none" in said.out
    assert command(repo, "diff", "buyers@1", "buyers@2", "--format", "json") == 0
    assert json.loads(capsys.readouterr().out)["rows"] == {"added": 0, "removed": 0, "common": 40}


def test_what_an_erasure_took_is_said_wherever_rows_are_counted(repo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert create(repo) == 0
    with FeatureStore(repo) as store:
        store.erase("user", {"user_id": 3}, request="GDPR-1")
        assert store.status()["datasets"][0]["rows"] == 36
    capsys.readouterr()
    assert command(repo, "show", "buyers") == 0
    shown = capsys.readouterr().out
    assert "rows           36 of 40, 2013-01-01" in shown
    assert "erased         4 rows, request GDPR-1\n" in shown
    assert command(repo, "show", "buyers", "--format", "json") == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["rows"], said["rows_left"], said["erasures"][0]["request"]) == (40, 36, "GDPR-1")
    assert command(repo, "list") == 0
    assert " 36 rows" in capsys.readouterr().out


def test_a_dataset_that_cannot_be_made_again_ends_with_code_one_and_the_reason(
    repo: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert create(repo) == 0
    for file in (repo / "data" / "offline").glob("spending-*/*.parquet"):
        file.unlink()
    capsys.readouterr()
    assert command(repo, "reproduce", "buyers@1") == 1
    said = capsys.readouterr()
    assert said.out.startswith("buyers@1 cannot be made again: file part-")
    assert said.out.endswith('of feature view "spending" is gone or damaged.\n')
    assert command(repo, "reproduce", "buyers@1", "--format", "json") == 1
    assert json.loads(capsys.readouterr().out)["proved"] is False


@pytest.mark.parametrize(
    ("split", "parts"),
    [
        ("time:validation=2013-01-01T20:00:00Z,test=2013-01-02T00:00:00Z", {"train": 20, "validation": 4, "test": 16}),
        ("time:train=0.5,test=0.5", {"train": 20, "test": 20}),
        ("row:train=0.5,test=0.5", {"train": 17, "test": 23}),
        ("group(bought):train=0.5,test=0.5", {"train": 21, "test": 19}),
    ],
)
def test_every_split_can_be_asked_for(
    repo: Path, capsys: pytest.CaptureFixture[str], split: str, parts: dict[str, int]
) -> None:
    assert create(repo, "--split", split, "--format", "json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["rows_per_part"] == parts


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--split", "time:test=soon"], 'test of --split is "soon", which is not a timestamp'),
        (["--split", "time:tests=2013-01-02T00:00:00Z"], "is no split"),
        (["--split", "key"], "is no split"),
        (["--split", "weekday:train=0.5,test=0.5"], 'there is no split by "weekday"'),
        (["--split", "key:train=0.5,test=0.6"], "add up to 1.1"),
        (["--known-at", "column"], "it is row, or left out"),
        (["--hyperparameters", "alpha=1"], "is no JSON"),
        (["--hyperparameters", "[1]"], "is no JSON object"),
        (["--sql", "SELECT 1"], "entity rows are given twice"),
        (["--label", "sold"], 'have no label "sold"'),
    ],
)
def test_a_wrong_option_is_said_in_one_line(
    repo: Path, capsys: pytest.CaptureFixture[str], options: list[str], says: str
) -> None:
    assert create(repo, *options) == 1
    said = " ".join(capsys.readouterr().err.replace("│", " ").split())
    assert says in said
    assert "Traceback" not in said


def test_entity_rows_may_be_a_file_of_text_or_a_range_of_time(repo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [
        "create",
        "text",
        "--service",
        "scoring",
        "--entities",
        str(repo / "entities.csv"),
        "--label",
        "bought",
    ]
    assert command(repo, *arguments) == 0
    instants = ["--start", "2013-01-01T00:00:00Z", "--end", "2013-01-01T12:00:00Z"]
    assert command(repo, "create", "range", "--service", "scoring", *instants) == 0
    assert "range@1: 12 rows of scoring@1" in capsys.readouterr().out
    for name in ("text", "range"):
        assert command(repo, "reproduce", name) == 0


def test_a_part_without_rows_is_said(repo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert create(repo, "--split", "key:train=0.7,test=0.3", "--seed", "3") == 0
    said = capsys.readouterr().out
    assert "  train 40 rows, test 0 rows\n" in said
    assert 'note: part "test" of the split has no rows' in said


def test_there_is_no_dataset_yet(repo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(repo, "list") == 0
    assert "There is no dataset. Next: featurestore dataset create" in capsys.readouterr().out
    for arguments in (["show", "buyers"], ["reproduce", "buyers"], ["diff", "buyers", "buyers"]):
        assert command(repo, *arguments) == 1
        assert 'There is no dataset "buyers"' in capsys.readouterr().err
