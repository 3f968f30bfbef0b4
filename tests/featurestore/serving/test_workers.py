"""Server processes: started, announced, drained, and gone when their parent is."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from structlog.testing import capture_logs

from featurestore import Entity, FeatureService, FeatureStore, FeatureView, Field
from featurestore.client import FeatureClient
from featurestore.config import load
from featurestore.errors import AddressInUseError, ConfigError, RegistryError, ServingError
from featurestore.serving import worker
from featurestore.serving.workers import serve
from featurestore.types import Int64
from tests import forking

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
        process = forking.Forked(command, stdout=subprocess.PIPE, text=True)
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


def test_no_answer_holds_a_row_newer_than_its_clock_while_the_clock_moves(start: Callable[..., Served]) -> None:
    served = start("july", START.isoformat(), 2)
    done = threading.Event()
    faults: list[Any] = []
    seen: set[int] = set()

    def ask() -> None:
        while not done.is_set():
            # A connection stays with one worker; a new one may reach the other.
            with FeatureClient(served.address) as client:
                for _ in range(20):
                    found = client.get_online_features("svc", {"user": [1, 2]})
                    hour = (found.served_at - START) // HOUR
                    seen.add(hour)
                    if found.to_dict() != {"x": [hour, hour]}:
                        faults.append((found.served_at, found.to_dict()))

    clients = [threading.Thread(target=ask) for _ in range(3)]
    for one in clients:
        one.start()
    for hour in range(1, 48):
        with FeatureClient(served.address) as client:
            assert client.advance_clock(START + hour * HOUR) == 2
    done.set()
    for one in clients:
        one.join()
    assert faults == []
    assert len(seen) > 2
    assert served.stop() == 0


def test_a_service_applied_during_a_rehearsal_misses_no_row_of_the_next_advance(
    start: Callable[..., Served], repo: Path
) -> None:
    served = start("july", START.isoformat(), 2)
    later = FeatureView(name="later", entities=VIEW.entities, schema=[Field(name="y", dtype=Int64)], ttl=3 * HOUR)
    with FeatureStore(repo) as store:
        store.apply([later])
        rows = [{"user": 1, "y": hour, "event_timestamp": START + hour * HOUR} for hour in range(48)]
        store.ingest("later", pa.Table.from_pylist(rows))
        store.apply([FeatureService(name="new", features=[later])])
    # At once, before the workers look at the registry by themselves.
    with FeatureClient(served.address) as client:
        client.advance_clock(START + 5 * HOUR)
        assert client.get_online_features("new", {"user": [1]}).to_dict() == {"y": [5]}
    assert served.stop() == 0


def test_a_rehearsal_has_one_server_at_a_time(start: Callable[..., Served], repo: Path) -> None:
    served = start("july", START.isoformat())
    with FeatureClient(served.address) as client:
        client.advance_clock(START + HOUR)
        with pytest.raises(ConfigError, match='Another server holds replay "july"'):
            serve(load(repo), replay="july", port=0)
        assert client.get_online_features("svc", {"user": [1]}).to_dict() == {"x": [1]}
    os.kill(served.process.pid, signal.SIGKILL)
    served.process.wait()
    (repo / "data/replays/july/log/svc").mkdir(parents=True, exist_ok=True)
    (repo / "data/replays/july/log/svc/w-1.parquet").touch()
    # The lock is free again; the log is what is left.
    with pytest.raises(ConfigError, match="was held before"):
        serve(load(repo), replay="july", port=0)


@pytest.mark.parametrize("count", [1, 2])
def test_a_log_that_cannot_be_written_is_named_and_no_worker_shows_a_traceback(
    repo: Path, count: int, capfd: pytest.CaptureFixture[str]
) -> None:
    (repo / "data" / "log").write_text("not a folder")
    with pytest.raises(ServingError, match="log cannot be written"):
        serve(load(repo), workers=count, port=0)
    assert capfd.readouterr() == ("", "")


#: A worker that is told to end while it starts, or once more while it ends: by its parent, after a terminal's Ctrl-C.
ENDING = """
import os, signal, sys
from featurestore.serving import workers

class Line:
    def send(self, what):
        print("told", what, flush=True)

def serve_here(config, address, parent, ready, metrics):
    if sys.argv[1] == "ends":
        ready()
    for number in workers.SIGNALS:
        os.kill(os.getpid(), number)
    print("closed", flush=True)

workers.serve_here = serve_here
workers._work(None, "", Line(), None)
"""


@pytest.mark.parametrize(("when", "said"), [("starts", ""), ("ends", "told None\nclosed\n")])
def test_a_worker_that_starts_just_ends_and_one_that_ends_is_not_disturbed(when: str, said: str) -> None:
    ran = subprocess.run([sys.executable, "-c", ENDING, when], capture_output=True, text=True)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, said, "")


def test_a_server_that_ended_hears_no_signals_any_more(repo: Path) -> None:
    (repo / "data" / "log").write_text("not a folder")
    heard = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with pytest.raises(ServingError, match="log cannot be written"):
        serve(load(repo), port=0)
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == heard


@pytest.mark.parametrize("port", [-1, 65536, 99999])
def test_a_number_that_is_no_port_is_refused(repo: Path, port: int) -> None:
    with pytest.raises(ConfigError, match=f"^{port} is not a port"):
        serve(load(repo), port=port)


def test_a_task_that_keeps_failing_says_so_once_and_again_after_it_recovered() -> None:
    outcomes = [True, False, False, True, False]

    async def work() -> None:
        if not outcomes:
            await asyncio.sleep(60)
        if not outcomes.pop(0):
            raise RegistryError("The registry is away.", hint="Bring it back.")

    async def run() -> None:
        task = asyncio.create_task(worker._every(0.001, "reload", work))
        while outcomes:
            await asyncio.sleep(0.01)
        task.cancel()

    with capture_logs() as said:
        asyncio.run(run())
    assert [(line["error"], line["hint"]) for line in said] == [("The registry is away.", "Bring it back.")] * 2


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


def test_a_worker_that_cannot_be_replaced_is_told_of_with_the_reason(start: Callable[..., Served], repo: Path) -> None:
    served = start(workers=2)
    children = [
        one for one in psutil.Process(served.process.pid).children() if "resource_tracker" not in one.cmdline()[-1]
    ]
    (repo / "data/log").rename(repo / "data/old")
    (repo / "data/log").write_text("not a folder")
    children[0].kill()
    assert served.process.stdout is not None
    # The first line tells of the kill, the second of the one that could not take its place.
    lines = [served.process.stdout.readline() for _ in range(2)]
    assert "server process died" in lines[0]
    assert "log cannot be written" in lines[1]
    (repo / "data/log").unlink()
    assert served.stop() == 0


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


def test_the_event_loop_is_uvloops_where_that_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("uvloop", "asyncio"):
        loop = worker._event_loop()
        assert type(loop).__module__.partition(".")[0] == module
        loop.close()
        monkeypatch.setitem(sys.modules, "uvloop", None)  # importing it fails from now on
