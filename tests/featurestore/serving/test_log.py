"""The serving log: what is in it, and up to when it is complete."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NoReturn

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from structlog.testing import capture_logs

from featurestore.definitions import FeatureView, storage_id
from featurestore.errors import ConfigError, ServingError
from featurestore.serving import log as log_module
from featurestore.serving.log import COMPLETE_TO, SNAPSHOT, ServingLog, remove_finished_watermarks
from featurestore.serving.lookup import LogEntry, Lookups
from featurestore.v1 import serving_pb2 as pb

NOW = datetime(2013, 1, 1, 12, tzinfo=UTC)
NOW_US = (NOW - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def entry(
    lookups: Lookups, request_id: str = "r", service: str = "whole", origins: tuple[str, ...] = ("JFK",)
) -> LogEntry:
    request = pb.GetOnlineFeaturesRequest(service=service, request_id=request_id)
    request.columns.add(name="origin").strings.values.extend(origins)
    if service != "some":
        request.columns.add(name="tailnum").strings.values.extend(["N1"] * len(origins))
    if service == "computed":
        request.columns.add(name="hour").int64s.values.extend([7] * len(origins))
    return lookups.get_online_features(request.SerializeToString()).entry


def rows(folder: Path, service: str) -> list[dict[str, Any]]:
    files = sorted((folder / service).glob("*.parquet"))
    return [row for file in files for row in pq.read_table(file).to_pylist()]


def watermarks(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(file.read_text()) for file in (folder / "watermarks").glob("*.json")]


def test_a_row_of_the_log_has_request_keys_features_statuses_and_event_times(lookups: Lookups, tmp_path: Path) -> None:
    log = ServingLog(tmp_path, now=NOW_US, replay=True)
    log.offer(entry(lookups, "r-1", origins=("JFK", "LGA", "EWR", "XXX")))
    log.close(NOW_US + 1)
    found = rows(tmp_path, "whole")
    plane = {"seats": 180, "plane__status": 1, "plane__event_timestamp": NOW - timedelta(hours=10_000)}
    common = {"request_id": "r-1", "served_at": NOW, "service": "whole@1", "tailnum": "N1", "replay": True, **plane}
    common |= {SNAPSHOT: lookups.store.snapshot(), COMPLETE_TO: None}
    weather = [
        ("JFK", 10.0, 4.0, "clear", 1, NOW - timedelta(hours=3)),
        ("LGA", None, None, None, 3, NOW - timedelta(hours=3, seconds=1)),
        ("EWR", None, 1.0, None, 1, NOW - timedelta(hours=1)),
        ("XXX", None, None, None, 2, None),
    ]
    names = ("origin", "temp", "wind", "sky", "weather__status", "weather__event_timestamp")
    assert found == [
        common | {"row": place} | dict(zip(names, values, strict=True)) for place, values in enumerate(weather)
    ]


def test_the_columns_have_their_types(lookups: Lookups, tmp_path: Path) -> None:
    log = ServingLog(tmp_path, now=NOW_US)
    log.offer(entry(lookups, service="computed"))
    log.close(NOW_US)
    (file,) = (tmp_path / "computed").glob("*.parquet")
    instant = pa.timestamp("us", tz="UTC")
    assert {one.name: one.type for one in pq.read_schema(file)} == {
        "request_id": pa.string(),
        "row": pa.int32(),
        "served_at": instant,
        "service": pa.string(),
        "tailnum": pa.string(),
        "origin": pa.string(),
        "hour": pa.int64(),
        "seats": pa.int64(),
        "plane__status": pa.int8(),
        "plane__event_timestamp": instant,
        "weather__status": pa.int8(),
        "weather__event_timestamp": instant,
        "felt": pa.float64(),
        "label": pa.string(),
        "replay": pa.bool_(),
        SNAPSHOT: pa.int64(),
        COMPLETE_TO: instant,
    }
    (row,) = rows(tmp_path, "computed")
    assert (row["felt"], row["label"], row["hour"], row["replay"]) == (15.0, "clear!", 7, False)


@pytest.mark.parametrize("at_once", [1, 7, 10_000])
def test_many_requests_and_services_are_all_written_once_and_in_order(
    lookups: Lookups, tmp_path: Path, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_module, "_AT_ONCE_ROWS", at_once)
    log = ServingLog(tmp_path, now=NOW_US)
    for index in range(100):
        log.offer(entry(lookups, f"a{index:03}", "whole", ("JFK", "EWR")))
        log.offer(entry(lookups, f"b{index:03}", "some"))
        if index % 10 == 0:
            log.tick(NOW_US + index)
    log.close(NOW_US + 1000)
    whole = [(row["request_id"], row["row"]) for row in rows(tmp_path, "whole")]
    assert whole == [(f"a{index:03}", row) for index in range(100) for row in range(2)]
    assert [row["request_id"] for row in rows(tmp_path, "some")] == [f"b{index:03}" for index in range(100)]
    assert log.dropped == 0
    assert watermarks(tmp_path) == [{"watermark": NOW_US + 1000, "closed": True}]
    assert len(list(tmp_path.glob("whole/*.parquet"))) <= 11, "a write is one file, in however many portions it is made"


def test_a_watermark_is_written_at_the_start_and_after_the_rows_before_it(lookups: Lookups, tmp_path: Path) -> None:
    log = ServingLog(tmp_path, now=NOW_US)
    assert watermarks(tmp_path) == [{"watermark": NOW_US, "closed": False}]
    log.offer(entry(lookups))
    log.tick(NOW_US + 5)
    deadline = time.monotonic() + 20
    while watermarks(tmp_path) != [{"watermark": NOW_US + 5, "closed": False}]:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert len(rows(tmp_path, "whole")) == 1
    log.close(NOW_US + 5)


def test_requests_beyond_the_queue_are_dropped_and_counted(lookups: Lookups, tmp_path: Path) -> None:
    log = ServingLog(tmp_path, now=NOW_US, queue=0)
    for _ in range(3):
        log.offer(entry(lookups))
    log.close(NOW_US)
    assert log.dropped == 3
    assert rows(tmp_path, "whole") == []


def test_the_sample_is_a_share_of_the_requests_and_the_same_for_every_worker(lookups: Lookups, tmp_path: Path) -> None:
    found = []
    for name in ("one", "other"):
        log = ServingLog(tmp_path / name, now=NOW_US, sample=0.25)
        for index in range(400):
            log.offer(entry(lookups, f"request-{index}"))
        log.close(NOW_US)
        found.append([row["request_id"] for row in rows(tmp_path / name, "whole")])
    assert found[0] == found[1]
    assert 60 < len(found[0]) < 140


def test_nothing_is_sampled_at_zero(lookups: Lookups, tmp_path: Path) -> None:
    log = ServingLog(tmp_path, now=NOW_US, sample=0.0)
    log.offer(entry(lookups))
    log.close(NOW_US)
    assert rows(tmp_path, "whole") == []


def test_a_disk_that_refuses_stops_the_log_and_not_the_server(lookups: Lookups, tmp_path: Path) -> None:
    log = ServingLog(tmp_path, now=NOW_US)
    (tmp_path / "whole").write_text("in the way of the folder")
    with capture_logs() as said:
        log.offer(entry(lookups))
        log.offer(entry(lookups, service="some"))
        log.close(NOW_US)
    assert log.dropped == 1
    assert len(rows(tmp_path, "some")) == 1
    assert "serving log cannot be written" in [line["event"] for line in said]


def test_a_row_says_which_state_of_the_store_it_was_read_from(
    lookups: Lookups, views: dict[str, FeatureView], tmp_path: Path
) -> None:
    log = ServingLog(tmp_path, now=NOW_US)
    log.offer(entry(lookups, "before", origins=("JFK", "LGA")))
    before = lookups.store.snapshot()
    lookups.store.replace(storage_id(views["weather"]), [])
    log.offer(entry(lookups, "after"))
    log.close(NOW_US)
    found = [(row["request_id"], row[SNAPSHOT]) for row in rows(tmp_path, "whole")]
    after = lookups.store.snapshot()
    assert found == [("before", before), ("before", before), ("after", after)]
    assert before is not None
    assert after is not None
    assert before < after


@pytest.fixture
def small_disk(tmp_path: Path, lacking: Callable[[str], NoReturn]) -> Iterator[Path]:
    """A filesystem of its own with room for a few files."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=128k", "tmpfs", str(folder)]
    made = subprocess.run(command, capture_output=True, text=True) if shutil.which("mount") else None
    if made is None or made.returncode:
        lacking("a filesystem can be mounted here by root only")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk_loses_counted_requests_and_the_log_goes_on_when_there_is_room(
    lookups: Lookups, small_disk: Path
) -> None:
    log = ServingLog(small_disk, now=NOW_US)
    ballast = small_disk / "ballast"
    with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as out:
        while True:
            out.write(b"x" * 4096)
    with capture_logs() as said:
        for number in range(3):
            log.offer(entry(lookups, f"lost-{number}"))
            log.tick(NOW_US + number)
            wait_until(lambda number=number: log.dropped == number + 1)
        assert [file.name for file in small_disk.rglob("*.parquet")] == []
        ballast.unlink()
        log.offer(entry(lookups, "kept"))
        log.close(NOW_US + 9)
    assert [row["request_id"] for row in rows(small_disk, "whole")] == ["kept"]
    assert watermarks(small_disk) == [{"watermark": NOW_US + 9, "closed": True}]
    assert (log.dropped, log.rows_written, log.waiting) == (3, 1, 0)
    assert log.failed_writes >= 3
    events = [line["event"] for line in said]
    assert events.count("serving log cannot be written") == 1
    assert events.count("serving log is written again") == 1


