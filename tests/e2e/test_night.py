"""A source breaks at night: what the demo of it prints, and what it leaves behind."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.conftest import featurestore

ROOT = Path(__file__).parent.parent.parent
NIGHT = [sys.executable, str(ROOT / "examples" / "nycflights" / "night.py")]


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a night that is over. What was printed is in ``screen.txt``."""
    folder = tmp_path_factory.mktemp("night")
    ran = subprocess.run([*NIGHT, "--dir", str(folder)], capture_output=True, text=True, timeout=280, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert ran.stderr == ""
    (folder / "screen.txt").write_text(ran.stdout)
    return folder


def test_one_page_names_the_source_and_all_is_well_again(night: Path) -> None:
    screen = (night / "screen.txt").read_text()
    assert re.search(r"\d+ windows judged, 0 messages, 0% of seats missing", screen)
    assert re.search(r"after \d+ s: .*has values missing: .*seats .*check source \"register\"", screen)
    assert re.search(r"cause: source register; alerts in it: null spike\n", screen)
    assert re.search(r"done: load source-\S+ of view plane_facts \(null spike of .* is taken back", screen)
    assert re.search(r"0% of seats missing in what is served, \d+ s after the load", screen)
    # A page waits for what breaks with it; what is done about it may be said before.
    assert re.search(r"3 messages in all: (firing, action|action, firing), resolved; 0 with a wrong signature", screen)


def test_the_commands_that_it_names_tell_the_story(night: Path) -> None:
    commands = re.findall(r"featurestore (.*) --repo \S+", (night / "screen.txt").read_text())
    assert len(commands) == 4
    told = {one: featurestore(*one.split(), "--repo", str(night / "repo"), cwd=night) for one in commands}
    assert {one.returncode for one in told.values()} == {0}
    incident = told["monitor incident 1"].stdout
    assert "source register" in incident
    assert re.search(r"resolved", incident)
    assert "take it back: featurestore monitor undo 1" in told["monitor actions"].stdout
    assert told["monitor outbox list"].stdout.count("delivered") >= 3
