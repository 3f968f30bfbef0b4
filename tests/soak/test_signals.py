"""The monitor is killed at random points while signals come; who watches misses nothing and gets nothing twice."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import random
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest

from featurestore.client import SignalClient
from featurestore.client import signals as client_module
from featurestore.config import Config
from featurestore.errors import ServingError
from featurestore.settings.signals import SignalsConfig
from monitor.history import History
from monitor.retraining.states import SignalState
from monitor.retraining.store import (
    Cause,
    SignalEvent,
    acknowledge,
    find_signal,
    list_signals,
    move,
    record_cause,
    signal_events,
)
from monitor.signalling.server import SignalServer
from monitor.signalling.source import SignalSource

#: What is waited for comes in a second, or in a minute on a machine that does much beside; longer says that it hangs.
_HANGS_SECONDS = 600.0
_WHOLE = [SignalState.APPROVED, SignalState.RUNNING, SignalState.DONE]


@pytest.mark.parametrize(
    ("kind", "kills", "more"),
    [
        ("sqlite", 2, 20),
        pytest.param("sqlite", 50, 500, marks=pytest.mark.soak),
        pytest.param("postgresql", 50, 500, marks=pytest.mark.soak),
    ],
)
def test_a_watcher_sees_the_whole_log_over_kills(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    kills: int,
    more: int,
) -> None:
    monkeypatch.setattr(client_module, "_LONGEST_PAUSE", 0.2)
    url = f"sqlite:///{tmp_path}/monitor.db"
    if kind == "postgresql":
        url = request.getfixturevalue("postgresql").replace("postgresql://", "postgresql+psycopg://")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    chance = random.Random(8)
    with watching(port) as seen:
        for _ in range(kills):
            with monitoring(url, port) as (monitor, _):
                enough = len(seen) + 3
                wait(lambda enough=enough: len(seen) >= enough, monitor)
                time.sleep(chance.random() * 0.3)
                monitor.kill()
        with monitoring(url, port, until=len(told(url)) // len(_WHOLE) + more) as (monitor, far_side):
            wait(far_side.poll, monitor)
            events = told(url)
            wait(lambda: len(seen) >= len(events), monitor)
    assert seen == [one.cursor for one in events]
    # What a monitor was killed in the middle of stands as its last transaction left it, and the lives go on in order.
    by_signal: dict[str, list[SignalState]] = {}
    for one in events:
        by_signal.setdefault(one.signal, []).append(one.state)
    assert all(states == _WHOLE[: len(states)] for states in by_signal.values())
    assert sum(states != _WHOLE for states in by_signal.values()) <= kills


@contextmanager
def watching(port: int) -> Iterator[list[int]]:
    """Watch all signals in a thread; yield the cursors that it has seen, as they come."""
    seen: list[int] = []
    client = SignalClient(f"127.0.0.1:{port}")

    def watch() -> None:
        try:
            for event in client.watch():
                seen.append(event.cursor)  # noqa: PERF401 - another thread looks at it meanwhile
        except ServingError:
            return  # it was closed

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield seen
    finally:
        client.close()
        thread.join()


@contextmanager
def monitoring(url: str, port: int, *, until: int = 1_000_000) -> Iterator[tuple[BaseProcess, Connection]]:
    """Start a monitor as a process; yield it with a pipe by which it says that it has made its last signal."""
    # Forked from a process that has the imports, as most of the time would go into these.
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload([__name__])
    ours, theirs = processes.Pipe()
    monitor = processes.Process(target=monitor_signals, args=(url, port, until, theirs))
    monitor.start()
    theirs.close()
    try:
        yield monitor, ours
    finally:
        monitor.kill()
        monitor.join()
        ours.close()


def wait(condition: Any, monitor: BaseProcess) -> None:
    """Wait until something is so, while the monitor lives."""
    deadline = time.monotonic() + _HANGS_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        assert monitor.is_alive()
        time.sleep(0.01)


class _Registry:
    """One without tokens."""

    def revision(self) -> int:
        return 1

    def tokens(self) -> list[Any]:
        return []


def monitor_signals(url: str, port: int, until: int, ready: Connection) -> None:
    """Be a monitor that has signals to tell all the time: it makes them, and takes them through their lives."""
    parent = os.getppid()
    config = Config(root=Path.cwd(), signals=SignalsConfig(port=port))
    with History(url) as history:
        SignalServer(config, SignalSource(history, _Registry()), _Registry())  # type: ignore[arg-type]  # no datasets
        now = datetime.now(UTC)
        with history.read() as connection:
            made = len(list_signals(connection))
        for number in itertools.count(made):
            if os.getppid() != parent:
                os._exit(1)  # the tests were ended
            name = f"{number:032x}"
            cause = Cause(
                id=name,
                policy="p",
                policy_version=1,
                service="scoring@1",
                cause="drift",
                subject=name,
                baseline="",
                model="",
                incident="",
                payload={"id": name, "project": "default", "service": "scoring@1"},
            )
            with history.write() as connection:
                record_cause(connection, cause, reason="new", now=now)
                move(connection, find_signal(connection, name), SignalState.APPROVED, reason="go", now=now)
            for state in (SignalState.RUNNING, SignalState.DONE):
                with history.write() as connection:
                    acknowledge(connection, name, state, who="test", now=now)
            if number == until:
                break
        ready.send("done")
        ready.poll(_HANGS_SECONDS)  # until all is told, and it is killed
        os._exit(0)


def told(url: str) -> list[SignalEvent]:
    """Return all events that receivers see."""
    with History(url) as history, history.read() as connection:
        return signal_events(connection, limit=1_000_000)