def wait_until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_no_part_of_a_file_is_ever_visible(lookups: Lookups, tmp_path: Path) -> None:
    log = ServingLog(tmp_path, now=NOW_US)
    log.offer(entry(lookups))
    log.close(NOW_US)
    assert [file.name for file in tmp_path.rglob(".*")] == []


def test_watermarks_of_workers_that_ended_are_removed_and_others_kept(tmp_path: Path) -> None:
    folder = tmp_path / "watermarks"
    folder.mkdir()
    for name, closed, age in (("ended", True, 0), ("dead", False, 120), ("alive", False, 0)):
        file = folder / f"{name}.json"
        file.write_text(json.dumps({"watermark": 1, "closed": closed}))
        os.utime(file, (time.time() - age,) * 2)
    remove_finished_watermarks(tmp_path)
    assert [file.stem for file in folder.iterdir()] == ["alive"]
    remove_finished_watermarks(tmp_path / "absent")


def test_watermarks_that_cannot_be_read_or_removed_are_told_with_the_setting(tmp_path: Path) -> None:
    (tmp_path / "watermarks" / "mine.json").mkdir(parents=True)  # stands for a file that is somebody else's
    with pytest.raises(ConfigError, match=f"The serving log {tmp_path} cannot be written: Is a directory") as caught:
        remove_finished_watermarks(tmp_path)
    assert "log_path" in caught.value.hint


