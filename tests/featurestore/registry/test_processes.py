"""Many processes at once, and processes that are killed; ``make soak`` runs the same programs for long."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

from featurestore.definitions import MonitorPolicy
from featurestore.registry import Registry
from featurestore.registry.migrating import open_database
from tests import forking

PROGRAMS = Path(__file__).parents[2] / "soak" / "programs"


def figures(program: str, *arguments: object) -> dict[str, float]:
    """Run a program that checks the registry, and return what it prints."""
    command = [sys.executable, PROGRAMS / program, *map(str, arguments)]
    done = forking.run(command, capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stderr) == (0, "")
    found: dict[str, float] = json.loads(done.stdout)
    return found


def test_processes_that_write_and_read_at_once_lose_nothing(bare_url: str) -> None:
    """They also make the registry together: none is there when they start."""
    done = figures("many_writers.py", bare_url, 6, 2)
    assert done["fewest applies of a process"] > 0


def test_an_apply_that_is_killed_happened_or_did_not(bare_url: str) -> None:
    done = figures("killed_applies.py", bare_url, 12)
    assert done["before"] + done["after"] == 12


def test_a_reader_sees_one_state_while_a_writer_works(
    registry: Registry, url: str, policy: Callable[..., MonitorPolicy]
) -> None:
    """Readers neither wait for a writer nor see half of what it does."""
    registry.apply([policy()], who="ada")
    database = open_database(url)
    with database.write() as connection:
        connection.exec_driver_sql("UPDATE objects SET current_version = 0")
        assert registry.get("weather").version == 1
        connection.rollback()
    database.close()
