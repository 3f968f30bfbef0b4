"""Migrations whose processes are killed: the short form, and the long one."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from tests import forking

PROGRAM = "tests.soak.programs.killed_migrations"


@pytest.mark.parametrize("kills", [3, pytest.param(100, marks=pytest.mark.soak)])
def test_a_migration_that_is_killed_goes_on_and_copies_nothing_twice(tmp_path: Path, kills: int) -> None:
    ran = forking.run([sys.executable, "-m", PROGRAM, tmp_path, str(kills)], capture_output=True, text=True)
    assert (ran.returncode, ran.stderr) == (0, "")
    sys.stdout.write(f"\n{PROGRAM}: {ran.stdout}")
    counts: dict[str, int] = json.loads(ran.stdout)
    assert counts["kills"] == kills
    assert counts["files"] > 20
