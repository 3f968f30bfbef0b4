"""A PostgreSQL of a test's own, which may be killed and started again."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg

from tests.conftest import ACCESS, SETTINGS, Program, _free_port, _programs, _server_user


class Cluster:
    """A PostgreSQL that may be killed, and begins again where it was."""

    def __init__(self, folder: Path, programs: Path) -> None:
        self._folder, self._programs, self._user = folder, programs, _server_user()
        self._as_user: dict[str, Any] = (
            {} if self._user is None else {"user": self._user.pw_uid, "group": self._user.pw_gid, "extra_groups": []}
        )
        self._process: subprocess.Popen[bytes] | None = None
        self.port = _free_port()
        if self._user is not None:
            os.chown(folder, self._user.pw_uid, self._user.pw_gid)
        options = ["-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"]
        subprocess.run(
            [programs / "initdb", "-D", folder / "data", *options],
            check=True,
            capture_output=True,
            cwd="/",
            **self._as_user,
        )
        (folder / "data" / "pg_hba.conf").write_text(ACCESS)

    @property
    def url(self) -> str:
        return f"postgresql+psycopg://postgres@127.0.0.1:{self.port}/postgres"

    def start(self) -> None:
        """Have it answer; what it was before it was killed may hold its memory for a moment still."""
        settings = [part for name, value in SETTINGS.items() for part in ("-c", f"{name}={value}")]
        command = [self._programs / "postgres", "-D", self._folder / "data", "-p", str(self.port), *settings]

        def answers() -> bool:
            if self._process is None or self._process.poll() is not None:
                with (self._folder / "log").open("ab") as log:
                    self._process = subprocess.Popen(command, stdout=log, stderr=log, cwd="/", **self._as_user)
            return self._answers()

        wait_for(answers)

    def kill(self) -> None:
        """End it as a machine that loses its power does."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            self._process = None

    def _answers(self) -> bool:
        try:
            psycopg.connect(self.url.replace("+psycopg", ""), connect_timeout=5).close()
        except psycopg.OperationalError:
            return False
        return True


def wait_for(so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not so():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def cluster_of_its_own(program: Program) -> Iterator[Cluster]:
    """Yield one that is not started yet, and remove it."""
    folder = Path(tempfile.mkdtemp(prefix="postgresql-"))
    cluster = Cluster(folder, _programs(program))
    yield cluster
    cluster.kill()
    shutil.rmtree(folder, ignore_errors=True)
