"""The systemd units and the Dockerfile: what can be checked of them without a machine of their own."""

from __future__ import annotations

import configparser
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from featurestore import config
from featurestore.doctor.extras import NEEDS
from featurestore.serving import workers
from featurestore.settings.serving import ServingConfig
from tests.our_commands import check_command

ROOT = Path(__file__).parent.parent
UNITS = sorted((ROOT / "examples" / "systemd").glob("*.*"))
SERVICES = [one for one in UNITS if one.suffix == ".service"]
UNIT = ROOT / "examples" / "systemd" / "featurestore-serve.service"
DOCKERFILE = ROOT / "examples" / "docker" / "Dockerfile"


def unit(file: Path) -> dict[str, list[str]]:
    """Return the settings of a unit's service; those that may come twice are why they are lists."""
    text = file.read_text().partition("[Service]\n")[2].partition("\n[")[0]
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        name, separator, value = line.partition("=")
        if separator and not line.startswith("#"):
            found.setdefault(name, []).append(value)
    return found


def started(file: Path) -> list[list[str]]:
    return [shlex.split(one) for one in unit(file)["ExecStart"]]


def test_systemd_understands_the_units_and_finds_them_well_guarded(
    tmp_path: Path, program: Callable[[str, str], str]
) -> None:
    analyze = program("systemd-analyze", "systemd")
    for file in UNITS:
        # The program has to be there, whatever it is.
        (tmp_path / file.name).write_text(
            file.read_text().replace("/opt/featurestore/bin/featurestore", sys.executable)
        )
    copies = [str(tmp_path / file.name) for file in UNITS]
    verified = subprocess.run([analyze, "verify", *copies], capture_output=True, text=True, timeout=60)
    assert (verified.returncode, verified.stdout + verified.stderr) == (0, "")
    services = [one for one in copies if one.endswith(".service")]
    guarded = subprocess.run(
        [analyze, "security", "--offline=true", "--threshold=20", "--no-pager", *services],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert guarded.returncode == 0, guarded.stdout
    assert guarded.stdout.count("Overall exposure level") == len(services) == 5


def test_the_unit_of_the_server_lets_it_drain() -> None:
    service = unit(UNIT)
    longest = ServingConfig().drain_seconds + workers._EXIT_SECONDS
    assert float(service["TimeoutStopSec"][0]) > longest
    assert service["User"] != ["root"]
    (words,) = started(UNIT)
    assert [words[-1]] == service["WorkingDirectory"] == [f"/var/lib/{service['StateDirectory'][0]}"]


def test_all_units_work_on_one_store_as_one_user_with_one_program() -> None:
    serve = unit(UNIT)
    for file in SERVICES:
        one = unit(file)
        for name in ("User", "Group", "StateDirectory", "WorkingDirectory", "EnvironmentFile", "UMask"):
            assert one[name] == serve[name], file.name
        assert one["KillSignal"] == ["SIGTERM"]
        for words in started(file):
            check_command(words)
            assert (words[0], words[-2:]) == (started(UNIT)[0][0], started(UNIT)[0][-2:]), file.name


def test_each_timer_begins_a_service_that_there_is() -> None:
    for timer in (one for one in UNITS if one.suffix == ".timer"):
        assert timer.with_suffix(".service") in SERVICES
        parser = configparser.RawConfigParser()
        parser.read(timer)
        assert parser["Install"]["WantedBy"] == "timers.target"
        # The timer begins it, not the machine.
        assert "[Install]" not in timer.with_suffix(".service").read_text()


def instructions() -> list[tuple[str, str]]:
    text = re.sub(r"^#.*\n", "", DOCKERFILE.read_text(), flags=re.MULTILINE).replace("\\\n", " ")
    return [(line.split()[0], line.partition(" ")[2].strip()) for line in text.splitlines() if line.strip()]


def words_of(text: str) -> list[str]:
    return [one.strip('", ') for one in re.findall(r'"[^"]*"', text)]


def test_the_image_runs_commands_that_there_are_as_a_user_without_rights() -> None:
    found = instructions()
    (entry,) = [words_of(text) for name, text in found if name == "ENTRYPOINT"]
    (command,) = [words_of(text) for name, text in found if name == "CMD"]
    (check,) = [words_of(text) for name, text in found if name == "HEALTHCHECK"]
    check_command([*entry, *command])
    check_command(check)
    after_last_stage = found[max(place for place, (name, _) in enumerate(found) if name == "FROM") :]
    (user,) = [text for name, text in after_last_stage if name == "USER"]
    assert all(int(one) > 0 for one in user.split(":"))  # in numbers: Kubernetes looks that it is not root
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


@pytest.mark.parametrize("folder", ["compose/store", "kubernetes"])
def test_the_image_has_the_extras_that_the_examples_of_settings_need(folder: str) -> None:
    (extras,) = [text.partition("=")[2].split(",") for name, text in instructions() if name == "ARG"]
    settings = config.load(ROOT / "examples" / folder)
    needed = {one.extra for one in NEEDS if one.wanted(settings)}
    assert {"postgres", "redis", "s3"} <= needed <= set(extras)
