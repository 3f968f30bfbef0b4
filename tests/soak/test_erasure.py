"""Erasures that are killed, for long."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parent / "programs" / "killed_erasures.py"


@pytest.mark.soak
def test_two_hundred_erasures_that_are_killed_are_finished_by_the_next(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, PROGRAM, tmp_path / "shop", "200"], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    sys.stdout.write(f"\nkilled_erasures.py: {done.stdout}")
    assert json.loads(done.stdout)["ended before the kill"] < 200
