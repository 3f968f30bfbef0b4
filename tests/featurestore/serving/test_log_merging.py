"""The small files of a serving log become large ones: each row counts once, whoever looks, and whenever."""

from __future__ import annotations

import os
import shutil
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from featurestore.serving import log_merging
from featurestore.serving.folder_lock import rewriting
from featurestore.serving.log_files import (
    Writes,
    counted,
    is_merged_of,
    log_files,
    name_of,
    reached_by,
    service_folders,
    writes_of,
)
from featurestore.serving.log_merging import FAN, GRACE_SECONDS, SETTLED_SECONDS, LogMerger, Merged
from featurestore.serving.log_tail import LogTail
from featurestore.storage import durable

WORKER, OTHER = "0123456789ab", "fedcba987654"
DAY = 86_400
#: A morning of some days ago; instants are of a clock that the tests set.
MORNING = (int(time.time()) // DAY - 3) * DAY + 8 * 3600.0
INSTANT = pa.timestamp("us", "UTC")


class Log:
    """A log of one service that workers write into, and what is right to be found in it.

    Args:
        folder: the log's.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.service = folder / "churn"
        self.service.mkdir(parents=True)
        self.merger = LogMerger(folder)
        self.now = MORNING
        self.numbers: dict[tuple[str, int], int] = {}
        self.rows: list[str] = []

    def write(self, worker: str = WORKER, version: int = 1, *, rows: int = 1, seconds: float = 1.0) -> Path:
        number = self.numbers[worker, version] = self.numbers.get((worker, version), 0) + 1
        ids = [f"{worker}-{version}-{number}-{row}" for row in range(rows)]
        self.now += seconds
        served = [round(self.now * 1e6) - rows + row for row in range(rows)]
        table = pa.table(
            {
                "request_id": pa.array(ids, pa.string()),
                "row": pa.array([0] * rows, pa.int32()),
                "served_at": pa.array(served, pa.int64()).cast(INSTANT),
                "service": pa.array([f"churn@{version}"] * rows, pa.string()),
                "replay": pa.array([False] * rows),
                f"amount{version}": pa.array([float(number)] * rows),
            }
        )
        file = self.service / name_of(Writes(worker, str(version), number, number))
        pq.write_table(table, file)
        os.utime(file, (self.now, self.now))
        self.rows += ids
        return file

    def fill(self, **more: Any) -> None:
        for _ in range(FAN):
            self.write(**more)

    def merge(self, *, after: float = 2 * SETTLED_SECONDS) -> Merged:
        return self.merger.turn(now=self.now + after)

    def files(self) -> list[str]:
        return [one.name for one in log_files(self.service)]

    def all_files(self) -> list[str]:
        return sorted(one.name for one in self.service.glob("*.parquet"))

    def found(self) -> list[str]:
        return [row for file in log_files(self.service) for row in pq.read_table(file)["request_id"].to_pylist()]


@pytest.fixture
def log(tmp_path: Path) -> Log:
    return Log(tmp_path / "log")


def test_so_many_files_of_one_worker_become_one(log: Log) -> None:
    for _ in range(FAN - 1):
        log.write()
    assert log.merge() == (0, 0, 0)
    log.write()
    assert log.merge() == (FAN, 1, 0)
    assert log.files() == [f"{WORKER}-v1-00000001-000000{FAN}.parquet"]
    assert log.found() == log.rows, "in their order"
    assert log.merge() == (0, 0, 0), "there is nothing more to do"


def test_and_so_many_of_those_become_one_again(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_merging, "FAN", 4)
    for number in range(1, 70):
        log.write()
        log.merge()
        sizes = [writes.many for name in log.files() if (writes := writes_of(name)) is not None]
        # Of each size, 1, 4, 16 or 64, four are merged by the next turn.
        assert all(sizes.count(size) <= 4 for size in sizes)
        assert sum(sizes) == number
        assert log.found() == log.rows
    while log.merge().files:
        pass
    assert writes_of(log.files()[0]) == Writes(WORKER, "1", 1, 64)


def test_what_is_left_of_a_day_that_is_over_becomes_one(log: Log) -> None:
    for _ in range(3):
        log.write()
    log.write(seconds=DAY)
    log.write()
    assert log.merge() == (3, 1, 0)
    assert log.files() == [name_of(Writes(WORKER, "1", *pair)) for pair in ((1, 3), (4, 4), (5, 5))]
    log.merge(after=DAY)
    assert log.files() == [name_of(Writes(WORKER, "1", *pair)) for pair in ((1, 3), (4, 5))]
    assert log.found() == log.rows


def test_workers_and_versions_stay_apart(log: Log) -> None:
    for _ in range(FAN):
        for worker in (WORKER, OTHER):
            for version in (1, 2):
                log.write(worker, version)
    assert log.merge() == (4 * FAN, 4, 0)
    for name in log.files():
        rows = pq.read_table(log.service / name)
        assert len(set(rows["service"].to_pylist())) == 1, "by its footer it is known whose rows a file has"
        assert pq.read_metadata(log.service / name).row_group(0).column(3).statistics.has_min_max
    assert sorted(log.found()) == sorted(log.rows)


def test_what_was_written_just_now_is_left_to_those_who_follow(log: Log) -> None:
    log.fill(seconds=0.0)
    assert log.merge(after=SETTLED_SECONDS - 1) == (0, 0, 0)
    assert log.merge(after=SETTLED_SECONDS) == (FAN, 1, 0)


def test_what_was_merged_goes_later_as_somebody_may_read_it(log: Log) -> None:
    log.fill()
    before = log_files(log.service)
    log.merge()
    now = time.time()
    assert log.merger.turn(now=now).removed == 0
    assert [one.name for one in before if one.exists()] == [one.name for one in before]
    assert log.merger.turn(now=now + GRACE_SECONDS + 10) == (0, 0, FAN)
    assert log.all_files() == log.files()
    assert log.found() == log.rows


def test_retention_goes_by_when_rows_were_written(log: Log) -> None:
    log.fill()
    log.merge()
    (merged,) = log_files(log.service)
    assert merged.stat().st_mtime == log.now


def test_a_file_is_no_larger_than_it_has_to_be(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    size = log.write().stat().st_size
    monkeypatch.setattr(log_merging, "LARGE_BYTES", 5 * size + size // 2)
    for _ in range(2 * FAN):
        log.write()
    while log.merge().files:
        pass
    merged = [one for one in log_files(log.service) if (writes := writes_of(one.name)) and writes.many > 1]
    assert len(merged) > 1
    assert all(one.stat().st_size <= 5 * size + size // 2 for one in merged)
    assert log.found() == log.rows


def test_a_large_file_has_parts_and_is_never_whole_in_memory(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_merging, "_GROUP_ROWS", 100)
    log.fill(rows=30)
    log.merge()
    (merged,) = log_files(log.service)
    assert pq.read_metadata(merged).num_row_groups == -(-FAN * 30 // 120)
    assert log.found() == log.rows


@pytest.mark.parametrize("damage", ["cut", "inner", "other columns"])
def test_a_damaged_file_stays_as_it_is_and_is_in_nobodys_range(log: Log, damage: str) -> None:
    files = [log.write(rows=400) for _ in range(3 * FAN)]
    middle = files[FAN + 5]
    data = bytearray(middle.read_bytes())
    if damage == "cut":
        data = data[:20]
    elif damage == "inner":
        data[4:400] = bytes(396)
    if damage == "other columns":
        pq.write_table(pq.read_table(middle).append_column("more", pa.array([1] * 400)), middle)
    else:
        middle.write_bytes(data)
    os.utime(middle, (log.now, log.now))
    log.merge()
    log.merge()
    assert middle.name in log.files()
    sound = [file for file in log_files(log.service) if file != middle]
    rows = [row for file in sound for row in pq.read_table(file)["request_id"].to_pylist()]
    assert rows == [row for row in log.rows if f"-1-{FAN + 6}-" not in row]


def test_other_files_are_nobodys_business(log: Log) -> None:
    log.write()
    for name in ("0123456789ab-00000001.parquet", "mine.parquet", ".0123456789ab-v1-00000002.parquet.1"):
        shutil.copy(log_files(log.service)[0], log.service / name)
    (log.folder / "watermarks").mkdir()
    log.merge(after=2 * DAY)
    assert len(log.all_files()) == 3
    assert len(log.files()) == 3
    assert [one.name for one in service_folders(log.folder)] == ["churn"]
    assert log_files(log.folder / "absent") == []


def test_a_folder_that_is_written_anew_is_passed_over(log: Log) -> None:
    log.fill()
    with rewriting(log.service, wait=True):
        assert log.merge() == (0, 0, 0)
    assert log.merge() == (FAN, 1, 0)


@pytest.mark.parametrize("calls", [1, FAN, FAN + 1, 2 * FAN])
def test_it_ends_when_it_is_told_to_also_in_the_middle(log: Log, calls: int) -> None:
    for worker in (WORKER, OTHER):
        for _ in range(FAN):
            log.write(worker)
    asked = 0

    def rest() -> bool:
        nonlocal asked
        asked += 1
        return asked >= calls

    done = log.merger.turn(now=log.now + 120, rest=rest)
    assert done.into == (calls > FAN)
    assert sorted(log.found()) == sorted(log.rows)
    assert not list(log.service.glob(".*.parquet*"))
    log.merge()
    assert len(log.files()) == 2


def test_where_the_disk_refuses_nothing_is_lost_and_other_services_go_on(
    log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    log.fill()
    shutil.copytree(log.service, log.folder / "aside")

    def full(path: Path) -> None:
        if path.parent.name == "aside":
            raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched, capture_logs() as said:
        patched.setattr(durable, "sync", full)
        assert log.merge() == (FAN, 1, 0)
    assert [(one["event"], Path(one["folder"]).name) for one in said] == [("serving log cannot be merged", "aside")]
    assert len(log_files(log.folder / "aside")) == FAN
    assert not list(log.folder.glob("*/.*.parquet*"))
    assert log.merge() == (FAN, 1, 0)


def test_a_lock_that_cannot_be_made_is_told_and_another_users_is_held_all_the_same(log: Log) -> None:
    log.fill()
    (log.service / "lock").mkdir()
    with capture_logs() as said:
        assert log.merge() == (0, 0, 0)
    assert "lock cannot be made" in said[0]["error"]
    (log.service / "lock").rmdir()
    with pytest.MonkeyPatch.context() as patched:
        given = Path.open

        def refused(path: Path, mode: str = "r", **more: Any) -> Any:
            if path.name == "lock" and mode == "a":
                raise PermissionError(13, "Permission denied")
            return given(path, mode, **more)

        patched.setattr(Path, "open", refused)
        assert log.merge() == (0, 0, 0)
        (log.service / "lock").touch()
        assert log.merge() == (FAN, 1, 0)


def test_files_that_go_meanwhile_are_no_fault(log: Log) -> None:
    log.fill()
    log.merge()
    listed = log_merging._listed(log.service)
    for file in log_files(log.service):  # by age, as of retention
        file.unlink()
    hidden = [one for one in listed if one.writes.many == 1]
    assert log_merging._remove(hidden, listed, time.time() + DAY) == 0
    hidden[3].path.unlink()
    with capture_logs() as said, pytest.raises(log_merging._EndedError):
        log_merging._merge(hidden, lambda: False)
    assert said == []


def test_parts_are_bounded_by_their_bytes(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_merging, "_GROUP_BYTES", 20_000)
    log.fill(rows=1_000)
    log.merge()
    (merged,) = log_files(log.service)
    footer = pq.read_metadata(merged)
    assert all(footer.row_group(number).total_byte_size < 60_000 for number in range(footer.num_row_groups))
    assert footer.num_row_groups > FAN
    assert log.found() == log.rows


def test_who_follows_and_stands_still_for_long_sees_each_row_once(log: Log) -> None:
    seen: list[str] = []
    looks = iter((20, FAN - 20, 0))

    def wait(_: float) -> None:
        for _ in range(next(looks)):
            log.write(rows=2)
        if len(log.rows) == 2 * FAN:
            log.merge()

    with suppress(RuntimeError):  # a generator that StopIteration leaves
        seen.extend(row["request_id"] for row in LogTail(log.folder).follow(wait))
    assert seen == log.rows


STEPS = st.lists(
    st.tuples(
        st.sampled_from(("write", "write", "write", "many", "merge", "wait", "next day", "erase", "remove")),
        st.sampled_from((WORKER, OTHER)),
        st.integers(1, 2),
    ),
    max_size=40,
)


class _OverError(Exception):
    """All steps are done."""


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(STEPS, st.integers(2, 4))
def test_each_row_counts_once_at_any_instant(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, str, int]], fan: int
) -> None:
    log = Log(tmp_path_factory.mktemp("merging") / "log")
    remaining, seen = iter(steps), list[str]()

    def next_step(_: float) -> None:
        assert sorted(log.found()) == sorted(log.rows)
        assert set(log.rows) <= set(seen)
        step = next(remaining, None)
        if step is None:
            raise _OverError
        _do(log, *step, fan)

    with pytest.MonkeyPatch.context() as patched, suppress(_OverError):
        patched.setattr(log_merging, "FAN", fan)
        for row in LogTail(log.folder).follow(next_step):
            seen.append(row["request_id"])
    assert len(seen) == len(set(seen)), "who follows the log sees each row once"
    newest = [row["request_id"] for row in LogTail(log.folder).newest(10_000)]
    assert sorted(newest) == sorted(log.rows)


def _do(log: Log, step: str, worker: str, version: int, fan: int) -> None:
    if step == "write":
        log.write(worker, version, rows=version)
    elif step == "many":
        for _ in range(fan * fan):
            log.write(worker, version)
    elif step == "wait":
        log.now += SETTLED_SECONDS
    elif step == "next day":
        log.now += DAY
    elif step == "merge":
        log.merger.turn(now=log.now)
    elif step == "remove":  # what was merged may stay for any time, and go in any order
        gone = sorted(set(log.all_files()) - set(log.files()))
        for name in gone[version - 1 :: 2]:
            (log.service / name).unlink()
    elif log.files():
        _erase(log, pq.read_table(log.service / log.files()[0])["request_id"].to_pylist())


def _erase(log: Log, rows: list[str]) -> None:
    for file in log.service.glob("*.parquet"):
        table = pq.read_table(file)
        rest = table.filter(pa.array([one not in rows for one in table["request_id"].to_pylist()], pa.bool_()))
        if rest.num_rows:
            pq.write_table(rest, file)
            os.utime(file, (log.now, log.now))
        else:
            file.unlink()
    log.rows = [one for one in log.rows if one not in rows]


WRITES = st.builds(
    lambda worker, version, first, more: Writes(worker, str(version), first, first + more),
    st.sampled_from((WORKER, OTHER)),
    st.integers(1, 12),
    st.integers(1, 10**9),
    st.integers(0, 10**6),
)


@given(WRITES)
def test_a_name_says_which_writes_a_file_has(writes: Writes) -> None:
    assert writes_of(name_of(writes)) == writes
    assert writes_of(f".{name_of(writes)}") is None


@given(st.lists(WRITES, unique=True, max_size=12))
def test_a_file_counts_unless_another_one_has_its_writes(files: list[Writes]) -> None:
    """Ranges that overlap by half do not come about; each of them counts."""
    names = [f"/log/churn/{name_of(one)}" for one in files]

    def within(one: Writes, other: Writes) -> bool:
        return one != other and one[:2] == other[:2] and other.hold(one)

    right = [name for name, one in zip(names, files, strict=True) if not any(within(one, other) for other in files)]
    assert counted(names) == right


@given(st.lists(WRITES, unique=True, max_size=8), WRITES)
def test_a_merged_file_is_told_from_one_with_rows_that_were_not_there(files: list[Writes], one: Writes) -> None:
    reached = reached_by([f"churn/{name_of(each)}" for each in files])
    right = any(each[:2] == one[:2] and each.last >= one.last for each in files) and one.many > 1
    assert is_merged_of(f"churn/{name_of(one)}", reached) == right
    assert not is_merged_of(f"other/{name_of(one)}", reached)
    assert not is_merged_of("churn/mine.parquet", reached)
