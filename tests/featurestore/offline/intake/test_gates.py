"""A load that is unlike the loads before it is told of, or refused; one that differs by chance is not."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from featurestore.definitions import Entity, FeatureView, Field, FileSource, LoadGate, SqlSource, storage_id
from featurestore.errors import LoadRefusedError
from featurestore.offline.intake.gates import judge
from featurestore.offline.intake.load_profiles import LoadProfile, Sample, read
from featurestore.offline.store import OfflineStore
from featurestore.registry import Registry
from featurestore.types import Float64, Int64, String

START = datetime(2013, 1, 1, tzinfo=UTC)
REJECT = LoadGate(on_anomaly="reject")


@pytest.fixture
def sales() -> FeatureView:
    return FeatureView(
        name="sales",
        entities=[Entity(name="shop", dtypes=[Int64])],
        schema=[
            Field(name="total", dtype=Float64),
            Field(name="country", dtype=String),
            Field(name="mail", dtype=String, tags={"pii": "true"}),
        ],
    )


def day(number: int, rows: int = 1_000, **columns: Any) -> pa.Table:
    random = np.random.default_rng(number)
    instants = [START + timedelta(days=number, seconds=second) for second in range(rows)]
    return pa.table(
        {
            "shop": np.arange(rows),
            "total": random.normal(50, 10, rows),
            "country": random.choice(["de", "fr", "us"], rows, p=[0.5, 0.3, 0.2]),
            "mail": [f"{one}@example.com" for one in range(rows)],
            "event_timestamp": pa.array(instants, pa.timestamp("us", "UTC")),
        }
        | columns
    )


def test_loads_that_differ_by_chance_raise_nothing(store: OfflineStore, sales: FeatureView) -> None:
    for number in range(8):
        rows = 1_000 + 37 * number
        assert store.ingest(sales, day(number, rows), who="ada").anomalies == ()


@pytest.mark.parametrize(
    ("load", "said"),
    [
        (day(9, 100), "100 rows, where the last 4 loads had 1,000 to 1,000"),
        (day(9, 9_000), "9,000 rows, where the last 4 loads had 1,000 to 1,000"),
        (
            day(9, total=pa.array([None] * 600 + [50.0] * 400, pa.float64())),
            "total is null or NaN in 60.0% of the rows, where the last 4 loads had 0.0% at most",
        ),
        (day(9, total=np.array([np.nan] * 600 + [50.0] * 400)), "total is null or NaN in 60.0% of the rows"),
        (day(9, mail=pa.nulls(1_000, pa.string())), "mail is null or NaN in 100.0% of the rows"),
        (day(9, total=np.linspace(100, 200, 1_000)), "total lies outside of the range of the last 4 loads in"),
        (day(9, total=np.array([1e9] + [50.0] * 999)), "it has 50 to 1e+09, where they had"),
        (day(9, total=np.linspace(49, 51, 1_000)), "total is distributed unlike in the load before"),
        (day(9, country=["de"] * 1_000), "country is distributed unlike in the load before"),
        (day(9, country=["xx"] * 1_000), "country is distributed unlike in the load before"),
    ],
)
def test_an_anomaly_is_published_and_said_unless_the_gate_rejects_it(
    store: OfflineStore, registry: Registry, sales: FeatureView, load: pa.Table, said: str
) -> None:
    for number in range(4):
        store.ingest(sales, day(number), who="ada")
    strict = replace(sales, gate=REJECT)
    assert storage_id(strict) == storage_id(sales)
    before = store.table_version(sales)
    with pytest.raises(LoadRefusedError, match="is unlike those before") as refused:
        store.ingest(strict, load, who="ada", load_id="odd", reason="daily")
    assert any(said in reason for reason in refused.value.reasons), refused.value.reasons
    assert store.table_version(sales) == before
    assert len(list(store.table(sales).path.glob("*.parquet"))) == 4
    entry = registry.audit(action="refuse")[0]
    assert (entry.object, entry.who) == (storage_id(sales), "ada")
    assert entry.details == {"load_id": "odd", "refused": list(refused.value.reasons), "reason": "daily"}
    report = store.ingest(sales, load, who="ada", load_id="odd")
    assert report.anomalies == refused.value.reasons
    assert report.written == load.num_rows
    assert registry.audit(action="ingest")[-1].details["anomalies"] == list(report.anomalies)


def test_a_gate_that_quarantines_keeps_the_whole_load_aside_until_somebody_accepts_it(
    store: OfflineStore, registry: Registry, sales: FeatureView
) -> None:
    careful = replace(sales, gate=LoadGate(on_anomaly="quarantine"), schema=[replace(sales.schema[0], le=900)])
    for number in range(3):
        store.ingest(careful, day(number), who="ada")
    tenfold = day(4, total=np.append(day(4, 999)["total"].to_numpy() * 10, 1e6))
    report = store.ingest(careful, tenfold, who="ada", load_id="odd")
    assert (report.read, report.written, report.quarantined) == (1_000, 0, 1_000)
    own, whole = sorted(report.reasons.items(), key=lambda one: one[1])
    assert own == ("total is over 900", 1)
    assert whole[1] == 999
    assert whole[0].startswith("its load is unlike those before: total lies outside of the range of the last 3 loads")
    assert rows_in(store, careful) == 3_000
    assert len(list(store.table(careful).path.glob("*.parquet"))) == 3
    assert store.ingest(careful, tenfold, who="ada", load_id="odd").skipped == 1
    assert registry.audit(action="ingest")[-1].details["anomalies"] == list(report.anomalies)
    aside = store.quarantine(careful)
    assert aside is not None
    assert aside.num_rows == 1_000
    # It is none of the loads that the next one is compared with.
    assert store.ingest(careful, day(5), who="ada").anomalies == ()

    (note,) = store.reingest_quarantine(careful, who="ada").notes
    assert note.startswith("1,000 rows stay aside, as their loads are unlike those before")
    accepted = store.reingest_quarantine(careful, who="ada", reason="a new currency", accept_anomalies=True)
    assert accepted.written == 999
    assert rows_in(store, careful) == 4_999
    left = store.quarantine(careful)
    assert left is not None
    assert left["reason"].to_pylist() == ["total is over 900"]
    assert store.ingest(careful, day(6, total=day(6)["total"].to_numpy() * 10), who="ada").quarantined == 0


def test_a_file_and_a_query_that_are_unlike_others_are_kept_aside_too(
    store: OfflineStore, sales: FeatureView, tmp_path: Path
) -> None:
    careful = replace(sales, gate=LoadGate(on_anomaly="quarantine"), schema=[sales.schema[0]])
    columns = ["shop", "total", "event_timestamp"]
    files = FileSource(name="days", path="days/*.parquet", timestamp_field="event_timestamp")
    query = "SELECT shop, total, event_timestamp FROM days"
    (tmp_path / "days").mkdir()
    for name, source in (
        ("files", files),
        ("whole", SqlSource(query=query, sources=[files])),
        ("cut", SqlSource(query=query, sources=[files], lookback=timedelta(0))),
    ):
        view = replace(careful, name=name, source=source)
        pq.write_table(day(0).select(columns), tmp_path / "days" / "0.parquet")
        store.ingest_source(view, who="ada")
        pq.write_table(day(1, total=np.full(1_000, 900.0)).select(columns), tmp_path / "days" / "1.parquet")
        report = store.ingest_source(view, who="ada")
        # A run over an interval sees the last instant of the one before again.
        assert (report.written, report.quarantined) == (0, {"files": 1_000, "whole": 2_000, "cut": 1_001}[name])
        assert not [note for note in report.notes if "backfill" in note]
        assert store.ingest_source(view, who="ada").read == 0
        assert store.reingest_quarantine(view, who="ada", accept_anomalies=True).written == report.quarantined
        (tmp_path / "days" / "1.parquet").unlink()


def test_text_that_could_not_be_read_stays_with_a_load_that_is_kept_aside(
    store: OfflineStore, sales: FeatureView, tmp_path: Path
) -> None:
    careful = replace(sales, gate=LoadGate(on_anomaly="quarantine"), schema=[sales.schema[0]])
    store.ingest(careful, day(0), who="ada")
    file = tmp_path / "odd.csv"
    lines = [f"{shop},{'many' if shop == 7 else 900},2013-01-02T00:00:00Z" for shop in range(1_000)]
    file.write_text("\n".join(["shop,total,event_timestamp", *lines]))
    assert store.ingest(careful, file, who="ada").quarantined == 1_000
    assert store.reingest_quarantine(careful, who="ada", accept_anomalies=True).written == 999
    aside = store.quarantine(careful)
    assert aside is not None
    assert aside.select(["reason", "unreadable__"]).to_pylist() == [
        {"reason": "total is not Float64", "unreadable__": "total=many"}
    ]


def rows_in(store: OfflineStore, view: FeatureView) -> int:
    return store.rows_by_event_time(view, after=None).read_all().num_rows


def test_what_was_accepted_is_usual_from_then_on(store: OfflineStore, sales: FeatureView) -> None:
    strict = replace(sales, gate=REJECT)
    for number in range(3):
        store.ingest(strict, day(number), who="ada")
    tenfold = day(4, total=day(4)["total"].to_numpy() * 10)
    with pytest.raises(LoadRefusedError):
        store.ingest(strict, tenfold, who="ada")
    assert len(store.ingest(strict, tenfold, who="ada", accept_anomalies=True).anomalies) == 2
    assert store.ingest(strict, day(5, total=day(5)["total"].to_numpy() * 10), who="ada").anomalies == ()


def test_days_that_are_always_unlike_each_other_are_soon_quiet(store: OfflineStore, sales: FeatureView) -> None:
    said = [
        store.ingest(sales, day(n, total=np.random.default_rng(n).normal(50 + 20 * (n % 2), 5, 1_000)), who="ada")
        for n in range(8)
    ]
    assert [bool(report.anomalies) for report in said] == [False, True, False, False, False, False, False, False]


def test_small_loads_raise_nothing(store: OfflineStore, sales: FeatureView) -> None:
    store.ingest(sales, day(0), who="ada")
    for number in range(1, 6):
        constant = day(number, 5, total=np.full(5, 60.0), country=["us"] * 5)
        assert store.ingest(sales, constant, who="ada").anomalies == ()


def test_a_measure_may_be_left_out_and_the_gate_too(store: OfflineStore, sales: FeatureView) -> None:
    store.ingest(sales, day(0), who="ada")
    shifted = day(1, total=day(1)["total"].to_numpy() + 20)
    lenient = replace(sales, gate=LoadGate(on_anomaly="reject", distribution=None, ranges=None))
    assert store.ingest(lenient, shifted, who="ada", load_id="one").anomalies == ()
    ignoring = replace(sales, gate=LoadGate(on_anomaly="ignore"))
    assert store.ingest(ignoring, shifted, who="ada", load_id="two").anomalies == ()
    assert [one.name for one in _profiles(store, sales)] != []
    assert not any(one.name.startswith("two") for one in _profiles(store, sales))


def test_a_profile_holds_no_personal_and_no_rare_value(store: OfflineStore, sales: FeatureView) -> None:
    rare = ["de"] * 500 + [f"name of a person {number}" for number in range(500)]
    store.ingest(sales, day(0, country=rare), who="ada")
    (file,) = _profiles(store, sales)
    text = file.read_text()
    assert '"de"' in text
    assert "name of a person" not in text
    assert "example.com" not in text
    kept = read(file)
    assert kept is not None
    assert kept.rows == 1_000


def test_a_damaged_profile_is_left_out(store: OfflineStore, sales: FeatureView) -> None:
    store.ingest(sales, day(0), who="ada")
    (file,) = _profiles(store, sales)
    for damaged in ("", "{}", "{}\n{}\n", "\x00\n", '{"layout": 2}\n{}\n'):
        file.write_text(damaged)
        assert read(file) is None
    assert store.ingest(sales, day(1, total=np.zeros(1_000)), who="ada").anomalies == ()


def _profiles(store: OfflineStore, view: FeatureView) -> list[Any]:
    table = store.table(view).path
    return sorted((table.parent / "profiles" / table.name).iterdir())


@settings(max_examples=25, deadline=None)
@given(
    sizes=st.lists(st.integers(0, 3_000), min_size=2, max_size=5),
    seed=st.integers(0, 2**32 - 1),
    spread=st.sampled_from(["normal", "lognormal", "integers", "constant"]),
)
def test_equal_sources_pass_whatever_the_sizes_of_their_loads(sizes: list[int], seed: int, spread: str) -> None:
    random = np.random.default_rng(seed)
    history: list[LoadProfile] = []
    gate = LoadGate(rows=None)
    for size in sizes:
        values = {
            "normal": random.normal(size=size),
            "lognormal": random.lognormal(size=size),
            "integers": random.integers(0, 5, size).astype(float),
            "constant": np.ones(size),
        }[spread]
        sample = Sample([Field(name="x", dtype=Float64)])
        sample.add(pa.RecordBatch.from_pydict({"x": values}))
        judged = judge(sample, rows=size, read=size, nulls={"x": 0}, history=history, gate=gate)
        assert judged.anomalies == ()
        history.append(judged.profile)


def test_a_sample_is_bounded_and_every_row_has_the_same_chance() -> None:
    sample = Sample([Field(name="x", dtype=Int64)], size=1_000)
    for start in range(0, 100_000, 7_000):
        sample.add(pa.RecordBatch.from_pydict({"x": np.arange(start, min(start + 7_000, 100_000))}))
    kept = sample.table()["x"].to_numpy()
    assert 1_000 <= len(kept) <= 2_000
    assert (np.diff(kept) > 0).all()
    shares = np.bincount(kept // 10_000, minlength=10) / len(kept)
    assert np.abs(shares - 0.1).max() < 0.03
    assert sample.extremes == {"x": (0.0, 99_999.0)}


def test_a_profile_reads_back_as_it_was_written(tmp_path: Any) -> None:
    sample = Sample([Field(name="x", dtype=Float64), Field(name="s", dtype=String)])
    sample.add(pa.RecordBatch.from_pydict({"x": [1.0, None, np.inf] * 50, "s": ["a", "b", None] * 50}))
    made = judge(sample, rows=150, read=150, nulls={"x": 50, "s": 50}, history=[], gate=LoadGate()).profile
    made.write(tmp_path / "deep" / "one.json")
    back = read(tmp_path / "deep" / "one.json")
    assert back is not None
    assert back == made
    assert back.values_in_bins("x").tolist() == made.values_in_bins("x").tolist()
    assert back.bins == made.bins


def test_only_a_source_of_several_parts_says_in_which_of_them_rows_are_unlike(
    store: OfflineStore, sales: FeatureView, tmp_path: Path
) -> None:
    query = SqlSource(query="SELECT * FROM sold", sources=[FileSource(name="sold", path="sold-*.parquet")])
    for source, prefix in ((query, ""), (query.sources[0], "sold-2.parquet: ")):
        view = replace(sales, name=source.spec()["kind"], source=source)
        for old in tmp_path.glob("sold-*.parquet"):
            old.unlink()
        pq.write_table(day(1), tmp_path / "sold-1.parquet")
        store.ingest_source(view, who="ada")
        pq.write_table(day(2, total=np.linspace(100, 200, 1_000)), tmp_path / "sold-2.parquet")
        said = store.ingest_source(view, who="ada").anomalies
        assert any(one.startswith(f"{prefix}total lies outside of") for one in said), said


_ALIKE = """
import sys
import numpy as np
import pyarrow as pa
from featurestore.definitions import Field, LoadGate
from featurestore.offline.intake.gates import judge
from featurestore.offline.intake.load_profiles import Sample
from featurestore.types import Float64, String

fields, history = [Field(name="total", dtype=Float64), Field(name="country", dtype=String)], []
for number in range(5):
    random = np.random.default_rng(number)
    columns = {"total": random.normal(50, 10, 1_000), "country": random.choice(["de", "fr"], 1_000)}
    if "other" in sys.argv and number == 4:
        columns["total"] *= 0.5
    sample = Sample(fields)
    sample.add(pa.RecordBatch.from_pydict(columns))
    judged = judge(sample, rows=1_000, read=1_000, nulls={"total": number % 2}, history=history, gate=LoadGate())
    history.append(judged.profile)
print(len(judged.anomalies), "scipy" in sys.modules)
"""


@pytest.mark.parametrize(("load", "said"), [("alike", "0 False"), ("other", "1 True")])
def test_a_load_like_those_before_waits_for_no_import_of_scipy(load: str, said: str) -> None:
    """Which takes longer than a small load does."""
    ran = subprocess.run([sys.executable, "-c", _ALIKE, load], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == said
