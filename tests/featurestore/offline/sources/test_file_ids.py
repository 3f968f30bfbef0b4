"""The id of a file's load tells of its bytes, and whoever leaves early waits for no more of them."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from featurestore.errors import DataError
from featurestore.offline.sources.file_ids import worked_out


@pytest.fixture
def left() -> Callable[[], list[str]]:
    """Tell which threads that read a file are there and were not there before: those of other tests may yet end."""
    before = set(threading.enumerate())
    return lambda: [
        one.name for one in set(threading.enumerate()) - before if one.name.startswith("featurestore-file-id")
    ]


@pytest.mark.parametrize("size", [0, 1, (1 << 20) - 1, 1 << 20, (3 << 20) + 7])
def test_the_id_is_that_of_the_bytes(tmp_path: Path, left: Callable[[], list[str]], size: int) -> None:
    """And the same in every release: else a file that is loaded would be loaded once more."""
    content = bytes(range(256)) * (size // 256 + 1)
    file = tmp_path / "rows.parquet"
    file.write_bytes(content[:size])
    with worked_out(file) as load_id:
        assert load_id() == load_id() == f"file-{hashlib.sha256(content[:size]).hexdigest()[:24]}"
    assert not left()


def test_who_leaves_early_waits_for_no_more(tmp_path: Path, left: Callable[[], list[str]]) -> None:
    file = tmp_path / "rows.parquet"
    with file.open("wb") as endless:
        endless.truncate(1 << 40)
    with pytest.raises(KeyboardInterrupt), worked_out(file):
        raise KeyboardInterrupt
    assert not left()


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with (
        pytest.raises(DataError, match=r"gone\.parquet cannot be read: No such file"),
        worked_out(tmp_path / "gone.parquet"),
    ):
        pass


def test_a_disk_that_fails_within_the_file_is_an_error_of_the_one_who_asks() -> None:
    with (
        pytest.raises(DataError, match="cannot be read: Input/output error"),
        worked_out(Path("/proc/self/mem")) as load_id,
    ):
        load_id()


def test_what_the_block_raises_comes_through(tmp_path: Path, left: Callable[[], list[str]]) -> None:
    (tmp_path / "rows.parquet").write_bytes(b"PAR1")
    with pytest.raises(OSError, match="another disk"), worked_out(tmp_path / "rows.parquet"):
        raise OSError("another disk")
    assert not left()
