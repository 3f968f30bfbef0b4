"""``[signals]`` as ``featurestore monitor check`` sees it: a program, a name, a certificate."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from featurestore import (
    Entity,
    FeatureService,
    FeatureStore,
    FeatureView,
    Field,
    MonitorPolicy,
    RetrainingPolicy,
    config,
)
from featurestore.cli.app import build
from featurestore.types import Float64, Int64
from monitor.signalling.checking import faults
from tests.contract.channel_far_sides.receiving import certificate_file

_VIEW = FeatureView(
    name="spending", entities=[Entity(name="user", dtypes=[Int64])], schema=[Field(name="total", dtype=Float64)]
)
_SERVICE = FeatureService(name="scoring", features=[_VIEW])


def found(folder: Path, text: str) -> list[str]:
    (folder / config.FILE_NAME).write_text(text)
    return [str(one) for one in faults(config.load(folder), ())]


def test_where_nothing_is_set_nothing_is_wrong(tmp_path: Path) -> None:
    assert found(tmp_path, "") == []


@pytest.mark.parametrize("program", [sys.executable, "sh", "./train.sh"])
def test_a_program_that_is_there_is_found_as_the_monitor_finds_it(tmp_path: Path, program: str) -> None:
    script = tmp_path / "train.sh"
    script.write_text("#!/bin/sh\n")
    script.chmod(0o755)
    assert found(tmp_path, f'[signals]\ncommand = ["{program}"]\n') == []


@pytest.mark.parametrize("program", ["no-such-program", "./train.sh"])
def test_a_program_that_nobody_may_run_is_a_fault(tmp_path: Path, program: str) -> None:
    (tmp_path / "train.sh").write_text("#!/bin/sh\n")  # not executable
    (fault,) = found(tmp_path, f'[signals]\ncommand = ["{program}", "--retrain"]\n')
    assert fault.startswith(f'[signals]: There is no program "{program}". Name one that this user may run')


def test_a_channel_of_the_commands_name_is_a_fault(tmp_path: Path) -> None:
    (fault,) = found(tmp_path, '[channels."signals.command"]\nkind = "console"\n')
    assert fault.endswith("Give the channel another name.")


def test_a_certificate_that_is_none_is_a_fault_where_the_port_is_open(tmp_path: Path) -> None:
    text = '[signals.tls]\ncertificate = "cert.pem"\nkey = "cert.pem"\n'
    (tmp_path / "cert.pem").write_text("no certificate")
    assert found(tmp_path, f"[signals]\n{text}") == []
    (fault,) = found(tmp_path, f"[signals]\nport = 6600\n{text}")
    assert fault.startswith("[signals]: ")
    file = certificate_file(tmp_path)
    assert found(tmp_path, f"[signals]\nport = 6600\n{text.replace('cert.pem', file.name)}") == []


def test_the_command_tells_of_it_and_ends_with_1(tmp_path: Path) -> None:
    (tmp_path / config.FILE_NAME).write_text('[signals]\ncommand = ["no-such-program"]\n')
    FeatureStore(tmp_path).close()
    ran = CliRunner().invoke(build(), ["monitor", "check", "-C", str(tmp_path)])
    assert ran.exit_code == 1
    assert 'Fault: [signals]: There is no program "no-such-program".' in ran.output
    assert ran.output.endswith("0 channels in order, 0 policies, 1 fault\n")


@pytest.mark.parametrize(
    ("section", "about", "what"),
    [
        ('command = ["no-such-program"]', "[signals]", 'There is no program "no-such-program".'),
        ("", "policy asks", "it asks for new models, and nobody hears of that"),
        ("", "policy waits", "its retraining signals wait for somebody to agree, and nobody is asked"),
        ("port = 6577", "", ""),
    ],
)
def test_what_would_reach_nobody_is_found(tmp_path: Path, section: str, about: str, what: str) -> None:
    (tmp_path / config.FILE_NAME).write_text(f"[signals]\n{section}\n")
    policies = [
        MonitorPolicy(name="asks", service=_SERVICE),
        MonitorPolicy(name="waits", service=_SERVICE, retrain=RetrainingPolicy(approval=True)),
        MonitorPolicy(name="quiet", service=_SERVICE, retrain=False),
    ]
    found = {one.about: one for one in faults(config.load(tmp_path), policies)}
    assert "policy quiet" not in found
    assert ("policy asks" in found, "policy waits" in found) == {
        "": (True, True),
        "port = 6577": (False, False),
    }.get(section, (False, True))
    if about:
        assert found[about].what == what
        assert found[about].hint
    else:
        assert found == {}
