"""The demo's own processes: started, waited for, and ended whatever happens."""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from featurestore import FeatureStoreError


class Processes:
    """Processes by name; those still running when the block is left are ended."""

    def __init__(self) -> None:
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._logs: dict[str, Path] = {}

    def __enter__(self) -> Processes:
        return self

    def __exit__(self, *_: object) -> None:
        # A second Ctrl-C must not leave half of them behind.
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            for name in list(self._running):
                self.stop(name)
        finally:
            signal.signal(signal.SIGINT, before)

    def start(self, name: str, repo: Path, *arguments: str) -> None:
        """Start ``featurestore ARGUMENTS`` in the store's folder; its output goes to ``NAME.log`` beside it."""
        self._logs[name] = repo.parent / f"{name}.log"
        with self._logs[name].open("wb") as log:
            # A session of its own: Ctrl-C reaches the demo, and the demo ends its processes in order.
            self._running[name] = subprocess.Popen(
                [sys.executable, "-m", "featurestore", *arguments, "--repo", str(repo)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def output(self, name: str) -> str:
        """Return what a process has printed."""
        return self._logs[name].read_text(encoding="utf-8", errors="replace")

    def check(self, name: str) -> None:
        """Raise if a process has ended, with what it said last."""
        code = self._running[name].poll()
        if code is not None:
            said = self.output(name).strip().splitlines()
            raise FeatureStoreError(
                f"The {name} ended with exit code {code}: {said[-1] if said else 'it said nothing'}",
                hint=f"All it said is in {self._logs[name]}.",
            )

    def wait_until(self, ready: Callable[[], bool], name: str, what: str, seconds: float = 60.0) -> None:
        """Wait until ``ready`` says so.

        Raises:
            FeatureStoreError: the process has ended, or the time is up.
        """
        deadline = time.monotonic() + seconds
        while not ready():
            self.check(name)
            if time.monotonic() > deadline:
                raise FeatureStoreError(
                    f"The {name} did not {what} within {seconds:.0f} s.", hint=f"See {self._logs[name]}."
                )
            time.sleep(0.1)

    def stop(self, name: str) -> None:
        """End a process: politely, and after 15 seconds not."""
        process = self._running.pop(name, None)
        if process is None or process.poll() is not None:
            return
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def free_port() -> int:
    """Return a port on loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def only_one(folder: Path) -> Iterator[None]:
    """Hold the folder for this process.

    Raises:
        FeatureStoreError: another demo works in it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            raise FeatureStoreError(
                f"Another demo (process {lock.read().strip() or 'unknown'}) works in {folder}.",
                hint="Wait for it, or use another folder: python examples/nycflights/demo.py --dir FOLDER",
            ) from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield
