"""The log's watermark, and the windows and profiles that are read from it."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from featurestore.errors import MonitorError
from featurestore.profiles import fit_bins, profile
from featurestore.serving import log_merging
from featurestore.serving.log import SNAPSHOT
from featurestore.serving.log_files import Writes, name_of
from featurestore.serving.log_merging import GRACE_SECONDS, SETTLED_SECONDS, LogMerger
from featurestore.settings.sections import MonitorConfig
from monitor.windows import Cut, Position, ServingLog, Window, parquet_rows, profiled

_DAY = timedelta(days=1)
_START = datetime(2013, 7, 1, tzinfo=UTC)
_NOW = datetime(2026, 5, 1, tzinfo=UTC)


def _log(scene: Any) -> ServingLog:
    return ServingLog(scene.config)


def _closed(log: ServingLog, mark: datetime, *, since: Position | None = None) -> tuple[list[Window], datetime]:
    """Return the closed windows of a day, and where the next one begins."""
    closed = log.stream("flight_delay@1").closed_windows(Cut(size=_DAY), since=since, watermark=mark)
    assert closed.position is not None
    return list(closed.windows), closed.position.instant


def test_the_watermark_is_that_of_the_slowest_worker_at_work(scene: Any) -> None:
    scene.mark(_START + 3 * _DAY, worker="a")
    scene.mark(_START + 2 * _DAY, worker="b")
    scene.mark(_START, worker="done", closed=True)
    scene.mark(_START, worker="dead", age=61)
    assert _log(scene).watermark(now=_NOW) == _START + 2 * _DAY


def test_with_no_worker_at_work_a_live_log_is_complete_up_to_now(scene: Any) -> None:
    assert _log(scene).watermark(now=_NOW) == _NOW
    scene.mark(_START, closed=True)
    assert _log(scene).watermark(now=_NOW) == _NOW


def test_with_no_worker_at_work_a_replay_ends_where_its_last_worker_ended(scene: Any) -> None:
    replayed = scene.replayed()
    assert _log(replayed).watermark(now=_NOW) is None
    replayed.mark(_START + _DAY, worker="a", closed=True)
    replayed.mark(_START + 2 * _DAY, worker="b", closed=True)
    assert _log(replayed).watermark(now=_NOW) == _START + 2 * _DAY


def test_a_window_is_closed_when_the_watermark_has_passed_its_end_and_the_lateness(scene: Any) -> None:
    scene.serve_days(0, 3)
    config = scene.config.model_copy(update={"monitor": MonitorConfig(lateness_seconds=60)})
    log = ServingLog(config)
    mark = _START + 2 * _DAY + timedelta(seconds=59)
    windows, end = _closed(log, mark)
    assert [one.start for one in windows] == [_START]
    assert end == _START + _DAY
    mark += timedelta(seconds=1)
    windows, end = _closed(log, mark)
    assert [(one.start, one.end, one.rows) for one in windows] == [
        (_START, _START + _DAY, 200),
        (_START + _DAY, _START + 2 * _DAY, 200),
    ]
    assert end == _START + 2 * _DAY


def test_windows_without_rows_are_left_out_and_passed_over(scene: Any) -> None:
    scene.serve_days(0, 1)
    scene.serve_days(5, 1)
    log = _log(scene)
    windows, end = _closed(log, _START + 9 * _DAY, since=Position(_START + _DAY))
    assert [one.start for one in windows] == [_START + 5 * _DAY]
    assert end == _START + 9 * _DAY


def test_a_row_at_a_boundary_belongs_to_the_window_that_starts_there(scene: Any) -> None:
    rows = scene.rows(_START, 2, span=2 * _DAY)
    scene.serve(rows)
    windows, _ = _closed(_log(scene), _START + 2 * _DAY)
    assert [(one.start, one.rows) for one in windows] == [(_START, 1), (_START + _DAY, 1)]


def test_rows_of_a_window_are_profiled_wherever_they_lie(scene: Any) -> None:
    day = scene.rows(_START, 500)
    other = scene.rows(_START, 50, service="flight_delay@2")
    scene.serve(day.slice(0, 200))
    scene.serve(pa.concat_tables([day.slice(200), scene.rows(_START + _DAY), other]))
    scene.serve(scene.rows(_START), name=".half-written.parquet")
    log = _log(scene)
    (window,), _ = _closed(log, _START + _DAY)
    fields = [one for fields in scene.policy.definition.service.outputs.values() for one in fields]
    bins = fit_bins(day, fields)
    found = profiled(log.stream(window.subject), window, bins)
    assert window.rows == found.rows == 500
    assert (found.counts == profile(day, bins).counts).all()


def test_values_that_were_not_served_count_as_nulls_and_so_does_a_missing_column(scene: Any) -> None:
    rows = scene.rows(_START, 300, missing=0.4)
    scene.serve(rows.drop_columns(["wind"]))
    log = _log(scene)
    (window,), _ = _closed(log, _START + _DAY)
    fields = [one for fields in scene.policy.definition.service.outputs.values() for one in fields]
    found = profiled(log.stream(window.subject), window, fit_bins(rows, fields))
    assert found.nulls("temp") == pc.sum(pc.not_equal(rows.column("weather__status"), 1)).as_py() > 0
    assert found.nulls("wind") == 300


def test_files_of_a_release_that_wrote_no_snapshot_count_beside_those_of_one_that_does(scene: Any) -> None:
    before, after = scene.rows(_START, 100), scene.rows(_START + _DAY / 2, 100, span=_DAY / 2)
    scene.serve(before)
    scene.serve(after.append_column(SNAPSHOT, pa.array([7] * 100, pa.int64())))
    log = _log(scene)
    (window,), _ = _closed(log, _START + _DAY)
    fields = [one for fields in scene.policy.definition.service.outputs.values() for one in fields]
    assert window.rows == profiled(log.stream(window.subject), window, fit_bins(before, fields)).rows == 200
    sample = log.sample("flight_delay@1", 200)
    assert sorted(sample.column(SNAPSHOT).to_pylist(), key=str) == [7] * 100 + [None] * 100


def test_services_are_the_versions_that_have_rows(scene: Any) -> None:
    assert _log(scene).services("flight_delay") == []
    scene.serve(pa.concat_tables([scene.rows(_START, service="flight_delay@2"), scene.rows(_START)]))
    assert _log(scene).services("flight_delay") == ["flight_delay@1", "flight_delay@2"]


@pytest.mark.parametrize("rows", [1, 57, 10_000])
def test_a_sample_is_the_same_each_time(scene: Any, rows: int) -> None:
    scene.serve_days(0, 2)
    log = _log(scene)
    first = log.sample("flight_delay@1", rows)
    assert first.num_rows == min(rows, 400)
    assert first.equals(log.sample("flight_delay@1", rows))


def test_a_sample_of_one_version_is_read_in_its_types_whatever_other_versions_hold(scene: Any) -> None:
    scene.serve(scene.rows(_START))
    later = scene.rows(_START, service="flight_delay@2")
    place = later.schema.get_field_index("hour")
    scene.serve(later.set_column(place, "hour", pa.array([b"noon"] * later.num_rows)))
    assert _log(scene).sample("flight_delay@1", 10_000).schema.field("hour").type == pa.int64()
    assert _log(scene).sample("flight_delay@2", 10_000).schema.field("hour").type == pa.binary()


@pytest.mark.parametrize("content", [b"", b"PAR1 and then nothing"])
def test_a_damaged_file_of_the_log_is_named_with_the_mend(scene: Any, content: bytes) -> None:
    scene.serve_days(0, 1)
    (scene.log / "flight_delay" / "torn.parquet").write_bytes(content)
    with pytest.raises(MonitorError, match=r"torn\.parquet in the serving log is damaged") as caught:
        _log(scene).services("flight_delay")
    assert "Move it" in caught.value.hint


@pytest.mark.parametrize("content", ["", "{", "[]", "7", '{"watermark": 1}', '{"watermark": null, "closed": false}'])
def test_a_watermark_that_cannot_be_understood_is_named_and_one_of_a_dead_worker_is_not_missed(
    scene: Any, content: str
) -> None:
    scene.mark(_START)
    file = scene.log / "watermarks" / "torn.json"
    file.write_text(content)
    with pytest.raises(MonitorError, match=r"torn\.json is not a watermark"):
        _log(scene).watermark(now=_START)
    os.utime(file, (0, 0))
    assert _log(scene).watermark(now=_START + _DAY) == _START


def test_files_that_were_merged_and_went_while_a_run_goes_on_are_found_again(
    scene: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_merging, "FAN", 2)
    for number in range(1, 5):
        scene.serve(scene.rows(_START + number * _DAY), name_of(Writes("abc", "1", number, number)))
    stream = _log(scene).stream("flight_delay@1")
    window = stream.period(None, None)
    later = datetime.now(UTC).timestamp() + SETTLED_SECONDS + 1
    LogMerger(scene.log).turn(now=later)
    LogMerger(scene.log).turn(now=later + GRACE_SECONDS)
    (merged,) = (scene.log / "flight_delay").glob("*.parquet")
    monkeypatch.setattr(parquet_rows, "_FRESH_SECONDS", -1.0)  # so much later it is
    assert stream.files(window) == [str(merged)]
    assert stream.period(_START - 9 * _DAY, _START - 8 * _DAY).rows == 0
    assert stream.closed_windows(Cut(size=_DAY), since=None, watermark=_START).windows == ()
    with stream.read(window, ["served_at"]) as reader:
        assert reader.read_all().num_rows == window.rows == 800
