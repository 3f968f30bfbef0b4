"""The command hook: real processes, what they are given, what they say, and what becomes of them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from featurestore.errors import SignalStateError
from monitor.alerts.base import Kind, Message, Outcome, Status
from monitor.signalling import command as module
from monitor.signalling.command import CommandHook

NOW = datetime(2026, 3, 1, tzinfo=UTC)


class Timeline:
    """What was kept, in order."""

    def __init__(self) -> None:
        self.kept: list[tuple[str, Any]] = []
        self.is_wanted = True

    def wanted(self, signal: str) -> bool:
        assert signal == "signal-1"
        return self.is_wanted

    def acknowledge(self, signal: str, said: Mapping[str, Any]) -> None:
        assert signal == "signal-1"
        if said["state"] == "NONSENSE":
            raise SignalStateError("That is no state.")
        self.kept.append(("said", dict(said)))

    def note(self, signal: str, reason: str) -> None:
        assert signal == "signal-1"
        self.kept.append(("note", reason))


@pytest.fixture
def timeline() -> Timeline:
    return Timeline()


Hook = Callable[..., CommandHook]


@pytest.fixture
def hook(tmp_path: Path, timeline: Timeline) -> Hook:
    """Make a hook that runs a Python program."""

    def make(program: str = "", *, command: list[str] | None = None, timeout: float = 30.0) -> CommandHook:
        (tmp_path / "retrain.py").write_text(textwrap.dedent(program))
        run = command or [sys.executable, "retrain.py"]
        lock = tmp_path / "data" / "signals.lock"
        return CommandHook(run, folder=tmp_path, lock=lock, timeout=timeout, timeline=timeline)

    return make


def message(**about: Any) -> Message:
    payload = {"id": "signal-1", "state": "SIGNAL_STATE_APPROVED", "reason": "drift"} | about.pop("payload", {})
    values = {
        "key": "msg_1",
        "kind": Kind.RETRAINING,
        "project": "shop",
        "service": "scoring@1",
        "incident": "signal-1",
        "created_at": NOW,
        "payload": payload,
    }
    return Message(**values | about)


def deliver(hook: CommandHook, **about: Any) -> Outcome:
    return hook.deliver(message(**about), now=NOW)


def test_it_gets_the_event_and_its_answers_are_kept_as_they_come(
    hook: Hook, timeline: Timeline, tmp_path: Path
) -> None:
    outcome = deliver(
        hook(
            """
            import json, os, sys
            event = json.load(sys.stdin)
            print(json.dumps({"state": "RUNNING", "reason": event["data"]["reason"]}), flush=True)
            print("epoch 1 of 10")
            json.dump([event, os.getcwd()], open("got.json", "w"))
            print(json.dumps({"state": "DONE", "dataset": "d@2", "model": "m@2"}))
            """
        )
    )
    assert outcome == Outcome(Status.DELIVERED)
    event, folder = json.loads((tmp_path / "got.json").read_text())
    assert Path(folder) == tmp_path
    assert (event["id"], event["type"], event["specversion"]) == ("msg_1", "featurestore.v1.retraining", "1.0")
    assert event["data"]["id"] == "signal-1"
    first, second, (kind, reason) = timeline.kept
    assert first == ("said", {"state": "RUNNING", "reason": "drift"})
    assert second == ("said", {"state": "DONE", "dataset": "d@2", "model": "m@2"})
    assert kind == "note"
    assert reason.startswith("the command ended with exit code 0 after ")


def test_one_that_says_nothing_has_taken_the_signal(hook: Hook, timeline: Timeline) -> None:
    # It does not even read its input, which is longer than a pipe takes.
    assert deliver(hook("pass"), payload={"padding": "x" * 1_000_000}).status is Status.DELIVERED
    ((kind, said),) = timeline.kept
    assert (kind, said["state"]) == ("said", "ACCEPTED")
    assert "exit code 0" in said["reason"]


def test_what_a_command_reports_is_kept_while_it_still_works(hook: Hook, timeline: Timeline, tmp_path: Path) -> None:
    program = """
        import pathlib, sys, time
        print('{"state": "RUNNING"}', flush=True)
        while not pathlib.Path("go").exists():
            time.sleep(0.01)
        """
    running = threading.Thread(target=deliver, args=(hook(program),))
    running.start()
    deadline = time.monotonic() + 20
    while not timeline.kept and time.monotonic() < deadline:
        time.sleep(0.01)
    assert timeline.kept == [("said", {"state": "RUNNING"})]
    assert running.is_alive()
    (tmp_path / "go").touch()
    running.join()


@pytest.mark.parametrize(
    ("program", "said"),
    [
        ("raise SystemExit(3)", "the command ended with exit code 3 after "),
        ("import os; os.kill(os.getpid(), 9)", "the command was ended by SIGKILL after "),
    ],
)
def test_one_that_fails_is_tried_again_and_told_of(hook: Hook, timeline: Timeline, program: str, said: str) -> None:
    outcome = deliver(hook(program))
    assert outcome.status is Status.RETRY
    assert outcome.reason.startswith(said)
    assert timeline.kept == [("note", outcome.reason)]


def test_one_that_takes_too_long_is_stopped_with_all_that_it_started(
    hook: Hook, timeline: Timeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_GRACE_SECONDS", 0.5)
    program = """
        import pathlib, signal, subprocess, sys, time
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # it has to be killed
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
        pathlib.Path("child").write_text(str(child.pid))
        time.sleep(60)
        """
    outcome = deliver(hook(program, timeout=2.0))
    assert outcome.status is Status.RETRY
    assert "it may take 2 s (command_timeout_seconds)" in outcome.reason
    assert timeline.kept == [("note", outcome.reason)]
    assert gone(int((tmp_path / "child").read_text()))


def test_it_ends_with_the_monitor_and_is_run_again_by_the_next_one(hook: Hook, tmp_path: Path) -> None:
    program = """
        import pathlib, time
        pathlib.Path("began").touch()
        time.sleep(60)
        """
    one, outcomes = hook(program), []
    running = threading.Thread(target=lambda: outcomes.append(deliver(one)))
    running.start()
    deadline = time.monotonic() + 20
    while not (tmp_path / "began").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    one.interrupt()
    running.join(20)
    ((outcome),) = outcomes
    assert (outcome.status, "the monitor ended" in outcome.reason) == (Status.RETRY, True)
    assert deliver(one) == Outcome(Status.RETRY, "the monitor ends")
    one.close()


def test_a_command_that_outlived_its_monitor_is_not_joined_by_a_second_one(hook: Hook, tmp_path: Path) -> None:
    program = """
        import pathlib, time
        pathlib.Path("began").touch()
        while not pathlib.Path("go").exists():
            time.sleep(0.01)
        """
    one = hook(program)
    monitor = textwrap.dedent(
        """
        import sys
        from datetime import UTC, datetime
        from pathlib import Path
        from monitor.signalling.command import CommandHook
        sys.path.insert(0, sys.argv[2])
        from test_command import Timeline, deliver
        folder = Path(sys.argv[1])
        deliver(CommandHook([sys.executable, "retrain.py"], folder=folder, lock=folder / "data" / "signals.lock",
                            timeout=60, timeline=Timeline()))
        """
    )
    killed = subprocess.Popen([sys.executable, "-c", monitor, str(tmp_path), str(Path(__file__).parent)])
    deadline = time.monotonic() + 30
    while not (tmp_path / "began").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    killed.kill()
    killed.wait()
    outcome = deliver(one)
    assert outcome == Outcome(Status.RETRY, "the command of an earlier run is still at work", retry_after=60.0)
    (tmp_path / "go").touch()
    while (outcome := deliver(one)).status is not Status.DELIVERED and time.monotonic() < deadline:
        time.sleep(0.01)
    assert outcome.status is Status.DELIVERED


def test_nothing_is_run_for_what_asks_for_no_training(hook: Hook, timeline: Timeline) -> None:
    one = hook("raise SystemExit(3)")
    for about in (
        {"kind": Kind.FIRING},
        {"kind": Kind.TEST, "payload": {}},
        {"payload": {"state": "SIGNAL_STATE_PENDING"}},
        {"payload": {"state": "SIGNAL_STATE_EXPIRED"}},
    ):
        assert deliver(one, **about).status is Status.DELIVERED
    timeline.is_wanted = False  # somebody else has trained meanwhile
    assert deliver(one).status is Status.DELIVERED
    assert timeline.kept == []


def test_answers_that_cannot_be_kept_stop_nothing(hook: Hook, timeline: Timeline) -> None:
    program = """
        print('{"state": "NONSENSE"}')
        print('{"state": ')
        print('{"loss": 0.5}')
        print("[1, 2]")
        print("\\x00\\u20ac" + "x" * 200_000)
        print('{"state": "DONE"}')
        """
    with capture_logs() as logged:
        assert deliver(hook(program)).status is Status.DELIVERED
    assert timeline.kept[:2] == [
        ("note", "an answer of the command was not kept: That is no state."),
        ("said", {"state": "DONE"}),
    ]
    shown = [one["line"] for one in logged if one["event"] == "command said"]
    assert shown[:3] == ['{"state":', '{"loss": 0.5}', "[1, 2]"]
    assert all(len(line) <= 500 for line in shown)


@pytest.mark.parametrize("command", [["no-such-program"], ["./no-such-program"], ["data"]])
def test_a_program_that_there_is_not_is_found_by_the_check(
    hook: Hook, timeline: Timeline, tmp_path: Path, command: list[str]
) -> None:
    (tmp_path / "data").mkdir()
    one = hook(command=command)
    assert one.probe(now=NOW) == Outcome(Status.RETRY, f'there is no program "{command[0]}" that can be run')
    outcome = deliver(one)
    assert outcome.status is Status.RETRY
    assert f'the program "{command[0]}" cannot be run: ' in outcome.reason
    assert timeline.kept == [("note", outcome.reason)]


def test_a_program_that_there_is_passes_the_check(hook: Hook, tmp_path: Path) -> None:
    assert hook().probe(now=NOW).status is Status.DELIVERED
    (tmp_path / "train.sh").write_text("#!/bin/sh\nexit 0\n")
    (tmp_path / "train.sh").chmod(0o755)
    beside = hook(command=["./train.sh"])
    assert beside.probe(now=NOW).status is Status.DELIVERED
    assert deliver(beside).status is Status.DELIVERED


def test_no_shell_reads_the_arguments(hook: Hook, timeline: Timeline) -> None:
    program = "import json, sys; print(json.dumps({'state': 'RUNNING', 'reason': sys.argv[1]}))"
    one = hook(program, command=[sys.executable, "retrain.py", "$HOME; touch x"])
    assert deliver(one).status is Status.DELIVERED
    assert timeline.kept[0] == ("said", {"state": "RUNNING", "reason": "$HOME; touch x"})


def gone(process: int) -> bool:
    """Return whether a process ends within some seconds; one that is dead and not yet waited for counts."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            os.kill(process, 0)
            state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
        except (ProcessLookupError, FileNotFoundError):
            return True
        if state == "Z":
            return True
        time.sleep(0.05)
    return False


def test_what_it_started_is_stopped_too_where_the_command_itself_ends_at_once(
    hook: Hook, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_GRACE_SECONDS", 0.5)
    program = """
        import pathlib, subprocess, sys, time
        deaf = "import signal, time; signal.signal(15, signal.SIG_IGN); print(1, flush=True); time.sleep(60)"
        child = subprocess.Popen([sys.executable, "-c", deaf], stdout=subprocess.PIPE)
        child.stdout.readline()
        pathlib.Path("child").write_text(str(child.pid))
        time.sleep(60)
        """
    assert deliver(hook(program, timeout=2.0)).status is Status.RETRY
    assert gone(int((tmp_path / "child").read_text()))
    # And the lock is free again.
    assert deliver(hook("pass")).status is Status.DELIVERED
