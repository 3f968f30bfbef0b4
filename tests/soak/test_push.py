"""Pushes under processes that are killed: the short form, and the long one."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from tests import forking

PROGRAM = Path(__file__).parent / "programs" / "killed_pushes.py"


@pytest.mark.parametrize("kills", [6, pytest.param(200, marks=pytest.mark.soak)])
def test_what_was_acknowledged_survives_every_kill_online_and_offline_exactly_once(tmp_path: Path, kills: int) -> None:
    ran = forking.run([sys.executable, PROGRAM, tmp_path / "shop", str(kills)], capture_output=True, text=True)
    assert (ran.returncode, ran.stderr) == (0, "")
    sys.stdout.write(f"\n{PROGRAM.name}: {ran.stdout}")
    counts: dict[str, int] = json.loads(ran.stdout)
    assert counts["rows acknowledged"] > kills
    assert counts["kills with rows left to flush"] > 0
