"""Server processes: started, announced, drained, and gone when their parent is."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from featurestore import Entity, FeatureService, FeatureStore, FeatureView, Field
from featurestore.client import FeatureClient
from featurestore.config import load
from featurestore.errors import AddressInUseError, ConfigError
from featurestore.serving.workers import serve
from featurestore.types import Int64

START = datetime(2013, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
VIEW = FeatureView(
    name="counts", entities=[Entity(name="user", dtypes=[Int64])], schema=[Field(name="x", dtype=Int64)], ttl=3 * HOUR
)

PROGRAM = """
import sys
from datetime import datetime
from featurestore.config import load
from featurestore.serving.workers import serve

if __name__ == "__main__":
    folder, replay, clock, workers = sys.argv[1:]
    start = datetime.fromisoformat(clock) if clock else None
    serve(load(folder), replay=replay, clock=start, workers=int(workers), port=0)
"""


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    """A store with one view of 48 hours, x being the hour, and one service."""
    folder = tmp_path / "repo"
    with FeatureStore.init(folder) as store:
        store.apply([FeatureService(name="svc", features=[VIEW])])
        rows = [
            {"user": user, "x": hour, "event_timestamp": START + hour * HOUR} for hour in range(48) for user in (1, 2)
        ]
        store.ingest("counts", pa.Table.from_pylist(rows))
    return folder


class Served:
    """A server process, and what it announced."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        assert process.stdout is not None
        self.line = process.stdout.readline()
        found = re.search(r" at (127\.0\.0\.1:\d+),", self.line)
        assert found, self.line
        self.address = found[1]

    def stop(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(30)


@pytest.fixture
def start(repo: Path, tmp_path: Path) -> Iterator[Callable[..., Served]]:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    processes: list[subprocess.Popen[str]] = []

    def begin(replay: str = "", clock: str = "", workers: int = 1) -> Served:
        command = [sys.executable, str(program), str(repo), replay, clock, str(workers)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        processes.append(process)
        return Served(process)

    yield begin
    for process in processes:
        if process.poll() is None:
            process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def logged(repo: Path, log: str) -> list[dict[str, Any]]:
    return [row for file in (repo / log / "svc").glob("*.parquet") for row in pq.read_table(file).to_pylist()]


def test_a_live_server_announces_itself_reloads_drains_and_leaves_a_whole_log(
    start: Callable[..., Served], repo: Path
) -> None:
    served = start()
    assert served.line.startswith("Serving svc@1 at ")
    assert "REPLAY" not in served.line
    with FeatureClient(served.address) as client, FeatureStore(repo) as store:
        assert client.get_online_features("svc", {"user": [1]}).statuses == {"counts": ["NOT_FOUND"]}
        store.ingest("counts", pa.Table.from_pylist([{"user": 1, "x": 7, "event_timestamp": datetime.now(UTC)}]))
        store.materialize("counts")
        assert client.get_online_features("svc", {"user": [1]}).to_dict() == {"x": [7]}
        store.apply([FeatureService(name="later", features=[VIEW])])
        deadline = time.monotonic() + 20
        while not client.get_schema("svc") or "later" not in _known(client):
            assert time.monotonic() < deadline
            time.sleep(0.1)
    assert served.stop() == 0
    assert sorted(row["x"] or 0 for row in logged(repo, "data/log")) == [0, 7]
    (watermark,) = (repo / "data/log/watermarks").glob("*.json")
    assert json.loads(watermark.read_text())["closed"] is True


def _known(client: FeatureClient) -> str:
    try:
        client.get_schema("latr")
    except Exception as error:  # noqa: BLE001  the message is what is looked at
        return str(error)
    raise AssertionError


def test_two_workers_of_a_rehearsal_share_one_clock(start: Callable[..., Served], repo: Path) -> None:
    served = start("july", (START + HOUR).isoformat(), 2)
    assert "REPLAY july: clock at 2013-01-01T01:00:00+00:00, moves by AdvanceClock." in served.line
    for hour in range(1, 20):
        # A connection stays with one worker; a new one may reach the other.
        with FeatureClient(served.address) as client:
            assert client.advance_clock(START + hour * HOUR) == (0 if hour == 1 else 2)
        with FeatureClient(served.address) as client:
            found = client.get_online_features("svc", {"user": [1, 2, 3]})
            assert found.to_dict() == {"x": [hour, hour, None]}
            assert found.served_at == START + hour * HOUR
            assert found.replay is True
    assert served.stop(signal.SIGINT) == 0
    rows = logged(repo, "data/replays/july/log")
    assert len(rows) == 19 * 3
    assert all(row["replay"] and (row["x"] is None or START + row["x"] * HOUR == row["served_at"]) for row in rows)
    assert not (repo / "data/log").exists()


def test_a_rehearsal_is_held_once(start: Callable[..., Served], repo: Path) -> None:
    served = start("july", START.isoformat())
    with FeatureClient(served.address) as client:
        client.get_online_features("svc", {"user": [1]})
    assert served.stop() == 0
    with pytest.raises(ConfigError, match="was held before"):
        serve(load(repo), replay="july", port=0)


def test_workers_end_when_their_parent_is_killed_and_a_dead_worker_is_replaced(start: Callable[..., Served]) -> None:
    served = start(workers=2)
    parent = psutil.Process(served.process.pid)
    children = [one for one in parent.children() if "resource_tracker" not in " ".join(one.cmdline())]
    assert len(children) == 2
    children[0].kill()
    deadline = time.monotonic() + 20
    while len(fresh := [one for one in parent.children() if one not in children]) < 1 or not _serves(served.address):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    family = [children[1], *fresh]
    os.kill(served.process.pid, signal.SIGKILL)
    _, alive = psutil.wait_procs(family, timeout=20)
    assert alive == []


def _serves(address: str) -> bool:
    with FeatureClient(address) as client:
        return client.is_serving()


def test_a_port_in_use_is_said_before_anything_starts(repo: Path) -> None:
    for option in (None, socket.SO_REUSEPORT):
        with socket.socket() as taken:
            if option is not None:
                taken.setsockopt(socket.SOL_SOCKET, option, 1)
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = taken.getsockname()[1]
            with pytest.raises(AddressInUseError, match=f"Port {port} of 127.0.0.1 is taken"):
                serve(load(repo), port=port)
    assert not (repo / "data/log").exists()


def test_a_host_that_is_not_ours_is_named(repo: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot listen at 192\.0\.2\.1"):
        serve(load(repo), host="192.0.2.1", port=0)


def test_a_live_server_takes_no_clock(repo: Path) -> None:
    with pytest.raises(ConfigError, match="live server"):
        serve(load(repo), clock=START, port=0)
