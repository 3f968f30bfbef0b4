"""The command line as a newcomer meets it: what works says so, and what does not says what to do."""

from __future__ import annotations

import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from featurestore.cli.app import run as command_line
from featurestore.client import FeatureClient
from tests.e2e.conftest import featurestore

Run = Callable[..., subprocess.CompletedProcess[str]]


def test_a_row_goes_from_a_file_to_a_lookup(repo: Path) -> None:
    ran = featurestore("get", "scoring", "user_id=1", "basket=2.1", "--format", "json", cwd=repo, afresh=True)
    assert ran.returncode == 0
    views = json.loads(ran.stdout)["views"]
    assert views["spending"]["features"] == {"total": 10.5, "orders": 2}
    assert views["share"]["features"] == {"basket_share": 2.1 / 10.5}


def test_the_second_run_of_everything_changes_nothing(run: Run, repo: Path) -> None:
    assert "No changes" in run("plan", cwd=repo).stdout
    before = run("audit", cwd=repo).stdout
    assert run("apply", cwd=repo).returncode == 0
    assert run("audit", cwd=repo).stdout == before
    before = run("audit", cwd=repo).stdout
    assert run("materialize", cwd=repo).stdout == "spending: nothing new\n"
    assert run("audit", cwd=repo).stdout == before
    assert "2 no newer than what is online" in run("materialize", "--full", cwd=repo).stdout


def test_bad_rows_are_counted_and_can_be_seen(run: Run, repo: Path) -> None:
    (repo / "bad.csv").write_text("user_id,total,orders,event_timestamp\n3,-1,1,2024-01-01T00:00:00Z\n")
    assert "1 quarantined (1 total is under 0)" in run("ingest", "spending", "bad.csv", cwd=repo).stdout
    assert "total is under 0: user_id=3" in run("quarantine", "spending", cwd=repo).stdout
    assert json.loads(run("status", "--format", "json", cwd=repo).stdout)["views"][0]["quarantined"] == 1


