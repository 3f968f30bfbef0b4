"""The command that mends the past: it shows, asks, replaces, and says what to run next."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from featurestore import Entity, FeatureStore, FeatureView, Field, FileSource, SqlSource
from featurestore.cli.app import run
from featurestore.types import Float64

START = datetime(2013, 1, 1, tzinfo=UTC)


def write(repo: Path, *values: float) -> None:
    hours = range(len(values))
    instants = pa.array([START + hour * timedelta(hours=1) for hour in hours], pa.timestamp("us", "UTC"))
    pq.write_table(
        pa.table({"shop": ["007"] * len(values), "sales": list(values), "event_timestamp": instants}),
        repo / "sales.parquet",
    )


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    """A store with three hours of sales, of which the source has other ones by now."""
    view = FeatureView(
        name="sales",
        entities=[Entity(name="shop")],
        schema=[Field(name="sales", dtype=Float64)],
        source=FileSource(path="sales.parquet"),
    )
    with FeatureStore.init(tmp_path / "repo", project="shop") as store:
        store.apply([view])
        write(store.config.root, 1.0, 2.0, 3.0)
        store.ingest("sales")
        write(store.config.root, 1.0, 5.0)
    return tmp_path / "repo"


@pytest.fixture
def backfill(repo: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str]]:
    def run_it(*options: str, start: str = "2013-01-01") -> tuple[int, str]:
        code = run(["backfill", "sales", "--from", start, "--to", "2013-01-02", *options, "-C", str(repo)], debug=False)
        said = capsys.readouterr()
        return code, said.out + said.err

    return run_it


def sales(repo: Path) -> list[float]:
    with FeatureStore(repo) as store:
        view = store.get("sales").definition
        assert isinstance(view, FeatureView)
        values: list[float] = store.offline.rows_by_event_time(view, after=None).read_all()["sales"].to_pylist()
        return values


def test_a_dry_run_shows_what_would_change_and_changes_nothing(
    repo: Path, backfill: Callable[..., tuple[int, str]]
) -> None:
    code, said = backfill("--dry-run")
    assert code == 0
    assert "sales from 2013-01-01T00:00:00Z to 2013-01-02T00:00:00Z: 0 rows added, 1 changed, 1 removed, 1 stay" in said
    assert "sales: 1 values change (shop=007 at 2013-01-01T01:00:00Z: 2.0 -> 5.0)" in said
    assert said.endswith("Nothing was changed.\n")
    assert sales(repo) == [1.0, 2.0, 3.0]


def test_yes_replaces_the_rows_and_says_what_to_run_next(repo: Path, backfill: Callable[..., tuple[int, str]]) -> None:
    code, said = backfill("--yes", "--reason", "a till that counted wrong")
    assert code == 0
    assert "Published 2 rows as load backfill-" in said
    assert "Next: featurestore materialize sales" in said
    assert "Rows that are gone stay online" in said
    assert sales(repo) == [1.0, 5.0]
    code, said = backfill("--yes")
    assert code == 0
    assert said.endswith("0 rows added, 0 changed, 0 removed, 2 stay as they are\nNothing changes.\n")


def test_without_a_terminal_it_asks_nobody_and_names_yes(repo: Path, backfill: Callable[..., tuple[int, str]]) -> None:
    code, said = backfill()
    assert code == 1
    assert said.count("1 changed, 1 removed") == 1
    assert "no terminal" in said
    assert "--yes" in said
    assert sales(repo) == [1.0, 2.0, 3.0]


def test_programs_get_json(backfill: Callable[..., tuple[int, str]]) -> None:
    told = json.loads(backfill("--dry-run", "--format", "json")[1])
    assert (told["changed"], told["removed"], told["load_id"]) == (1, 1, None)
    assert told["features"]["sales"]["changed"] == 1
    assert json.loads(backfill("--yes", "--format", "json")[1])["load_id"].startswith("backfill-")


def test_an_instant_without_a_zone_is_refused_in_one_sentence(backfill: Callable[..., tuple[int, str]]) -> None:
    code, said = backfill(start="2013-01-01T00:00:00")
    assert code != 0
    assert "Error: " in said
    assert "time zone" in said
    assert "Traceback" not in said


def test_what_is_no_instant_is_named_as_it_was_typed(backfill: Callable[..., tuple[int, str]]) -> None:
    assert '--from is "12.10.2026", which is not a timestamp' in backfill(start="12.10.2026")[1]


def test_rows_after_the_interval_that_look_back_into_it_get_their_command(
    repo: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    query = """
        SELECT shop, event_timestamp, sum(sales) OVER (PARTITION BY shop ORDER BY event_timestamp
            RANGE INTERVAL 1 HOUR PRECEDING) AS sales FROM tills
    """
    source = SqlSource(
        query=query, sources=[FileSource(name="tills", path="sales.parquet")], lookback=timedelta(hours=1)
    )
    with FeatureStore(repo) as store:
        schema = [Field(name="sales", dtype=Float64)]
        store.apply([FeatureView(name="both", entities=[Entity(name="shop")], schema=schema, source=source)])
        write(repo, 1.0, 2.0, 3.0)
        store.ingest("both")
        write(repo, 1.0, 5.0, 3.0)
    interval = ["--from", "2013-01-01", "--to", "2013-01-01T02:00:00Z"]
    assert run(["backfill", "both", *interval, "--yes", "-C", str(repo)], debug=False) == 0
    after = "--from 2013-01-01T02:00:00+00:00 --to 2013-01-01T03:00:00+00:00"
    assert capsys.readouterr().out.endswith(f"The rows after it: featurestore backfill both {after}\n")
