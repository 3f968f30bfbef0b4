"""A server of a shop, and what is asked of it all the while over several connections: lookups and pushes."""

from __future__ import annotations

import asyncio
import contextlib
import random
import re
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import psutil
from served_shop import KEYS, SHAPES, Asked, Truth, load_of, now, table

from featurestore.client import AsyncFeatureClient, FeatureClient
from featurestore.errors import FeatureStoreError, ServerUnavailableError

WORKERS = 2
#: Lookups under way at once of each kind.
UNARY, STREAMS, OF_A_STREAM = 6, 2, 5
PUSHERS = 2
#: Seconds that a call may take: how busy the machine is does not matter here, and what hangs is found all the same.
TIMEOUT = 60.0
#: The longest time after which a client that found no server tries to connect again, and what that takes.
RECONNECT_SECONDS = 4.0


class Server:
    """``featurestore serve`` with two workers, on one port for as long as the program runs.

    Attributes:
        address: where it listens.
    """

    def __init__(self, folder: Path) -> None:
        with socket.socket() as bound:
            bound.bind(("127.0.0.1", 0))
            port = bound.getsockname()[1]
        self.address = f"127.0.0.1:{port}"
        self._port = port
        self._log = folder / "server.log"
        self._command = [sys.executable, "-m", "featurestore", "serve", "-C", str(folder)]
        self._command += ["--workers", str(WORKERS), "--port", str(port)]
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Start it, and return once it says that it serves."""
        with self._log.open("a") as log:
            self._process = subprocess.Popen(self._command, stdout=subprocess.PIPE, stderr=log, text=True)
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line.startswith("Serving"), line + self._log.read_text()

    @property
    def pid(self) -> int:
        """The supervisor's."""
        assert self._process is not None
        return self._process.pid

    def workers(self) -> list[psutil.Process]:
        """Return the workers that listen."""
        found = []
        for one in psutil.Process(self.pid).children():
            with contextlib.suppress(psutil.Error):
                ports = [line.laddr.port for line in one.net_connections("tcp") if line.status == psutil.CONN_LISTEN]
                if self._port in ports:
                    found.append(one)
        return found

    def await_workers(self) -> None:
        """Wait until all workers listen."""
        until = time.monotonic() + 60
        while len(self.workers()) < WORKERS:
            assert time.monotonic() < until, "a worker does not come back"
            time.sleep(0.02)

    def memory(self) -> int:
        """Return the bytes of all workers that are theirs alone: no pages of the online store's file."""
        found = [one.memory_info() for one in self.workers()]
        return sum(one.rss - one.shared for one in found)

    def kill(self) -> None:
        """Kill the supervisor and all workers at once."""
        family = [psutil.Process(self.pid), *psutil.Process(self.pid).children(recursive=True)]
        for one in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                one.kill()
        self._ended()
        psutil.wait_procs(family[1:], 10)

    def stop(self) -> None:
        """End it as an operator does."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            assert self._ended() == 0, self._log.read_text()

    def _ended(self) -> int:
        assert self._process is not None
        assert self._process.stdout is not None
        code = self._process.wait(60)
        self._process.stdout.close()
        return code

    def troubles(self) -> list[str]:
        """Return what the server's log says of errors, but for workers that were killed."""
        lines = self._log.read_text().splitlines()
        return [one for one in lines if re.search("error|Traceback|warning", one) and "server process died" not in one]


class Writer:
    """A process that writes, and what it says that it has done.

    Attributes:
        done: lines by their first word.
    """

    def __init__(self, folder: Path, role: str, truth: Truth) -> None:
        program = Path(__file__).with_name("shop_writers.py")
        self._errors = (folder / f"{role}.log").open("a+")
        self._process = subprocess.Popen(
            [sys.executable, str(program), str(folder), role], stdout=subprocess.PIPE, stderr=self._errors, text=True
        )
        self._truth = truth
        self.done: Counter[str] = Counter()
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if not line.endswith("\n"):
                break  # it was cut off
            what, *details = line.split()
            if what == "load":
                self._truth.kept.update(load_of(int(details[0])))
            self.done[what] += 1
            if details and not details[0].isdigit():
                self.done[f"{what} {details[0]}"] += 1

    def check(self) -> None:
        """Raise an error if it has ended by itself."""
        if self._process.poll() is not None:
            self._errors.seek(0)
            raise AssertionError(f"a writer has ended: {self._errors.read()}")

    def kill(self) -> None:
        """Kill it, and take in what it has said before."""
        self._process.kill()
        self._process.wait()
        self._thread.join()
        assert self._process.stdout is not None
        self._process.stdout.close()
        self._errors.close()


