"""The systemd unit and the Dockerfile: what can be checked of them without a machine of their own."""

from __future__ import annotations

import configparser
import functools
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer

from featurestore.cli.app import build
from featurestore.serving import workers
from featurestore.settings.serving import ServingConfig

ROOT = Path(__file__).parent.parent
UNIT, MATERIALIZE = (
    ROOT / "examples" / "systemd" / f"featurestore-{name}.service" for name in ("serve", "materialize")
)
DOCKERFILE = ROOT / "examples" / "docker" / "Dockerfile"


def unit(file: Path) -> configparser.SectionProxy:
    parser = configparser.RawConfigParser(strict=False)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(file)
    return parser["Service"]


@functools.cache
def commands() -> Any:
    return typer.main.get_command(build())


def check_command(words: list[str]) -> None:
    """Check that a command of ours exists, with its options."""
    node = commands().commands[words[1]]
    known = {option for parameter in node.params for option in parameter.opts}
    assert {word for word in words[2:] if word.startswith("-")} <= known


@pytest.mark.parametrize("file", [UNIT, MATERIALIZE], ids=["serve", "materialize"])
def test_systemd_understands_the_unit_and_finds_it_well_guarded(
    file: Path, tmp_path: Path, program: Callable[[str, str], str]
) -> None:
    analyze = program("systemd-analyze", "systemd")
    copy = tmp_path / file.name
    # The program has to be there, whatever it is.
    copy.write_text(file.read_text().replace("/opt/featurestore/bin/featurestore", sys.executable))
    verified = subprocess.run([analyze, "verify", str(copy)], capture_output=True, text=True, timeout=60)
    assert (verified.returncode, verified.stdout + verified.stderr) == (0, "")
    guarded = subprocess.run(
        [analyze, "security", "--offline=true", "--threshold=20", "--no-pager", str(copy)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert guarded.returncode == 0, guarded.stdout.splitlines()[-1]


def test_the_unit_starts_a_command_that_there_is_and_lets_it_drain() -> None:
    service = unit(UNIT)
    check_command(shlex.split(service["ExecStart"]))
    longest = ServingConfig().drain_seconds + workers._EXIT_SECONDS
    assert float(service["TimeoutStopSec"]) > longest
    assert service["KillSignal"] == "SIGTERM"
    assert service["User"] != "root"
    assert service["ExecStart"].split()[-1] == service["WorkingDirectory"] == f"/var/lib/{service['StateDirectory']}"


def test_both_units_work_on_one_store_as_one_user_with_one_program() -> None:
    serve, materialize = unit(UNIT), unit(MATERIALIZE)
    check_command(shlex.split(materialize["ExecStart"]))
    for name in ("User", "Group", "StateDirectory", "WorkingDirectory", "EnvironmentFile", "UMask"):
        assert serve[name] == materialize[name]
    programs = [(words[0], words[-1]) for words in (shlex.split(one["ExecStart"]) for one in (serve, materialize))]
    assert programs[0] == programs[1]


def instructions() -> list[tuple[str, str]]:
    text = re.sub(r"^#.*\n", "", DOCKERFILE.read_text(), flags=re.MULTILINE).replace("\\\n", " ")
    return [(line.split()[0], line.partition(" ")[2].strip()) for line in text.splitlines() if line.strip()]


def test_the_image_runs_commands_that_there_are_as_a_user_without_rights() -> None:
    found = instructions()
    (entry,) = [text for name, text in found if name == "ENTRYPOINT"]
    (check,) = [text for name, text in found if name == "HEALTHCHECK"]
    for text in (entry, check):
        check_command([one.strip('", ') for one in re.findall(r'"[^"]*"', text)])
    after_last_stage = found[max(place for place, (name, _) in enumerate(found) if name == "FROM") :]
    (user,) = [text for name, text in after_last_stage if name == "USER"]
    assert int(user) > 0
    assert len([1 for name, _ in found if name == "FROM"]) == 2


def test_the_image_is_made_of_files_that_there_are_and_that_its_build_may_see() -> None:
    seen = {
        line.removeprefix("!") for line in Path(f"{DOCKERFILE}.dockerignore").read_text().splitlines() if line[0] == "!"
    }
    copied = {
        source.removeprefix("./")
        for name, text in instructions()
        if name == "COPY" and "--from" not in text
        for source in text.split()[:-1]
    }
    assert copied == seen
    assert all((ROOT / one).exists() for one in copied)
