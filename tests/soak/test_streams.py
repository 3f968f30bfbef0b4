"""Streams whose consumers are killed: the short form, and the long one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
PROGRAM = Path(__file__).parent / "programs" / "killed_streams.py"


@pytest.mark.parametrize("turns", [2, pytest.param(60, marks=pytest.mark.soak)])
def test_each_message_is_in_the_store_or_in_quarantine_once_whatever_was_killed(tmp_path: Path, turns: int) -> None:
    ran = subprocess.run(
        [sys.executable, PROGRAM, tmp_path / "streams", str(turns)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    sys.stdout.write(f"\n{PROGRAM.name}: {ran.stdout}")
    counts: dict[str, int] = json.loads(ran.stdout)
    assert counts["kills"] > 0
    assert counts["rows"] + counts["quarantined"] == counts["messages"]
