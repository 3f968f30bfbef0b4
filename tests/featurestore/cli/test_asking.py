"""A question at a terminal: answered, or interrupted."""

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from featurestore import Entity, FeatureStore, FeatureView, Field
from featurestore.types import Float64

Arguments = tuple[str, ...]
ERASE: Arguments = ("erase", "shop", "--key", "shop=007", "--request", "R")


class Terminal:
    """A command at a terminal of its own."""

    def __init__(self, arguments: Arguments, repo: Path) -> None:
        self._ours, theirs = pty.openpty()
        line = [sys.executable, "-m", "featurestore", *arguments, "-C", str(repo)]
        self.process = subprocess.Popen(line, stdin=theirs, stdout=theirs, stderr=theirs)
        os.close(theirs)
        self.shown = ""

    def read_until(self, text: str) -> None:
        until = time.monotonic() + 60
        while text not in self.shown and time.monotonic() < until:
            if select.select([self._ours], [], [], 0.1)[0]:
                try:
                    self.shown += os.read(self._ours, 4096).decode()
                except OSError:  # how a terminal says that nobody writes any more
                    break
        assert text in self.shown

    def answer(self, text: str) -> None:
        os.write(self._ours, text.encode())

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._ours)


@contextmanager
def terminal(arguments: Arguments, repo: Path) -> Iterator[Terminal]:
    found = Terminal(arguments, repo)
    try:
        yield found
    finally:
        found.close()


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    view = FeatureView(
        name="sales", entities=[Entity(name="shop")], schema=[Field(name="sales", dtype=Float64)], ttl=timedelta(days=1)
    )
    with FeatureStore.init(tmp_path / "repo", project="shop") as store:
        store.apply([view])
        instants = pa.array([datetime(2013, 1, 1, tzinfo=UTC)], pa.timestamp("us", "UTC"))
        store.ingest("sales", pa.table({"shop": ["007"], "sales": [1.0], "event_timestamp": instants}))
    return tmp_path / "repo"


def rows(repo: Path) -> int:
    with FeatureStore(repo) as store:
        view: Any = store.get("sales").definition
        return int(store.offline.rows_by_event_time(view, after=None).read_all().num_rows)


@pytest.mark.parametrize(("answer", "said", "left"), [("y\n", "1 row erased", 0), ("n\n", "Nothing was changed.", 1)])
def test_an_erasure_shows_what_would_go_and_asks(repo: Path, answer: str, said: str, left: int) -> None:
    with terminal(ERASE, repo) as at:
        at.read_until("Erase these rows for good? [y/N]: ")
        assert "1 row would be erased" in at.shown
        at.answer(answer)
        at.read_until(said)
        assert at.process.wait(60) == 0
    assert rows(repo) == left


def test_ctrl_c_at_the_question_interrupts_at_once(repo: Path) -> None:
    with terminal(ERASE, repo) as at:
        at.read_until("[y/N]: ")
        time.sleep(0.2)  # until it reads
        at.process.send_signal(signal.SIGINT)
        assert at.process.wait(30) == 130
        at.read_until("Interrupted.")
    assert rows(repo) == 1
