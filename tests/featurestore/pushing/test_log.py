"""The push log: one order for all processes, and nothing that was acknowledged is cut."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from featurestore.errors import OfflineStoreError
from featurestore.pushing.group import GroupCommit
from featurestore.pushing.log import PushLog
from featurestore.pushing.segments import HEADER, HEADER_WITH_ORIGINS, Entry, body_of, frame_of
from tests import forking


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
    return forking.run([sys.executable, "-c", program, str(folder)], capture_output=True, text=True, timeout=60)


def test_places_go_on_from_process_to_process(tmp_path: Path) -> None:
    log = PushLog(tmp_path / "push")
    assert append(log, 3) == 0
    ran = in_another_process("print(append(PushLog(Path(sys.argv[1]) / 'push'), 2))", tmp_path)
    assert (ran.stdout, ran.stderr) == ("3\n", "")
    assert append(log) == 5
    assert log.backlog().rows == 6
    assert places(log) == [0, 3, 5]


def append_with_origins(log: PushLog) -> None:
    with log.committing(origins=True) as commit:
        commit.append([dataclasses.replace(entry(commit.places), origins={"topic/0": (1, 2)})])


def headers(folder: Path) -> list[bytes]:
    return [one.read_bytes()[: len(HEADER)] for one in sorted(folder.glob("*.wal"))]


def test_rows_with_origins_get_a_segment_of_their_own_format_and_others_stay_readable_for_earlier_releases(
    tmp_path: Path,
) -> None:
    log, other = PushLog(tmp_path), PushLog(tmp_path)
    append(log)
    append_with_origins(other)  # what the first has is in the segment before, which grows no more
    append(log)
    append_with_origins(log)
    assert headers(tmp_path) == [HEADER, HEADER_WITH_ORIGINS]
    assert log.formats() == [1, 2]
    assert log.backlog().rows == 4
    assert places(log) == [0, 0, 1, 2]
    assert headers(tmp_path) == [HEADER, HEADER_WITH_ORIGINS, HEADER]
    # Where the newest is empty, none is left behind it, which would have to be flushed.
    before = newest(tmp_path)
    with other.committing():
        pass
    append_with_origins(log)
    append(other)  # who knew the file sees that it is another one
    assert newest(tmp_path) == before
    assert headers(tmp_path) == [HEADER, HEADER_WITH_ORIGINS, HEADER_WITH_ORIGINS]
    assert places(other)[3:] == [2, 0, 1]


def test_a_torn_end_is_moved_aside_by_the_next_and_what_was_whole_stays(tmp_path: Path) -> None:
    append(PushLog(tmp_path), 2)
    file = newest(tmp_path)
    whole = file.read_bytes()
    frame = frame_of([entry(2)])
    torn_ones = [frame[:cut] + rest for cut in range(0, len(frame), 7) for rest in (b"", bytes(500))]
    for torn in torn_ones:
        if torn.startswith(frame):  # the frame ends with zeros itself
            continue
        file.write_bytes(whole + torn)
        with capture_logs() as said:
            assert PushLog(tmp_path).backlog().rows == 2
        assert file.read_bytes() == whole
        kept = list(tmp_path.glob("*.torn"))
        assert [one.read_bytes() for one in kept] == [torn] * bool(torn)
        assert [one.get("moved_to") for one in said] == [str(one) for one in kept]
        PushLog(tmp_path).tidy()
        assert list(tmp_path.glob("*.torn")) == []
    assert append(PushLog(tmp_path)) == 2


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_no_acknowledged_row_goes_without_an_error_whatever_bit_or_end_is_lost(data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        log = PushLog(folder)
        for rows in (1, 2, 1):
            append(log, rows)
        log.seal()
        for rows in (2, 1):
            append(log, rows)
        file = data.draw(st.sampled_from(sorted([*folder.glob("*.wal"), *folder.glob("*.ack")])))
        content = bytearray(file.read_bytes())
        place = data.draw(st.integers(0, len(content) - 1))
        if data.draw(st.booleans()):
            content[place] ^= 1 << data.draw(st.integers(0, 7))
        else:
            del content[place:]
            content += data.draw(st.sampled_from([b"", bytes(3), bytes(500)]))
        file.write_bytes(content)
        # Either the process that wrote it goes on, or another one.
        after = data.draw(st.sampled_from([log, PushLog(folder)]))
        try:
            append(after)
            found = places(after)
        except OfflineStoreError:
            assert file.suffix == ".wal"
            # Who goes on knows what was whole, and may take for torn what was added only; the flush finds the rest.
            assert not any(any(one.read_bytes()) for one in folder.glob("*.torn"))
        else:
            assert found == [0, 1, 3, 0, 2, 3]


@pytest.mark.parametrize("number", [0, 1])
def test_a_length_with_a_bit_flipped_is_damage_though_nothing_is_known_of_what_was_acknowledged(
    tmp_path: Path, number: int
) -> None:
    append(PushLog(tmp_path))
    first = newest(tmp_path).stat().st_size
    append(PushLog(tmp_path))
    append(PushLog(tmp_path))
    file = newest(tmp_path)
    content = bytearray(file.read_bytes())
    content[(len(HEADER), first)[number] + 7] ^= 0x10
    file.write_bytes(content)
    file.with_suffix(".ack").unlink()
    with pytest.raises(OfflineStoreError, match=f"damaged at byte {(len(HEADER), first)[number]}"):
        append(PushLog(tmp_path))
    assert file.read_bytes() == content


def test_a_segment_that_grows_no_more_has_no_torn_end(tmp_path: Path) -> None:
    log = PushLog(tmp_path)
    append(log)
    append(log)
    log.seal()
    (sealed,) = log.sealed()
    whole = sealed.path.read_bytes()
    for known in (True, False):
        if not known:
            sealed.path.with_suffix(".ack").unlink()
        sealed.path.write_bytes(whole[:-1])
        with pytest.raises(OfflineStoreError, match="is damaged at byte"):
            sealed.read()
    sealed.path.write_bytes(whole)
    assert len(sealed.read()) == 2


def test_rows_that_were_taken_back_or_rewritten_are_not_missed(tmp_path: Path) -> None:
    log = PushLog(tmp_path)
    append(log)
    with log.committing() as commit:
        commit.append([entry(1)])
        commit.undo()
    assert PushLog(tmp_path).backlog().rows == 1
    append(log)
    with log.flushing(wait=True), log.committing():
        (segment,) = log.segments()
        log.rewrite(segment, segment.read()[1:])
    assert places(PushLog(tmp_path)) == [1]
    log.remove(segment)
    assert [one.suffix for one in tmp_path.glob("[0-9]*")] == [".wal"]


def test_a_segment_whose_process_died_before_its_header_was_whole_is_used(tmp_path: Path) -> None:
    with PushLog(tmp_path).committing():
        pass
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
