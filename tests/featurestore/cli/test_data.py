"""Commands on rows: a file is read by the view's types, and what cannot be read is said in one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from featurestore import Entity, FeatureService, FeatureStore, FeatureView, Field, FileSource
from featurestore.cli.app import run
from featurestore.types import Float64

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
    assert "unreadable__=sales=many" in capsys.readouterr().out


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
