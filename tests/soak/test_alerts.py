"""Messages under monitors that are killed, and stopped: the short form, and the long one."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from tests import forking

PROGRAM = Path(__file__).parent / "programs" / "killed_monitors.py"


def _ran(folder: Path, kills: int, *url: str) -> dict[str, int]:
    ran = forking.run([sys.executable, PROGRAM, folder, str(kills), *url], capture_output=True, text=True)
    assert (ran.returncode, ran.stderr) == (0, "")
    sys.stdout.write(f"\n{PROGRAM.name}: {ran.stdout}")
    counts: dict[str, int] = json.loads(ran.stdout)
    return counts


@pytest.mark.parametrize("kills", [10, pytest.param(500, marks=pytest.mark.soak)])
def test_every_message_or_a_newer_one_arrives_in_order_under_one_key_whenever_the_daemon_is_killed(
    tmp_path: Path, kills: int
) -> None:
    counts = _ran(tmp_path, kills)
    assert counts["kills"] == kills
    assert counts["messages delivered"] > kills


@pytest.mark.parametrize("kills", [6, pytest.param(500, marks=pytest.mark.soak)])
def test_two_daemons_on_one_database_that_are_killed_and_stopped_say_no_more_than_one(
    tmp_path: Path, postgresql: str, kills: int
) -> None:
    counts = _ran(tmp_path, kills, postgresql.replace("postgresql://", "postgresql+psycopg://"))
    assert counts["kills"] == kills
    assert counts["messages delivered"] > 0