def test_a_watermark_that_cannot_be_understood_stops_no_server(tmp_path: Path) -> None:
    folder = tmp_path / "watermarks"
    folder.mkdir()
    for name, age in (("torn", 0), ("old", 120), (".part", 120)):
        (folder / f"{name}.json").write_text("{")
        os.utime(folder / f"{name}.json", (time.time() - age,) * 2)
    remove_finished_watermarks(tmp_path)
    assert sorted(file.name for file in folder.iterdir()) == [".part.json", "torn.json"]


def test_a_folder_that_cannot_be_written_is_said_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("not a folder")
    with pytest.raises(ServingError, match="log cannot be written: Not a directory") as caught:
        ServingLog(tmp_path / "log", now=NOW_US)
    assert "log_path" in caught.value.hint


def test_a_row_that_cannot_be_read_costs_its_file_and_not_the_log(lookups: Lookups, tmp_path: Path) -> None:
    log = ServingLog(tmp_path, now=NOW_US, replay=True)
    good = entry(lookups, "good")
    torn = [[one._replace(record=one.record and one.record[:8]) for one in rows] for rows in good.rows]
    log.offer(good._replace(request_id="bad", rows=torn))
    log.tick(NOW_US + 1)
    deadline = time.monotonic() + 10
    while log.dropped == 0:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    log.offer(good)
    log.close(NOW_US + 2)
    assert [row["request_id"] for row in rows(tmp_path, "whole")] == ["good"]
    assert watermarks(tmp_path) == [{"watermark": NOW_US + 2, "closed": True}]
