"""Materializations that are killed: the short form, and the long one."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from tests import forking

PROGRAM = Path(__file__).parent / "programs" / "killed_materializations.py"


@pytest.mark.parametrize("kills", [8, pytest.param(200, marks=pytest.mark.soak)])
def test_materializations_that_are_killed_leave_what_a_single_one_gives(tmp_path: Path, kills: int) -> None:
    command = [sys.executable, PROGRAM, tmp_path / "shop", str(kills)]
    ran = forking.run(command, capture_output=True, text=True)
    assert (ran.returncode, ran.stderr) == (0, "")
    sys.stdout.write(f"\n{PROGRAM.name}: {ran.stdout}")
    counts: dict[str, int] = json.loads(ran.stdout)
    assert counts["kills"] == kills
    assert counts["runs"] >= 1
    assert counts["keys"] > 8_000
