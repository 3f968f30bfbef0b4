"""A server under all at once, and one that is killed: the short forms, and the long ones."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAMS = Path(__file__).parent / "programs"


def figures(program: str, *arguments: object) -> dict[str, int]:
    """Run a program that checks a server, show what it prints, and return it."""
    ran = subprocess.run([sys.executable, PROGRAMS / program, *map(str, arguments)], capture_output=True, text=True)
    assert (ran.returncode, ran.stderr) == (0, ""), ran.stderr
    sys.stdout.write(f"\n{program}: {ran.stdout}")
    found: dict[str, int] = json.loads(ran.stdout)
    return found


@pytest.mark.parametrize("minutes", [1, pytest.param(60, marks=pytest.mark.soak)])
def test_all_at_once_costs_no_call_and_no_answer_is_torn_or_behind(tmp_path: Path, minutes: int) -> None:
    done = figures("mixed_load.py", tmp_path / "shop", minutes)
    assert min(done[kind] for kind in ("unary lookups", "streamed lookups", "lookups in a thread")) > 0
    assert done["versions that answered"] > 1


@pytest.mark.parametrize("kills", [4, pytest.param(200, marks=pytest.mark.soak)])
def test_a_server_that_is_killed_serves_again_at_once_and_has_lost_nothing(tmp_path: Path, kills: int) -> None:
    done = figures("killed_servers.py", tmp_path / "shop", kills)
    assert done["kills"] == kills
    assert done["rows told of"] > kills
