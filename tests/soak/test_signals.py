"""The monitor is killed at random points while signals come; who watches misses nothing and gets nothing twice."""

from __future__ import annotations

import random
import socket
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest

from featurestore.client import SignalClient
from featurestore.client import signals as client_module
from featurestore.config import Config
from featurestore.errors import ServingError
from monitor.history import History
from monitor.retraining.states import SignalState
from monitor.retraining.store import SignalEvent, signal_events
from tests.forking import Forked

#: A monitor that has signals to tell all the time: it makes them, and takes them through their lives.
_MONITOR = textwrap.dedent(
    """
    import itertools, sys
    from datetime import UTC, datetime
    from pathlib import Path
    from featurestore.config import Config
    from featurestore.settings.signals import SignalsConfig
    from monitor.history import History
    from monitor.retraining.states import SignalState
    from monitor.retraining.store import Cause, acknowledge, find_signal, list_signals, move, record_cause
    from monitor.signalling.server import SignalServer
    from monitor.signalling.source import SignalSource

    class Registry:
        def revision(self):
            return 1
        def tokens(self):
            return []

    root, port = Path(sys.argv[1]), int(sys.argv[2])
    config = Config(root=root, signals=SignalsConfig(port=port))
    with History(config.database_url(config.monitor.database)) as history:
        server = SignalServer(config, SignalSource(history, None), Registry())
        now = datetime.now(UTC)
        with history.read() as connection:
            made = len(list_signals(connection))
        for number in itertools.count(made):
            name = f"{number:032x}"
            payload = {"id": name, "project": "default", "service": "scoring@1"}
            cause = Cause(id=name, policy="p", policy_version=1, service="scoring@1", cause="drift", subject=name,
                          baseline="", model="", incident="", payload=payload)
            with history.write() as connection:
                record_cause(connection, cause, reason="new", now=now)
                move(connection, find_signal(connection, name), SignalState.APPROVED, reason="go", now=now)
            for state in (SignalState.RUNNING, SignalState.DONE):
                with history.write() as connection:
                    acknowledge(connection, name, state, who="test", now=now)
            if number == int(sys.argv[3]):
                print("done", flush=True)
                sys.stdin.read()  # until all is told
                server.close()
                break
    """
)


@pytest.mark.parametrize(("kills", "more"), [(2, 20), pytest.param(50, 500, marks=pytest.mark.soak)])
def test_a_watcher_sees_the_whole_log_over_kills(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kills: int, more: int
) -> None:
    monkeypatch.setattr(client_module, "_LONGEST_PAUSE", 0.2)
    (tmp_path / "data").mkdir()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    chance, seen = random.Random(8), []
    client = SignalClient(f"127.0.0.1:{port}")

    def watch() -> None:
        try:
            for event in client.watch():
                seen.append(event.cursor)  # noqa: PERF401 - another thread looks at it meanwhile
        except ServingError:
            return  # it was closed

    watching = threading.Thread(target=watch)
    watching.start()
    command = [sys.executable, "-c", _MONITOR, str(tmp_path), str(port)]
    for _ in range(kills):
        monitor = Forked([*command, "1000000"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        before = len(seen)
        deadline = time.monotonic() + 60
        while len(seen) < before + 3:
            assert time.monotonic() < deadline
            assert monitor.poll() is None
            time.sleep(0.01)
        time.sleep(chance.random() * 0.3)
        monitor.kill()
        monitor.communicate()
    target = len(told(tmp_path)) // 3 + more
    monitor = Forked([*command, str(target)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert monitor.stdout is not None
    assert "done\n" in iter(monitor.stdout.readline, "")
    events = told(tmp_path)
    deadline = time.monotonic() + 60
    while len(seen) < len(events) and time.monotonic() < deadline:
        time.sleep(0.01)
    client.close()
    watching.join()
    monitor.communicate("", timeout=60)
    assert seen == [one.cursor for one in events]
    # What a monitor was killed in the middle of stands as its last transaction left it, and the lives go on in order.
    by_signal: dict[str, list[SignalState]] = {}
    for one in events:
        by_signal.setdefault(one.signal, []).append(one.state)
    whole = [SignalState.APPROVED, SignalState.RUNNING, SignalState.DONE]
    assert all(states == whole[: len(states)] for states in by_signal.values())
    assert sum(states != whole for states in by_signal.values()) <= kills


def told(root: Path) -> list[SignalEvent]:
    """Return all events that receivers see."""
    config = Config(root=root)
    with History(config.database_url(config.monitor.database)) as history, history.read() as connection:
        return signal_events(connection, limit=1_000_000)
