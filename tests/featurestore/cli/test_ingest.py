"""Rows that were kept aside, and loads that a gate refuses, as a user meets them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from featurestore import Entity, FeatureStore, FeatureView, Field, LoadGate
from featurestore.cli.app import run
from featurestore.types import Float64

LINE = "{shop},{sales},2013-01-01T07:00:00Z"


@pytest.fixture
def view() -> FeatureView:
    return FeatureView(
        name="sales",
        entities=[Entity(name="shop")],
        schema=[Field(name="sales", dtype=Float64, le=100)],
        gate=LoadGate(on_anomaly="reject"),
    )


@pytest.fixture
def repo(tmp_path: Path, view: FeatureView) -> Path:
    with FeatureStore.init(tmp_path / "repo", project="shop") as store:
        store.apply([view])
    return tmp_path / "repo"


def csv(folder: Path, sales: list[float]) -> str:
    file = folder / "rows.csv"
    lines = [LINE.format(shop=f"s{place}", sales=value) for place, value in enumerate(sales)]
    file.write_text("\n".join(["shop,sales,event_timestamp", *lines]))
    return str(file)


def test_rows_kept_aside_are_listed_written_out_and_tried_again(
    repo: Path, view: FeatureView, capsys: pytest.CaptureFixture[str]
) -> None:
    here = ["-C", str(repo)]
    assert run(["ingest", "sales", csv(repo, [1, 150, 160, 900]), *here], debug=False) == 0
    capsys.readouterr()
    assert run(["quarantine", "sales", "--limit", "1", *here], debug=False) == 0
    said = capsys.readouterr().out
    assert "sales is over 100: shop=s1" in said
    assert "3 rows in quarantine; 1 are shown." in said
    for name in ("out.parquet", "out.csv"):
        assert run(["quarantine", "sales", "--out", str(repo / name), *here], debug=False) == 0
        assert "3 of 3 rows in quarantine written to" in capsys.readouterr().out
    assert pq.read_table(repo / "out.parquet")["sales"].to_pylist() == [150.0, 160.0, 900.0]
    assert run(["quarantine", "sales", "--out", str(repo / "out.txt"), *here], debug=False) == 1
    assert "neither .parquet nor .csv" in capsys.readouterr().err
    with FeatureStore(repo) as store:
        store.apply([replace(view, schema=[Field(name="sales", dtype=Float64, le=200)])])
    assert run(["quarantine", "sales", "--retry", "--reason", "the limit was wrong", *here], debug=False) == 0
    said = capsys.readouterr().out
    assert "sales: 2 rows written" in said
    assert "1 rows in quarantine." in said
    with FeatureStore(repo) as store:
        assert sum(load.rows_written for load in store.offline.loads(store.get("sales").definition)) == 3


def test_a_load_that_a_gate_refuses_is_published_once_somebody_says_that_it_is_right(
    repo: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    here = ["-C", str(repo)]
    assert run(["ingest", "sales", csv(repo, [float(n % 50) for n in range(500)]), *here], debug=False) == 0
    odd = csv(repo, [80.0 + n % 10 for n in range(500)])
    assert run(["ingest", "sales", odd, *here], debug=False) == 1
    said = capsys.readouterr().err
    assert 'The load for feature view "sales" is unlike those before: sales lies outside of the range' in said
    assert "--accept-anomalies" in said
    assert run(["ingest", "sales", odd, "--accept-anomalies", *here], debug=False) == 0
    said = capsys.readouterr().out
    assert "sales: 500 rows written" in said
    assert "  unlike the loads before: sales lies outside of the range of the load before in 100.0% of the rows" in said
    assert "  the rows are published; if they are wrong: featurestore restore sales --to LOAD|INSTANT\n" in said


def test_a_load_that_a_gate_keeps_aside_says_how_to_accept_it(
    repo: Path, view: FeatureView, capsys: pytest.CaptureFixture[str]
) -> None:
    here = ["-C", str(repo)]
    with FeatureStore(repo) as store:
        store.apply([replace(view, gate=LoadGate(on_anomaly="quarantine"))])
    assert run(["ingest", "sales", csv(repo, [float(n % 50) for n in range(500)]), *here], debug=False) == 0
    assert run(["ingest", "sales", csv(repo, [80.0 + n % 10 for n in range(500)]), *here], debug=False) == 0
    said = capsys.readouterr().out
    assert "sales: 0 rows written, 500 quarantined (500 its load is unlike those before: sales lies outside" in said
    accept = "featurestore quarantine sales --retry --accept-anomalies"
    assert f"  the rows are kept aside; if they are right: {accept}\n" in said
    assert "the rows are published" not in said
    assert run([*accept.split()[1:-1], *here], debug=False) == 0
    assert "note: 500 rows stay aside, as their loads are unlike those before" in capsys.readouterr().out
    assert run([*accept.split()[1:], *here], debug=False) == 0
    assert "sales: 500 rows written" in capsys.readouterr().out


def test_a_change_of_the_gate_is_told_by_a_plan_and_makes_no_version(repo: Path, view: FeatureView) -> None:
    with FeatureStore(repo) as store:
        plan = store.apply([replace(view, gate=LoadGate(nulls=0.5))])
        assert [(change.name, change.action) for change in plan.changes if change.action != "unchanged"] == [
            ("sales", "update notes")
        ]
        assert "gate" in str(plan)
        assert store.get("sales").version == 1
        assert store.get("sales").definition.gate == LoadGate(nulls=0.5)
        store.ingest("sales", pa.table({"shop": ["a"], "sales": [1.0], "event_timestamp": _instants()}))


def _instants() -> pa.Array:
    return pa.array([0], pa.timestamp("us", "UTC"))
