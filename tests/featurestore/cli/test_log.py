"""`featurestore log tail` and `featurestore health`."""

from __future__ import annotations

import json
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from featurestore import FeatureStore
from featurestore.cli.app import run
from featurestore.client import FeatureClient
from tests import forking

Command = Any


@pytest.fixture
def served(command: Command) -> Iterator[str]:
    """Yield the address of a server of the store, which has a row for user 1."""
    assert command("apply").code == 0
    with FeatureStore(command.folder) as store:
        now = datetime.now(UTC) - timedelta(hours=1)
        store.ingest("spending", [{"user_id": 1, "total": 987.5, "orders": 3, "event_timestamp": now}])
        store.materialize("spending")
    process = forking.Forked(
        [sys.executable, "-m", "featurestore", "serve", "--port", "0", "-C", str(command.folder)],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    yield process.stdout.readline().split(" at ")[1].split(",")[0]
    process.terminate()
    process.communicate(timeout=30)


def ask(address: str, request_id: str) -> None:
    with FeatureClient(address) as client:
        client.get_online_features("scoring", {"user_id": [1, 2]}, request_id=request_id)


class Following:
    """A command that follows the log."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.process = forking.Forked(
            [sys.executable, "-m", "featurestore", "log", "tail", "-f", *options, "-C", str(folder)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._lines: queue.Queue[str] = queue.Queue()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(line)

    def next_line(self) -> str:
        return self._lines.get(timeout=30)

    def interrupt(self) -> tuple[int, str]:
        """Press Ctrl-C, and return the exit code and what stands on standard error."""
        self.process.send_signal(signal.SIGINT)
        code = self.process.wait(30)
        assert self._lines.empty()
        assert self.process.stderr is not None
        return code, self.process.stderr.read()

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        self._reader.join()
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        self.process.stdout.close()
        self.process.stderr.close()


@pytest.fixture
def follow(command: Command) -> Iterator[Callable[..., Following]]:
    begun: list[Following] = []

    def begin(*options: str) -> Following:
        begun.append(Following(command.folder, *options))
        return begun[-1]

    yield begin
    for one in begun:
        one.end()


def test_new_rows_are_followed_without_personal_values_until_ctrl_c(
    command: Command, served: str, follow: Callable[..., Following]
) -> None:
    following = follow("scoring", "--format", "json")
    ask(served, "first")
    rows = [json.loads(following.next_line()) for _ in range(2)]
    ask(served, "second")
    rows += [json.loads(following.next_line()) for _ in range(2)]
    code, said = following.interrupt()
    assert code == 0
    assert said in ("", f"{command.folder}/data/log has no rows of scoring yet.\n")
    assert [(row["request_id"], row["row"], row["inputs"]) for row in rows] == [
        (name, place, {"user_id": place + 1}) for name in ("first", "second") for place in range(2)
    ]
    assert rows[0]["features"] == {"total": "(pii)", "orders": 3}
    assert rows[1]["features"] == {"total": None, "orders": None}
    assert [row["views"]["spending"]["status"] for row in rows[:2]] == ["PRESENT", "NOT_FOUND"]
    assert rows[0]["snapshot"] > 0
    said = command("log", "tail", "-n", "3").out
    assert len(said.splitlines()) == 3
    assert "scoring@1 second/0 user_id=1 -> total=(pii) orders=3 [spending PRESENT " in said
    assert "987.5" not in said


def test_rows_of_a_version_that_the_registry_does_not_know_show_no_values(
    command: Command, served: str, follow: Callable[..., Following]
) -> None:
    ask(served, "r")
    assert "total=(pii)" in follow().next_line()
    file = command.folder / "featurestore.toml"
    file.write_text(file.read_text().replace('project = "shop"', 'project = "other"'))
    said = command("log", "tail").out
    assert "r/0 -> user_id=(not shown) total=(not shown) orders=(not shown) [spending PRESENT " in said


def test_a_service_that_there_is_not_is_said_and_one_without_rows_too(command: Command) -> None:
    assert command("apply").code == 0
    said = command("log", "tail", "scorin")
    assert said.code == 1
    assert 'Did you mean "scoring"?' in said.err
    said = command("log", "tail", "scoring@7")
    assert (said.code, said.out) == (0, "")
    assert "has no rows of scoring@7 yet." in said.err
    assert command("log", "tail", "../shop").code == 1


def test_health_is_the_exit_code(served: str, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert run(["health", served], debug=False) == 0
    assert capsys.readouterr().out == f"{served} is serving.\n"
    assert run(["health", "127.0.0.1:1", "--timeout", "0.5"], debug=False) == 1
    assert "No feature server answers at 127.0.0.1:1" in capsys.readouterr().err
