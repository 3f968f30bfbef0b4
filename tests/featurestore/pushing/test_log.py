"""The push log: one order for all processes, and nothing that was acknowledged is cut."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pyarrow as pa
import pytest

from featurestore.errors import OfflineStoreError
from featurestore.pushing.group import GroupCommit
from featurestore.pushing.log import PushLog
from featurestore.pushing.segments import HEADER, Entry, body_of


def entry(first: int, rows: int = 1, at: int = 17) -> Entry:
    body = body_of(pa.RecordBatch.from_pydict({"x": pa.array(range(rows))}))
    return Entry(view="clicks", version=1, only=False, at=at, first=first, rows=rows, body=body)


def append(log: PushLog, rows: int = 1, at: int = 17) -> int:
    """Append rows, and return the place of the first."""
    with log.committing() as commit:
        first = commit.places
        commit.append([entry(first, rows, at)])
    return first


def places(log: PushLog) -> list[int]:
    log.seal()
    return [one.first for segment in log.sealed() for one in segment.read()]


def newest(folder: Path) -> Path:
    return max(folder.glob("*.wal"))


PROGRAM = """
import sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from test_log import append
from featurestore.pushing.log import PushLog
"""


def in_another_process(code: str, folder: Path) -> subprocess.CompletedProcess[str]:
    program = PROGRAM.format(tests=str(Path(__file__).parent)) + textwrap.dedent(code)
    return subprocess.run([sys.executable, "-c", program, str(folder)], capture_output=True, text=True, timeout=60)


def test_places_go_on_from_process_to_process(tmp_path: Path) -> None:
    log = PushLog(tmp_path / "push")
    assert append(log, 3) == 0
    ran = in_another_process("print(append(PushLog(Path(sys.argv[1]) / 'push'), 2))", tmp_path)
    assert (ran.stdout, ran.stderr) == ("3\n", "")
    assert append(log) == 5
    assert log.backlog().rows == 6
    assert places(log) == [0, 3, 5]


def test_a_torn_end_is_cut_by_the_next_and_what_was_whole_stays(tmp_path: Path) -> None:
    append(PushLog(tmp_path), 2)
    whole = newest(tmp_path).read_bytes()
    append(PushLog(tmp_path))
    for cut in range(len(whole), newest(tmp_path).stat().st_size):
        file = newest(tmp_path)
        file.write_bytes(file.read_bytes()[:cut])
        log = PushLog(tmp_path)
        assert log.backlog().rows == 2
        assert file.read_bytes() == whole
        append(log)


def test_a_segment_whose_process_died_before_its_header_was_whole_is_used(tmp_path: Path) -> None:
    append(PushLog(tmp_path))
    file = newest(tmp_path)
    file.write_bytes(HEADER[:3])
    assert append(PushLog(tmp_path)) == 0
    assert places(PushLog(tmp_path)) == [0]


def test_numbers_grow_even_if_the_folder_was_emptied(tmp_path: Path) -> None:
    append(PushLog(tmp_path))
    before = newest(tmp_path)
    before.unlink()
    append(PushLog(tmp_path))
    assert newest(tmp_path).name > before.name


def test_a_sealed_segment_grows_no_more_and_an_empty_one_is_not_sealed(tmp_path: Path) -> None:
    log = PushLog(tmp_path)
    append(log)
    other = PushLog(tmp_path)
    append(other)
    log.seal()
    log.seal()
    assert append(other) == 0
    first, *rest = log.sealed()
    assert (len(first.read()), rest) == (2, [])
    log.remove(first)
    assert log.backlog().rows == 1


def test_what_the_disk_refuses_leaves_nothing_behind(tmp_path: Path) -> None:
    code = """
        import resource, signal
        from featurestore.errors import OfflineStoreError
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        log = PushLog(Path(sys.argv[1]))
        append(log)
        size = max(Path(sys.argv[1]).glob("*.wal")).stat().st_size
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + 100, resource.RLIM_INFINITY))
        try:
            append(log, 1000)
        except OfflineStoreError as error:
            print("large" in str(error), max(Path(sys.argv[1]).glob("*.wal")).stat().st_size == size)
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        print(append(log))
        """
    ran = in_another_process(code, tmp_path)
    assert (ran.stdout, ran.stderr) == ("True True\n1\n", "")


def test_a_folder_that_cannot_be_written_is_named_with_its_setting(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OfflineStoreError, match="cannot be written") as caught:
        append(PushLog(tmp_path / "file"))
    assert "[push]" in caught.value.hint


def test_it_is_time_to_flush_by_rows_by_age_and_after_a_crash(tmp_path: Path) -> None:
    log = PushLog(tmp_path)
    assert not log.due(rows=1, seconds=1)
    append(log, 2, at=time.time_ns() // 1000)
    assert not log.due(rows=3, seconds=60)
    assert log.due(rows=2, seconds=60)
    time.sleep(0.02)
    assert log.due(rows=3, seconds=0.01)
    log.seal()
    assert log.due(rows=100, seconds=60)


def test_only_one_flushes_and_nobody_does_while_views_are_materialized(tmp_path: Path) -> None:
    log, other = PushLog(tmp_path), PushLog(tmp_path)
    with log.flushing(wait=True) as held, other.flushing(wait=False) as also:
        assert (held, also) == (True, False)
    with log.settled(), other.settled(), log.flushing(wait=False) as held:
        assert not held


def test_pushes_that_come_meanwhile_are_committed_as_one() -> None:
    groups: list[list[int]] = []
    first, go = threading.Event(), threading.Event()

    def commit(items: list[int]) -> None:
        groups.append(items)
        first.set()
        go.wait()

    group = GroupCommit[int](commit)  # type: ignore[arg-type]
    threads = [threading.Thread(target=group, args=(number,)) for number in range(5)]
    threads[0].start()
    first.wait()
    for one in threads[1:]:
        one.start()
    while len(group._waiting) < 4:
        time.sleep(0.001)
    go.set()
    for one in threads:
        one.join()
    assert [sorted(one) for one in groups] == [[0], [1, 2, 3, 4]]


def test_everybody_in_a_group_that_fails_is_told_and_the_next_group_is_another() -> None:
    fails = [True]

    def commit(_: object) -> None:
        if fails.pop():
            raise OfflineStoreError("full")
        fails.append(False)

    group = GroupCommit[int](commit)
    with pytest.raises(OfflineStoreError, match="full"):
        group(1)
    fails.append(False)
    group(2)
