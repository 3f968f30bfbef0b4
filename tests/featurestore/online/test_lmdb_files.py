"""What LMDB removes it keeps the bytes of: a store that forgets, and all who read and write meanwhile."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
from pathlib import Path

import lmdb
import pytest

from featurestore.errors import OnlineStoreError
from featurestore.online import LmdbStore, lmdb_files
from featurestore.online.base import ORDER_BYTES
from featurestore.online.lmdb_files import STATE, LastTransaction, copy_rows, new_place, place_of, point_to
from tests import forking

MARK = b"zq-marker-%05d"


def order(number: int) -> bytes:
    return number.to_bytes(8, "big") + bytes(ORDER_BYTES - 8)


def bytes_on_disk(folder: Path) -> bytes:
    return b"".join(file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file())


def filled(folder: Path, rows: int = 3000) -> LmdbStore:
    store = LmdbStore(folder, durable=False)
    for turn in range(4):
        store.put_newest("a-1", [(MARK % key, order(turn) + os.urandom(90) + MARK % key) for key in range(rows)])
    return store


def test_no_byte_of_a_deleted_row_is_left_after_forgetting(tmp_path: Path) -> None:
    store = filled(tmp_path)
    victims = [MARK % key for key in range(0, 3000, 100)]
    assert store.delete("a-1", victims) == len(victims)
    left = bytes_on_disk(tmp_path)
    assert any(one in left for one in victims), "LMDB clears what it removes; then forgetting needs no copy"
    store.forget()
    left = bytes_on_disk(tmp_path)
    assert [one for one in victims if one in left] == []
    assert store.status()["a-1"].rows == 3000 - len(victims)
    store.close()


def test_another_process_that_reads_and_writes_goes_on_in_the_new_file(tmp_path: Path) -> None:
    ours = filled(tmp_path, rows=10)
    theirs = f"""
import sys
from pathlib import Path
from featurestore.online import LmdbStore, lmdb_files
store = LmdbStore(Path({str(tmp_path)!r}))
for line in sys.stdin:
    if line == "read\\n":
        print(store.read([("a-1", [b"k"])]).values[0][0], flush=True)
    else:
        print(store.put_newest("a-1", [(b"k", {order(99)!r} + b"theirs")]), flush=True)
store.close()
"""
    program = [sys.executable, "-c", theirs]
    with forking.Forked(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdin is not None
        assert other.stdout is not None

        def ask(what: str) -> str:
            assert other.stdin is not None
            assert other.stdout is not None
            other.stdin.write(what + "\n")
            other.stdin.flush()
            return other.stdout.readline().strip()

        assert ask("read") == "None"
        ours.forget()
        assert ask("write") == "Written(written=1, older=0)"
        assert ours.read([("a-1", [b"k"])]).values == [[order(99) + b"theirs"]]
        ours.forget()
        assert ask("read") == str(order(99) + b"theirs")
        other.stdin.close()
    assert not (tmp_path / "data.mdb").exists()
    ours.close()


def test_threads_and_other_handles_of_a_process_lose_no_read(tmp_path: Path) -> None:
    store, other = filled(tmp_path, rows=50), LmdbStore(tmp_path)
    wrong: list[object] = []
    done = threading.Event()

    def watch(one: LmdbStore) -> None:
        while not done.is_set():
            try:
                if one.read([("a-1", [MARK % 7])]).values[0][0] is None:
                    wrong.append("a row was not there")
            except (OnlineStoreError, lmdb.Error) as error:
                wrong.append(error)
                return

    readers = [threading.Thread(target=watch, args=(one,)) for one in (store, store, other)]
    for reader in readers:
        reader.start()
    for _ in range(12):
        store.forget()
    done.set()
    for reader in readers:
        reader.join()
    assert wrong == []
    store.close()
    other.close()


def test_a_process_killed_as_it_moved_the_store_leaves_nothing_that_the_next_does_not_mend(tmp_path: Path) -> None:
    """Killed right after the new file was named: those who have the old one open are not told, but lose no write."""
    store = filled(tmp_path, rows=20)
    copy = new_place(tmp_path)
    with store._shared.env.begin(store._shared.rows) as transaction:
        copy_rows(transaction, store._shared, copy, transaction.get(STATE, None, store._shared.state))
    point_to(tmp_path, copy.name)
    (tmp_path / "rows-half").mkdir()
    assert store.put_newest("a-1", [(b"k", order(50))]) == (1, 0)
    fresh = LmdbStore(tmp_path)
    assert fresh.read([("a-1", [b"k"])]).values == [[order(50)]]
    fresh.forget()
    assert sorted(one.name for one in tmp_path.glob("*") if one.is_dir()) == [place_of(tmp_path).name]
    assert store.read([("a-1", [b"k", MARK % 3])]).values[0][0] == order(50)
    fresh.close()
    store.close()


def test_a_copy_that_fails_leaves_the_store_as_it_was(tmp_path: Path) -> None:
    filled(tmp_path).close()
    program = f"""
import resource, signal
from pathlib import Path
from featurestore.errors import OnlineStoreError
from featurestore.online import LmdbStore, lmdb_files
store = LmdbStore(Path({str(tmp_path)!r}))
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    store.forget()
except OnlineStoreError:
    print("refused")
print(store.status()["a-1"].rows)
"""
    ran = forking.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert ran.stdout.splitlines() == ["refused", "3000"]
    assert [one.name for one in tmp_path.glob("rows-*")] == []
    assert place_of(tmp_path) == tmp_path


def test_a_file_that_another_process_removes_as_it_is_opened_is_looked_for_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = filled(tmp_path, rows=10)
    store.forget()
    now = place_of(tmp_path).name
    store.close()
    (tmp_path / "current").unlink()  # as if the copy were not finished yet

    def finished(folder: Path, env: object) -> LastTransaction:
        if not (tmp_path / "current").exists():
            point_to(tmp_path, now)
            (folder / "data.mdb").unlink()
        return LastTransaction(folder, env)

    monkeypatch.setattr(lmdb_files, "LastTransaction", finished)
    with contextlib.closing(LmdbStore(tmp_path, durable=False)) as opened:
        assert opened.status()["a-1"].rows == 10
