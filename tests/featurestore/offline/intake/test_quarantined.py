"""Rows that were kept aside are listed, and get in once a fix lets them pass: each once, whatever happens meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from featurestore.config import Config
from featurestore.definitions import FeatureView, Field, FileSource, storage_id
from featurestore.offline.load_ids import REQUEUED
from featurestore.offline.store import OfflineStore
from featurestore.types import Float64, Int64

START = datetime(2013, 1, 1, tzinfo=UTC)
Rows = Callable[..., list[dict[str, Any]]]


def stored(store: OfflineStore, view: FeatureView) -> pl.DataFrame:
    frame = pl.from_arrow(store.rows_by_event_time(view, after=None).read_all())
    assert isinstance(frame, pl.DataFrame)
    return frame


def mended(view: FeatureView, limit: float = 1_000) -> FeatureView:
    """Return the view with a wider limit, and so with another table."""
    return replace(view, schema=[Field(name="temp", dtype=Float64, ge=-80, le=limit), Field(name="wind", dtype=Int64)])


@pytest.fixture
def kept_aside(store: OfflineStore, view: FeatureView, weather_rows: Rows) -> FeatureView:
    """Return the view after two loads, of whose rows three are hot, one is hotter and one has no key."""
    first, second = weather_rows(range(4)), weather_rows(range(4, 8))
    first[0]["temp"] = first[1]["temp"] = 200.0
    first[2]["origin"] = None
    second[0]["temp"], second[1]["temp"] = 300.0, 5_000.0
    store.ingest(view, first, who="ada", load_id="first")
    store.ingest(view, second, who="ada", load_id="second")
    return view


def test_a_listing_may_be_cut_short(store: OfflineStore, kept_aside: FeatureView) -> None:
    everything = store.quarantine(kept_aside)
    assert everything is not None
    assert everything.num_rows == store.quarantined_rows(kept_aside) == 5
    for limit in range(1, 7):
        some = store.quarantine(kept_aside, limit=limit)
        assert some is not None
        assert some.to_pylist() == everything.to_pylist()[:limit]


def test_rows_that_pass_the_mended_checks_get_in_and_the_others_stay(
    store: OfflineStore, kept_aside: FeatureView
) -> None:
    fixed = mended(kept_aside)
    store.carry_over(kept_aside, fixed, who="ada")
    assert store.quarantined_rows(fixed, [kept_aside]) == 5
    report = store.reingest_quarantine(fixed, [kept_aside], who="bob", reason="the limit was wrong")
    assert (report.read, report.written, report.quarantined) == (3, 3, 0)
    assert [(load.rows_read, load.rows_written, load.author) for load in report.loads] == [(2, 2, "bob"), (1, 1, "bob")]
    assert sorted(stored(store, fixed)["temp"].to_list()) == [43.0, 46.0, 47.0, 200.0, 200.0, 300.0]
    left = store.quarantine(fixed, [kept_aside])
    assert left is not None
    assert sorted(left["reason"].to_pylist()) == ["origin is null", "temp is over 1000"]
    requeued = sum(load.rows_read for load in store.loads(fixed) if load.load_id.startswith(REQUEUED))
    assert sum(load.rows_quarantined for load in store.loads(kept_aside)) == left.num_rows + requeued


def test_trying_again_without_a_fix_changes_nothing(store: OfflineStore, kept_aside: FeatureView) -> None:
    before = store.table_version(kept_aside)
    assert store.reingest_quarantine(kept_aside, who="ada").loads == ()
    assert store.table_version(kept_aside) == before
    assert store.quarantined_rows(kept_aside) == 5


def test_a_second_fix_takes_what_the_first_left(store: OfflineStore, kept_aside: FeatureView) -> None:
    one, two = mended(kept_aside), mended(kept_aside, 10_000)
    store.reingest_quarantine(one, [kept_aside], who="ada")
    assert store.reingest_quarantine(one, [kept_aside], who="ada").written == 0
    assert store.reingest_quarantine(two, [kept_aside, one], who="ada").written == 1
    assert store.quarantined_rows(two, [kept_aside, one]) == 1


def test_a_row_from_the_future_gets_in_when_its_time_has_come(
    store: OfflineStore, view: FeatureView, weather_rows: Rows
) -> None:
    soon = datetime.now(UTC) + timedelta(seconds=61.5)
    assert store.ingest(view, weather_rows([0], event_timestamp=soon), who="ada").quarantined == 1
    while datetime.now(UTC) + timedelta(seconds=60) < soon:
        pass
    assert store.reingest_quarantine(view, who="ada").written == 1
    assert store.quarantine(view) is None


@pytest.mark.parametrize("killed_at", ["before the commit", "after the commit"])
def test_a_run_that_was_killed_is_finished_by_the_next(
    store: OfflineStore, kept_aside: FeatureView, monkeypatch: pytest.MonkeyPatch, killed_at: str
) -> None:
    fixed = mended(kept_aside, 10_000)
    with monkeypatch.context() as crash:
        if killed_at == "before the commit":
            crash.setattr(
                "featurestore.offline.tables.table.OfflineTable.publish", lambda *_: pytest.fail("killed here")
            )
        else:
            crash.setattr(Path, "replace", _killing(Path.replace))
            crash.setattr(Path, "unlink", _killing(Path.unlink))
        with pytest.raises(pytest.fail.Exception):
            store.reingest_quarantine(fixed, [kept_aside], who="ada")
    assert store.reingest_quarantine(fixed, [kept_aside], who="ada").written in (1, 2, 4)
    assert sorted(stored(store, fixed)["temp"].to_list()) == [200.0, 200.0, 300.0, 5_000.0]
    assert store.quarantined_rows(fixed, [kept_aside]) == 1
    assert store.reingest_quarantine(fixed, [kept_aside], who="ada").written == 0


def test_a_run_that_was_killed_leaves_nothing_that_an_erasure_passes_over(
    store: OfflineStore, kept_aside: FeatureView, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as crash:
        crash.setattr("featurestore.offline.tables.table.OfflineTable.publish", lambda *_: pytest.fail("killed here"))
        with pytest.raises(pytest.fail.Exception):
            store.reingest_quarantine(mended(kept_aside), [kept_aside], who="ada")
    left = list((config.path(config.offline.path) / "quarantine").glob("*/[!.]*"))
    assert len(left) == 3
    assert {path.suffix for path in left} == {".parquet"}


def test_rows_whose_load_a_restore_withdraws_are_kept_aside_again(store: OfflineStore, kept_aside: FeatureView) -> None:
    fixed = mended(kept_aside)
    store.carry_over(kept_aside, fixed, who="ada")
    before = store.quarantine(fixed, [kept_aside])
    carried = store.loads(fixed)[-1].load_id
    store.reingest_quarantine(fixed, [kept_aside], who="ada")
    taken = store.loads(fixed)[-1].load_id
    store.restore(fixed, store.find_state(fixed, carried), who="ada")
    again = store.quarantine(fixed, [kept_aside])
    assert before is not None
    assert again is not None
    assert again.to_pylist() == before.to_pylist()
    store.restore(fixed, store.find_state(fixed, taken), who="ada")
    assert store.quarantined_rows(fixed, [kept_aside]) == 2
    store.restore(fixed, store.find_state(fixed, carried), who="ada")
    assert store.reingest_quarantine(fixed, [kept_aside], who="ada").written == 3
    assert store.quarantined_rows(fixed, [kept_aside]) == 2
    assert store.reingest_quarantine(fixed, [kept_aside], who="ada").written == 0


def test_the_same_bad_rows_of_two_loads_are_two_loads_again(
    store: OfflineStore, view: FeatureView, weather_rows: Rows
) -> None:
    rows = weather_rows(range(2))
    rows[0]["temp"], rows[1]["origin"] = 200.0, None
    for load_id in ("first", "second"):
        store.ingest(view, rows, who="ada", load_id=load_id)
    assert store.reingest_quarantine(mended(view), [view], who="ada").written == 2
    assert store.quarantined_rows(mended(view), [view]) == 2


@pytest.mark.parametrize("corrected_in", ["the older version", "the newer version"])
def test_a_row_that_was_corrected_since_does_not_come_back_in_its_place(
    store: OfflineStore, view: FeatureView, weather_rows: Rows, corrected_in: str
) -> None:
    fixed = mended(view)
    store.ingest(view, [*weather_rows([0, 1], temp=200.0), *weather_rows([2])], who="ada")
    if corrected_in == "the older version":
        store.ingest(view, weather_rows([0]), who="ada")
    store.carry_over(view, fixed, who="ada")
    if corrected_in == "the newer version":
        store.ingest(fixed, weather_rows([0]), who="ada")
    report = store.reingest_quarantine(fixed, [view], who="ada")
    assert (report.written, report.notes) == (1, ("1 rows stay aside, as rows of their keys and times came since",))
    assert stored(store, fixed)["temp"].to_list() == [40.0, 200.0, 42.0]
    left = store.quarantine(fixed, [view])
    assert left is not None
    assert left["reason"].to_pylist() == ["a row of its key and time came since"]


@pytest.mark.parametrize(("created", "stays"), [(1, True), (2, True), (3, False)])
def test_of_rows_with_created_times_the_one_written_last_counts_after_a_fix_too(
    store: OfflineStore, view: FeatureView, weather_rows: Rows, created: int, stays: bool
) -> None:
    bad = weather_rows([0], temp=200.0, created_timestamp=START + timedelta(days=created))
    store.ingest(view, bad, who="ada")
    store.ingest(view, weather_rows([0], created_timestamp=START + timedelta(days=2)), who="ada")
    fixed = mended(view)
    store.carry_over(view, fixed, who="ada")
    assert store.reingest_quarantine(fixed, [view], who="ada").written == (0 if stays else 1)


@pytest.mark.parametrize("on_bad_rows", ["quarantine", "reject"])
def test_what_refuses_a_load_as_a_whole_does_not_hold_for_what_is_left_of_one(
    store: OfflineStore, view: FeatureView, weather_rows: Rows, on_bad_rows: Any
) -> None:
    wind = Field(name="wind", dtype=Int64, max_null_rate=0.5)
    strict = replace(view, schema=[Field(name="temp", dtype=Float64, le=140), wind])
    rows = weather_rows(range(10))
    rows[0] |= {"temp": 200.0, "wind": None}
    rows[1]["origin"] = None
    store.ingest(strict, rows, who="ada")
    fixed = replace(strict, schema=[Field(name="temp", dtype=Float64, le=1_000), wind], on_bad_rows=on_bad_rows)
    assert store.reingest_quarantine(fixed, [strict], who="ada").written == 1
    assert store.quarantined_rows(fixed, [strict]) == 1


def _killing(real: Callable[..., Any]) -> Callable[..., Any]:
    def fail(self: Path, *arguments: Any, **named: Any) -> Any:
        finishing = self.name.endswith(".rest.parquet") and arguments
        if finishing or self.name in ("first.parquet", "second.parquet"):
            pytest.fail("killed here")
        return real(self, *arguments, **named)

    return fail


def test_what_a_version_was_fed_itself_is_not_taken_from_an_older_one(
    store: OfflineStore, view: FeatureView, weather_rows: Rows
) -> None:
    fixed = mended(view)
    for version in (fixed, view):
        store.ingest(version, weather_rows([0], temp=200.0), who="ada")
    assert store.quarantined_rows(view) == 1
    assert store.reingest_quarantine(fixed, [view], who="ada").written == 0
    assert stored(store, fixed).height == 1


def test_cells_of_a_text_file_that_could_not_be_read_stay(
    store: OfflineStore, view: FeatureView, tmp_path: Path
) -> None:
    file = tmp_path / "rows.csv"
    file.write_text(
        "origin,temp,wind,time_hour\n"
        "JFK,warm,1,2013-01-01T00:00:00Z\n"
        "JFK,200,1,2013-01-01T01:00:00Z\n"
        "JFK,20,1,2013-01-01T02:00:00Z\n"
    )
    source = FileSource(path="rows.csv", timestamp_field="time_hour", created_timestamp_column=None)
    sourced = replace(view, source=source)
    assert store.ingest(sourced, file, who="ada").quarantined == 2
    fixed = mended(sourced)
    assert storage_id(fixed) != storage_id(sourced)
    assert store.reingest_quarantine(fixed, [sourced], who="ada").written == 1
    left = store.quarantine(fixed, [sourced])
    assert left is not None
    assert left.select(["reason", "unreadable__"]).to_pylist() == [
        {"reason": "temp is not Float64", "unreadable__": "temp=warm"}
    ]


def test_a_load_that_is_made_again_without_bad_rows_has_none_left(
    store: OfflineStore, view: FeatureView, weather_rows: Rows
) -> None:
    store.ingest(view, weather_rows([0], temp=999.0), who="ada", load_id="first")
    table = store.table(view)
    file = table.path.parent / "quarantine" / table.path.name / "second.parquet"
    (file.parent / "first.parquet").rename(file)
    assert store.ingest(view, weather_rows([1]), who="ada", load_id="second").quarantined == 0
    assert store.quarantine(view) is None


def test_bad_values_are_published_and_counted_where_the_view_only_warns(
    store: OfflineStore, view: FeatureView, weather_rows: Rows
) -> None:
    rows = weather_rows(range(5))
    rows[0]["temp"] = 999.0
    rows[1] |= {"temp": 999.0, "origin": None}
    rows[2]["event_timestamp"] = None
    rows[3]["event_timestamp"] = datetime.now(UTC) + timedelta(days=1)
    lenient = replace(view, on_bad_rows="warn")
    assert storage_id(lenient) != storage_id(view)
    report = store.ingest(lenient, rows, who="ada")
    assert (report.read, report.written, report.quarantined) == (5, 2, 3)
    assert report.warned == {"temp is over 140": 1}
    assert "1 with a warning (1 temp is over 140)" in str(report)
    assert sorted(stored(store, lenient)["temp"].to_list()) == [44.0, 999.0]
    assert report.reasons == {
        "origin is null": 1,
        "event_timestamp is null": 1,
        "event_timestamp lies in the future": 1,
    }