def test_a_training_dataset_is_made_and_listed(run: Run, repo: Path) -> None:
    (repo / "orders.csv").write_text(
        "user_id,basket,event_timestamp,returned\n1,2.1,2024-01-05T00:00:00Z,0\n2,1.0,2024-01-05T00:00:00Z,1\n"
    )
    made = run(
        "dataset", "create", "returns", "--service", "scoring", "--entities", "orders.csv", "--label", "returned",
        cwd=repo,
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    assert "returns@1: 2 rows of scoring@1" in made.stdout
    assert json.loads(run("dataset", "list", "--format", "json", cwd=repo).stdout)[0]["label"] == "returned"


def test_the_audit_log_is_intact_until_somebody_edits_it(run: Run, repo: Path) -> None:
    assert run("audit", "verify", cwd=repo).stdout.startswith("The audit log is intact: ")
    with closing(sqlite3.connect(repo / "data/registry.db")) as database, database:
        database.execute("UPDATE audit SET who = 'eve' WHERE sequence = 2")
    found = run("audit", "verify", cwd=repo)
    assert found.returncode == 1
    assert found.stderr.startswith("Entry 2 was edited. That was done after ")


@pytest.mark.parametrize(
    ("arguments", "thing", "mend"),
    [
        (["ingest", "wether", "rows.csv"], '"wether"', "spending"),
        (["ingest", "spending", "nothing.csv"], "nothing.csv", ""),
        (["ingest", "spending"], '"spending" has no source', "store.ingest"),
        (["ingest", "spending", "naive.csv"], "event_timestamp", "zone"),
        (["ingest", "spending", "short.csv"], '"orders"', "There is"),
        (["get", "scorin", "user_id=1"], '"scorin"', '"scoring"'),
        (["get", "scoring", "basket=1"], '"user_id"', "user_id="),
        (["get", "scoring", "user_id=one", "basket=1"], 'user_id="one"', ""),
        (["get", "scoring", "user_id=1", "basket=1", "colour=red"], '"colour"', ""),
        (["get", "scoring", "user_id=1", "basket=1", "--server", "127.0.0.1:1"], "127.0.0.1:1", "featurestore serve"),
        (["promote", "scoring@7"], 'no version 7 of "scoring"', ""),
        (["rollback", "scoring"], "scoring", ""),
        (["serve", "--clock", "2013-01-01T07:00:00"], "2013-01-01T07:00:00", "Z"),
        (["serve", "--clock", "2013-01-01T00:00:00Z"], "live server", "--replay"),
        (["monitor", "run-once"], "No monitor policy", "MonitorPolicy"),
        (["status", "--repo", "elsewhere"], "featurestore.toml", "featurestore init"),
    ],
)
def test_a_mistake_gets_one_line_that_names_the_thing_and_the_mend(
    repo: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    thing: str,
    mend: str,
) -> None:
    monkeypatch.chdir(repo)
    (repo / "naive.csv").write_text("user_id,total,orders,event_timestamp\n1,1,1,2024-01-01T00:00:00\n")
    (repo / "short.csv").write_text("user_id,total,event_timestamp\n1,1,2024-01-01T00:00:00Z\n")
    assert command_line(arguments, debug=False) == 1
    error, *hint = [line for line in capsys.readouterr().err.splitlines() if line.strip()]
    assert error.startswith("Error: ")
    assert thing in error
    assert len(hint) <= 1
    if mend:
        assert mend in hint[0]


def test_a_mistake_ends_the_process_with_1(run: Run, repo: Path) -> None:
    assert run("ingest", "wether", "rows.csv", cwd=repo).returncode == 1
    assert run("ingest", "--no-such-option", cwd=repo).returncode == 1


def test_debug_shows_the_traceback(run: Run, repo: Path) -> None:
    ran = run("ingest", "wether", "rows.csv", "--debug", cwd=repo)
    assert ran.returncode == 1
    assert "Traceback" in ran.stderr
    assert "ObjectNotFoundError" in ran.stderr


def test_a_broken_definitions_file_is_named_with_its_line(run: Run, repo: Path) -> None:
    definitions = repo / "definitions.py"
    definitions.write_text(definitions.read_text() + "\nodd = Entity(name='odd name')\n")
    ran = run("plan", cwd=repo)
    assert ran.returncode == 1
    line = len(definitions.read_text().splitlines())
    assert f"definitions.py:{line}: 'odd name' cannot name an entity" in ran.stderr


def test_a_wrong_setting_is_named(run: Run, repo: Path) -> None:
    settings = repo / "featurestore.toml"
    settings.write_text(settings.read_text().replace("port = 6566", 'port = "often"'))
    ran = run("status", cwd=repo)
    assert ran.returncode == 1
    assert 'setting "serving.port"' in ran.stderr


def test_a_port_in_use_is_said_before_anything_starts(run: Run, repo: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        ran = run("serve", "--port", str(port), cwd=repo)
    assert ran.returncode == 1
    assert f"Port {port}" in ran.stderr
    assert "--port 0" in ran.stderr


@pytest.mark.parametrize("workers", [1, 2])
def test_a_server_answers_until_it_is_interrupted_and_leaves_nothing(repo: Path, workers: int) -> None:
    server = subprocess.Popen(
        [sys.executable, "-m", "featurestore", "serve", "--port", "0", "--workers", str(workers)],
        cwd=repo,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        assert server.stdout is not None
        said = server.stdout.readline()
        assert "scoring@1" in said
        address = said.split(" at ")[1].split(",")[0]
        with FeatureClient(address) as client:
            answer = client.get_online_features(features="scoring", entity_rows=[{"user_id": 2, "basket": 1.0}])
        assert answer.to_dict() == {"total": [4.0], "orders": [1], "basket_share": [0.25]}
        # As a terminal does: every process of the group gets it.
        os.killpg(server.pid, signal.SIGINT)
        _, errors = server.communicate(timeout=30)
    finally:
        if server.poll() is None:
            os.killpg(server.pid, signal.SIGKILL)
    assert server.returncode == 0
    assert "Traceback" not in errors
    with pytest.raises(ProcessLookupError):
        _wait_for_group_to_end(server.pid)
    log = list((repo / "data" / "log" / "scoring").glob("*.parquet"))
    assert len(log) == 1


def test_an_interrupt_while_the_command_still_loads_shows_no_traceback() -> None:
    program = (
        "import sys\n"
        "class Interrupted:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name == 'typer':\n"
        "            raise KeyboardInterrupt\n"
        "sys.meta_path.insert(0, Interrupted())\n"
        "from featurestore.cli import main\n"
        "main()\n"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout, ran.stderr) == (130, "", "Interrupted.\n")


def _wait_for_group_to_end(group: int) -> None:
    for _ in range(100):
        os.killpg(group, 0)
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["serve", "--portt", "3"], "--portt"),
        (["replay"], "replay"),
        (["ingest", "spending", "rows.csv", "too", "many"], "too"),
        (["get"], "service"),
    ],
)
def test_a_wrong_command_line_is_the_users_to_mend(
    repo: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    monkeypatch.chdir(repo)
    assert command_line(arguments, debug=False) == 1
    error = capsys.readouterr().err
    assert said in error
    assert "Usage" in error
    assert "fault of featurestore" not in error


def test_a_rehearsal_that_was_never_held_is_not_made_up(
    repo: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(repo)
    assert command_line(["monitor", "status", "--replay", "jully"], debug=False) == 1
    assert 'There is no replay "jully"' in capsys.readouterr().err
    assert not (repo / "data" / "replays").exists()


@pytest.mark.parametrize(
    ("before", "after", "said", "hint"),
    [
        ("port = 6566", "prot = 6566", 'no setting "serving.prot"', '"port"'),
        ('project = "shop"', 'projekt = "shop"', 'no setting "projekt"', '"project"'),
        ("sqlite:///data/registry.db", "sqlite://data/registry.db", "names a host", "sqlite:///data/registry.db"),
        ("sqlite:///data/registry.db", "mysql://x/y", '"mysql"', "sqlite"),
    ],
)
def test_a_slip_in_the_settings_is_named_with_what_was_meant(
    repo: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    before: str,
    after: str,
    said: str,
    hint: str,
) -> None:
    monkeypatch.chdir(repo)
    settings = repo / "featurestore.toml"
    settings.write_text(settings.read_text().replace(before, after))
    assert command_line(["status"], debug=False) == 1
    error = capsys.readouterr().err
    assert said in error
    assert hint in error