class Load:
    """Lookups and pushes, until it is stopped or one of them goes wrong.

    Args:
        address: of the server.
        truth: checks the answers.
        killed: whether workers are, so that a push may have no answer.

    Attributes:
        done: lookups and pushes, and by kind.
        away_until: the monotonic time up to which no server need be there.
        faults: what went wrong.
    """

    def __init__(self, address: str, truth: Truth, *, killed: bool = False) -> None:
        self._address = address
        self._truth = truth
        self._killed = killed
        self._ending = threading.Event()
        self._lock = threading.Lock()
        self._views: dict[str, int] = {}
        self.done: Counter[str] = Counter()
        self.away_until = 0.0
        self.faults: list[BaseException] = []
        self._threads = [threading.Thread(target=self._guarded, args=(self._look_up_async,))]
        self._threads += [threading.Thread(target=self._guarded, args=(self._look_up,))]
        self._threads += [threading.Thread(target=self._guarded, args=(self._push, lane)) for lane in range(PUSHERS)]

    def __enter__(self) -> Load:
        for one in self._threads:
            one.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        for one in self._threads:
            one.join()

    def _guarded(self, work: Callable[..., None], *arguments: object) -> None:
        try:
            work(*arguments)
        except BaseException as error:  # noqa: BLE001 - the main thread tells of it
            self.faults.append(error)
            self._ending.set()

    def server_goes(self) -> None:
        """Let calls find no server from now on."""
        self.away_until = float("inf")

    def server_is_back(self) -> None:
        """Let calls find one again."""
        self.away_until = time.monotonic() + RECONNECT_SECONDS

    def check(self) -> None:
        """Raise what went wrong, if anything."""
        if self.faults:
            raise self.faults[0]

    def _count(self, name: str) -> None:
        with self._lock:
            self.done[name] += 1

    def _refused(self, error: FeatureStoreError, name: str) -> None:
        """Take in that a call failed, which may be only while the server is killed."""
        may_be = time.monotonic() < self.away_until or (self._killed and name == "pushes")
        if not (isinstance(error, ServerUnavailableError) and may_be):
            raise error
        self._count(f"{name} without an answer")
        time.sleep(0.05)

    def _rows(self, chance: random.Random) -> list[dict[str, int]]:
        many = chance.choice([1, 1, 1, 2, 20])
        pairs = [(chance.choice(KEYS), chance.choice(KEYS)) for _ in range(many)]
        return [{"user_id": user, "friend_id": chance.choice([user, friend, pairs[0][0]])} for user, friend in pairs]

    def _look_up(self) -> None:
        """Look up from a thread; it asks each version for its schema by itself."""
        chance = random.Random(1)
        with FeatureClient(self._address, timeout=TIMEOUT) as client:
            while not self._ending.is_set():
                asked = Asked(self._truth, self._rows(chance))
                try:
                    answer = client.get_online_features("scoring", asked.rows, routing_key=str(chance.random()))
                    if answer.service not in self._views:
                        self._views[answer.service] = client.get_schema(answer.service).views[0].version
                except FeatureStoreError as error:
                    self._refused(error, "lookups")
                    continue
                self._truth.check(asked, answer, self._views[answer.service])
                self._count("lookups")
                self._count("lookups in a thread")

    def _look_up_async(self) -> None:
        asyncio.run(self._look_up_together())

    async def _look_up_together(self) -> None:
        async with contextlib.AsyncExitStack() as open_ones:
            clients = [AsyncFeatureClient(self._address, timeout=TIMEOUT) for _ in range(2)]
            for one in clients:
                await open_ones.enter_async_context(one)
            streams = [await open_ones.enter_async_context(clients[0].stream()) for _ in range(STREAMS)]
            calls: list[tuple[str, Callable[..., Coroutine[Any, Any, Any]]]] = []
            calls += [("unary lookups", clients[number % 2].get_online_features) for number in range(UNARY)]
            calls += [("streamed lookups", one.get_online_features) for one in streams for _ in range(OF_A_STREAM)]
            async with asyncio.TaskGroup() as group:
                for number, (name, call) in enumerate(calls):
                    group.create_task(self._look_up_by(name, call, clients[1], random.Random(number)))

    async def _look_up_by(
        self,
        name: str,
        call: Callable[..., Coroutine[Any, Any, Any]],
        client: AsyncFeatureClient,
        chance: random.Random,
    ) -> None:
        while not self._ending.is_set():
            asked = Asked(self._truth, self._rows(chance))
            try:
                answer = await call("scoring", asked.rows, routing_key=str(chance.random()))
                if answer.service not in self._views:
                    self._views[answer.service] = (await client.get_schema(answer.service)).views[0].version
            except FeatureStoreError as error:
                self._refused(error, "lookups")
                await asyncio.sleep(0.05)
                continue
            self._truth.check(asked, answer, self._views[answer.service])
            self._count("lookups")
            self._count(name)

    def _push(self, lane: int) -> None:
        """Push rows, some of them late; the last bits of a number tell who wrote it."""
        chance = random.Random(lane)
        # A push that was tried again may be stored twice, which changes no value; here each is looked for once.
        with FeatureClient(self._address, retries=0, timeout=TIMEOUT) as client:
            while not self._ending.is_set():
                number = now() - (0 if chance.random() < 0.7 else chance.randrange(600_000_000))
                keys = chance.sample(KEYS, chance.choice([1, 1, 2, 10]))
                rows = [(key, number & ~7 | lane) for key in keys]
                try:
                    pushed = client.push("clicks", table(rows, SHAPES[0]))
                except FeatureStoreError as error:
                    self._refused(error, "pushes")
                    continue
                assert (pushed.accepted, pushed.rejected) == (len(rows), {})
                self._truth.accept(rows)
                self._count("pushes")
                time.sleep(0.005)
