"""The newest rows of a serving log, and those that come."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from featurestore.errors import ServingError
from featurestore.serving.log import SNAPSHOT, ServingLog, write_watermark
from featurestore.serving.log_tail import LogTail, Row, logged_services
from featurestore.serving.lookup import LogEntry, Lookups
from featurestore.v1 import serving_pb2 as pb

#: 2023; the clock of a live server.
NOW = 1_700_000_000_000_000
SECOND = 1_000_000

Write = Callable[..., None]


@pytest.fixture
def write(lookups: Lookups, tmp_path: Path) -> Write:
    """Write a file of the log: one request for each second given, by a worker that closes its log."""

    def write(*seconds: int, service: str = "some", origins: tuple[str, ...] = ("JFK",), replay: bool = False) -> None:
        log = ServingLog(tmp_path, now=NOW, replay=replay)
        for second in seconds:
            log.offer(_entry(lookups, f"r{second}", service, origins)._replace(served_at=NOW + second * SECOND))
        log.close(NOW + max(seconds, default=0) * SECOND)
        for file in tmp_path.glob("*/*.parquet"):
            if file.stat().st_mtime > NOW / SECOND + 10_000:  # written just now, as of then
                os.utime(file, (NOW / SECOND + max(seconds) + 1,) * 2)

    return write


def _entry(lookups: Lookups, request_id: str, service: str, origins: tuple[str, ...]) -> LogEntry:
    request = pb.GetOnlineFeaturesRequest(service=service, request_id=request_id)
    request.columns.add(name="origin").strings.values.extend(origins)
    if service == "whole":
        request.columns.add(name="tailnum").strings.values.extend(["N1"] * len(origins))
    return lookups.get_online_features(request.SerializeToString()).entry


def names(rows: list[Row]) -> list[tuple[str, int]]:
    return [(row["request_id"], row["row"]) for row in rows]


def test_the_newest_rows_come_in_the_order_of_the_instants_at_which_they_were_served(
    write: Write, tmp_path: Path
) -> None:
    write(1, 5, 9)
    write(2, 6, 8, service="whole")
    write(3, 4, 7)
    assert names(LogTail(tmp_path).newest(5)) == [("r5", 0), ("r6", 0), ("r7", 0), ("r8", 0), ("r9", 0)]
    assert names(LogTail(tmp_path, "whole").newest(2)) == [("r6", 0), ("r8", 0)]
    assert names(LogTail(tmp_path, "some@1").newest(100)) == [
        ("r1", 0),
        ("r3", 0),
        ("r4", 0),
        ("r5", 0),
        ("r7", 0),
        ("r9", 0),
    ]
    assert LogTail(tmp_path, "some@2").newest(5) == []
    assert logged_services(tmp_path) == ["some", "whole"]


def test_of_a_request_that_does_not_fit_the_last_rows_are_shown(write: Write, tmp_path: Path) -> None:
    write(1, 2, origins=("JFK", "EWR", "LGA"))
    assert names(LogTail(tmp_path).newest(4)) == [("r1", 2), ("r2", 0), ("r2", 1), ("r2", 2)]


@given(st.lists(st.lists(st.integers(0, 50), min_size=1, max_size=5), max_size=5), st.integers(1, 12))
def test_whatever_lies_in_which_file_the_newest_are_found(files: list[list[int]], count: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "svc").mkdir()
        for number, seconds in enumerate(files):
            table = pa.table(
                {
                    "served_at": pa.array([NOW + one * SECOND for one in seconds], pa.timestamp("us", "UTC")),
                    "request_id": [f"{number}-{place}" for place in range(len(seconds))],
                    "row": pa.array([0] * len(seconds), pa.int32()),
                    "service": ["svc@1"] * len(seconds),
                    "replay": [False] * len(seconds),
                }
            )
            file = Path(folder) / "svc" / f"{number}.parquet"
            pq.write_table(table, file)
            os.utime(file, (NOW / SECOND + max(seconds) + 0.5,) * 2)
        found = [row["served_at"] for row in LogTail(Path(folder)).newest(count)]
    expected = sorted(second for seconds in files for second in seconds)[-count:]
    assert [round(one.timestamp() - NOW / SECOND) for one in found] == expected


def test_a_rehearsal_whose_clock_is_another_is_shown_too(write: Write, tmp_path: Path) -> None:
    write(100, replay=True)
    write(5, replay=True)
    for file in tmp_path.glob("*/*.parquet"):  # written long before the clock of the rehearsal
        os.utime(file, (1_000,) * 2)
    assert names(LogTail(tmp_path).newest(1)) == [("r100", 0)]


def test_a_log_that_is_not_there_has_no_rows(tmp_path: Path) -> None:
    assert LogTail(tmp_path / "absent").newest(3) == []
    assert logged_services(tmp_path / "absent") == []


def test_a_file_of_an_earlier_release_is_read_like_any(write: Write, tmp_path: Path) -> None:
    write(1)
    (file,) = tmp_path.glob("some/*.parquet")
    before = pq.read_table(file).drop_columns([SNAPSHOT])
    pq.write_table(before, file)
    write(2)
    assert names(LogTail(tmp_path).newest(5)) == [("r1", 0), ("r2", 0)]


def test_a_damaged_file_is_named(write: Write, tmp_path: Path) -> None:
    write(1)
    (file,) = tmp_path.glob("some/*.parquet")
    file.write_bytes(b"PAR1 torn")
    with pytest.raises(ServingError, match="is damaged") as caught:
        LogTail(tmp_path).newest(1)
    assert str(file) in caught.value.message


class Steps:
    """Takes the place of waiting: each wait does the next step."""

    def __init__(self, *steps: Callable[[], object]) -> None:
        self._steps = iter(steps)

    def __call__(self, _: float) -> None:
        next(self._steps)()


def followed(log: LogTail, *steps: Callable[[], object]) -> Iterator[Row]:
    """Return the rows that come until the steps are done."""
    rows = log.follow(Steps(*steps))
    while True:
        try:
            yield next(rows)
        except RuntimeError:  # what a generator makes of the end of the steps
            return


def test_rows_that_are_written_later_follow_once_each(write: Write, tmp_path: Path) -> None:
    write(1, 2)
    log = LogTail(tmp_path)
    assert names(log.newest(1)) == [("r2", 0)]
    rows = followed(log, lambda: write(3, 4), lambda: None, lambda: write(5, service="whole"), lambda: None)
    assert names(list(rows)) == [("r3", 0), ("r4", 0), ("r5", 0)]


def test_a_row_waits_for_older_ones_of_a_worker_that_is_behind(write: Write, tmp_path: Path) -> None:
    write_watermark(tmp_path, "slow", NOW + 2 * SECOND, closed=False)
    log = LogTail(tmp_path)
    order: list[str] = []

    def catch_up() -> None:
        order.append("caught up")
        write(3)
        write_watermark(tmp_path, "slow", NOW + 10 * SECOND, closed=False)

    rows = followed(log, lambda: write(4), lambda: None, catch_up, lambda: None)
    order += [row["request_id"] for row in rows]
    assert order == ["caught up", "r3", "r4"]


def test_a_worker_that_died_holds_rows_back_for_a_moment_only(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_watermark(tmp_path, "dead", NOW, closed=False)
    write(4)
    real = time.monotonic
    late = [0.0]
    monkeypatch.setattr("featurestore.serving.log_tail.time.monotonic", lambda: real() + late[0])
    log = LogTail(tmp_path)
    rows = followed(log, lambda: late.__setitem__(0, 6.0), lambda: None)
    assert names(list(rows)) == [("r4", 0)]
