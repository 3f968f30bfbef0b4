"""Tables in object storage under writers that are killed and that race: the short form, and the long one."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Protocol

import pytest

PROGRAMS = Path(__file__).parent / "programs"


class ObjectStorage(Protocol):
    """What the fixture of that name gives."""

    def settings(self, *, at: str | None = None, **more: object) -> str: ...


def run(program: str, *arguments: object) -> dict[str, int]:
    command = [sys.executable, PROGRAMS / program, *map(str, arguments)]
    ran = subprocess.run(command, capture_output=True, text=True)
    assert (ran.returncode, ran.stderr) == (0, "")
    sys.stdout.write(f"\n{program}: {ran.stdout}")
    found: dict[str, int] = json.loads(ran.stdout.splitlines()[-1])
    return found


@pytest.mark.parametrize("kills", [2, pytest.param(100, marks=pytest.mark.soak)])
def test_writers_that_are_killed_leave_nothing_that_is_read_and_lose_no_load(
    tmp_path: Path, object_storage: ObjectStorage, kills: int
) -> None:
    counts = run("killed_tables.py", tmp_path / "shop", kills, object_storage.settings())
    assert counts["kills"] == kills
    assert counts["reads"] > 0
    assert counts["loads reported"] > 1


@pytest.mark.parametrize(("writers", "loads"), [(2, 1), pytest.param(4, 40, marks=pytest.mark.soak)])
def test_writers_that_race_lose_no_load_and_write_none_twice(
    tmp_path: Path, object_storage: ObjectStorage, writers: int, loads: int
) -> None:
    counts = run("racing_tables.py", tmp_path / "shop", writers, loads, object_storage.settings())
    assert counts["loads"] == 1 + loads * (writers + 1)
