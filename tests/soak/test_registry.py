"""The registry under many processes, and under processes that are killed, for long."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAMS = Path(__file__).parent / "programs"


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/registry.db"
    fresh: str = request.getfixturevalue("postgresql")
    return fresh.replace("postgresql://", "postgresql+psycopg://")


def figures(program: str, *arguments: object) -> dict[str, float]:
    """Run a program that checks the registry, show what it prints, and return it."""
    command = [sys.executable, PROGRAMS / program, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    sys.stdout.write(f"\n{program} on {str(arguments[0]).partition(':')[0]}: {done.stdout}")
    found: dict[str, float] = json.loads(done.stdout)
    return found


@pytest.mark.soak
def test_fifty_processes_that_write_and_read_for_a_minute_lose_nothing(url: str) -> None:
    assert figures("many_writers.py", url, 50, 60)["fewest applies of a process"] > 0


@pytest.mark.soak
def test_two_hundred_applies_that_are_killed_happened_or_did_not(url: str) -> None:
    done = figures("killed_applies.py", url, 200)
    assert done["before"] + done["after"] == 200
    assert min(done.values()) > 0
