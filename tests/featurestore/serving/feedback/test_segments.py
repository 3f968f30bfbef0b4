"""The files of predictions and outcomes: shared by calls, whole, merged, and refused by a disk that is full."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from structlog.testing import capture_logs

from featurestore.errors import OfflineStoreError
from featurestore.serving.feedback import PREDICTIONS, FeedbackLog, predictions
from featurestore.serving.feedback.segments import merge_level, segments
from featurestore.serving.folder_lock import rewriting
from tests import forking

ROWS = {"prediction_id": "p", "number": 0.5}


def ids(folder: Path) -> list[str]:
    return predictions(folder, "churn").column("prediction_id").to_pylist()


def test_a_row_is_in_a_file_when_its_call_returns(rows: Any, tmp_path: Path) -> None:
    log = FeedbackLog(tmp_path)
    assert log.add(PREDICTIONS, "churn", rows(PREDICTIONS, ROWS)).result(10) == 1
    (file,) = segments(tmp_path / "predictions" / "churn")
    (row,) = pq.read_table(file).to_pylist()
    assert (row["prediction_id"], row["model"]) == ("p", "churn@3")
    assert abs(row["logged_at"].timestamp() - time.time()) < 60
    log.close()


def test_many_calls_share_files(rows: Any, tmp_path: Path) -> None:
    log = FeedbackLog(tmp_path, interval=0.2)
    tables = [rows(PREDICTIONS, ROWS | {"prediction_id": f"p{number:03}"}) for number in range(200)]
    started = time.monotonic()
    done = [log.add(PREDICTIONS, "churn", table) for table in tables]
    assert sum(one.result(10) for one in done) == 200
    took = time.monotonic() - started
    log.close()
    assert len(segments(tmp_path / "predictions" / "churn")) <= 2 + took / 0.2
    assert ids(tmp_path) == [f"p{number:03}" for number in range(200)]


def test_one_call_alone_does_not_wait_for_others(rows: Any, tmp_path: Path) -> None:
    log = FeedbackLog(tmp_path, interval=60)
    log.add(PREDICTIONS, "churn", rows(PREDICTIONS, ROWS)).result(10)
    waiting = log.add(PREDICTIONS, "churn", rows(PREDICTIONS, ROWS))
    log.close()  # which writes what waits
    assert waiting.result(0) == 1
    with pytest.raises(OfflineStoreError, match="closed"):
        log.add(PREDICTIONS, "churn", rows(PREDICTIONS, ROWS))


def test_a_disk_that_refuses_refuses_its_calls_and_takes_later_ones(rows: Any, tmp_path: Path) -> None:
    (tmp_path / "predictions").mkdir()
    (tmp_path / "predictions" / "churn").write_text("in the way of the folder")
    log = FeedbackLog(tmp_path)
    with capture_logs() as said:
        refused = log.add(PREDICTIONS, "churn", rows(PREDICTIONS, ROWS))
        with pytest.raises(OfflineStoreError, match="predictions of churn cannot be written: ") as caught:
            refused.result(10)
    assert "send it again" in caught.value.hint
    assert [one["event"] for one in said] == ["feedback cannot be written"]
    (tmp_path / "predictions" / "churn").unlink()
    assert log.add(PREDICTIONS, "churn", rows(PREDICTIONS, ROWS)).result(10) == 1
    log.close()


def test_no_more_rows_wait_for_a_slow_disk_than_memory_is_for(
    rows: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("featurestore.serving.feedback.segments._MOST_WAITING", 3)
    log = FeedbackLog(tmp_path, interval=60)
    log.add(PREDICTIONS, "churn", rows(PREDICTIONS, ROWS)).result(10)
    waiting = [log.add(PREDICTIONS, "churn", rows(PREDICTIONS, ROWS)) for _ in range(3)]
    with pytest.raises(OfflineStoreError, match="3 rows wait for the disk"):
        log.add(PREDICTIONS, "churn", rows(PREDICTIONS, ROWS))
    log.close()
    assert [one.result(0) for one in waiting] == [1, 1, 1]


def test_small_files_become_few_and_no_row_is_lost_or_doubled_for_a_reader(rows: Any, tmp_path: Path) -> None:
    log = FeedbackLog(tmp_path, interval=0)
    seen: list[list[str]] = []
    ended = threading.Event()

    def read() -> None:
        while not ended.is_set():
            seen.append(ids(tmp_path))

    reader = threading.Thread(target=read)
    reader.start()
    written = []
    for number in range(150):
        written.append(f"p{number:03}")
        log.add(PREDICTIONS, "churn", rows(PREDICTIONS, ROWS | {"prediction_id": written[-1]})).result(10)
    log.close()
    ended.set()
    reader.join()
    assert ids(tmp_path) == written
    assert all(one == written[: len(one)] for one in seen)
    assert len(segments(tmp_path / "predictions" / "churn")) < 100
    assert {one.name.split("-")[1] for one in segments(tmp_path / "predictions" / "churn")} >= {"1"}


def test_a_merge_keeps_the_age_of_its_newest_rows_and_leaves_what_others_hold(rows: Any, tmp_path: Path) -> None:
    folder = tmp_path / "predictions" / "churn"
    folder.mkdir(parents=True)
    for number in range(32):
        pq.write_table(rows(PREDICTIONS, ROWS | {"prediction_id": f"{number}"}), folder / f"w-0-{number:08d}.parquet")
    newest = max(one.stat().st_mtime_ns for one in segments(folder))
    with rewriting(folder, wait=True) as mine, rewriting(folder, wait=False) as others:
        assert (mine, others) == (True, False)
        assert merge_level(folder, "w", 0)
        assert not merge_level(folder, "w", 1)
    (merged,) = segments(folder)
    assert merged.name == "w-1-00000031.parquet"
    assert merged.stat().st_mtime_ns == newest
    assert pq.read_metadata(merged).num_rows == 32


#: Logs one row after another, and says each once it is acknowledged.
PROGRAM = """
import sys
from pathlib import Path
import pyarrow as pa
from featurestore.serving.feedback import PREDICTIONS, FeedbackLog
log = FeedbackLog(Path(sys.argv[1]), interval=0)
for number in range(100_000):
    row = {name: None for name in PREDICTIONS.stored.names} | {"prediction_id": str(number), "number": 1.0}
    log.add(PREDICTIONS, "churn", pa.Table.from_pylist([row], schema=PREDICTIONS.stored)).result()
    print(number, flush=True)
"""


def test_what_is_acknowledged_survives_a_kill(tmp_path: Path) -> None:
    for turn in range(3):
        folder = tmp_path / str(turn)
        process = forking.Forked([sys.executable, "-c", PROGRAM, str(folder)], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        said = [process.stdout.readline() for _ in range(20 + 25 * turn)]
        process.kill()
        last = (said + process.stdout.read().splitlines())[-1]
        process.stdout.close()
        process.wait()
        assert set(ids(folder)) >= {str(number) for number in range(int(last) + 1)}
