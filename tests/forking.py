"""Python programs as processes that start at once: forks of one that has imported what they import.

A command keeps a processor busy for a second or two with importing its libraries, and a test that starts some of them
spends little on anything else. :class:`Forked` takes the place of :class:`subprocess.Popen` where Python is started: a
process of its own, with its own memory, folder, environment, signals, streams and exit code, that runs the program from
its first line to the interpreter's end. What it does not show is that a program finds its imports by itself: the demos,
the README's lines and the first commands of ``tests/e2e`` are started as users start them.

``python -m tests.forking SOCKET`` is who forks. Nothing runs in it but imports, so no thread holds a lock when it does.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import gc
import importlib
import json
import os
import runpy
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
import types
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
#: What programs of the tests import, and what these load at their first use.
LOADED = (
    "alembic.command",
    "featurestore.cli.app",
    "featurestore.status",
    "featurestore.store",
    "monitor.cli",
    "monitor.daemon",
    "monitor.status",
    "pandas",
    "psycopg",
    "scipy.optimize",
    "scipy.stats",
    "sqlalchemy.dialects.postgresql.psycopg",
    "sqlalchemy.dialects.sqlite",
)
#: The variable that tells programs who forks for who started them.
SOCKET = "FEATURESTORE_TESTS_FORKER"
_NUMBER = struct.Struct("=i")
_SIZE = struct.Struct("=I")


class Forked(subprocess.Popen[Any]):
    """:class:`subprocess.Popen` of a Python program, ``[sys.executable, ...]``, that starts by a fork.

    Args:
        command: ``-m MODULE``, ``-c PROGRAM`` or a file after the interpreter, and arguments.
        start_new_session: as of :class:`subprocess.Popen`.
        how: whatever else :class:`subprocess.Popen` takes of streams, folder and environment.
    """

    def __init__(self, command: Sequence[Any], *, start_new_session: bool = False, **how: Any) -> None:
        assert set(how) <= {"bufsize", "cwd", "encoding", "env", "errors", "stderr", "stdin", "stdout", "text"}
        self._apart = start_new_session
        self._status = socket.socket(socket.AF_UNIX)
        super().__init__([os.fspath(one) for one in command], **how)

    def _execute_child(self, args: Any, *rest: Any) -> None:
        interpreter, *arguments = args
        assert interpreter == sys.executable, "only Python programs are forked"
        forker = _forker()  # first, as what is started may start others
        cwd, env = rest[4:6]
        ends = rest[9:15]
        asked = {
            "arguments": arguments,
            "cwd": os.fspath(cwd or Path.cwd()),
            "env": dict(os.environ if env is None else env),
            "apart": self._apart,
        }
        message = json.dumps(asked).encode()
        given = [number if end == -1 else end for number, end in enumerate((ends[0], ends[3], ends[5]))]
        try:
            self._status.connect(forker)
            socket.send_fds(self._status, [_SIZE.pack(len(message))], given)
            self._status.sendall(message)
            self.pid = _NUMBER.unpack(self._status.recv(_NUMBER.size, socket.MSG_WAITALL))[0]
            self._child_created = True
        finally:
            self._close_pipe_fds(*ends)

    def _try_wait(self, wait_flags: int) -> tuple[int, int]:
        if wait_flags & os.WNOHANG and not select.select([self._status], [], [], 0)[0]:
            return 0, 0
        told = self._status.recv(_NUMBER.size, socket.MSG_WAITALL)
        self._status.close()
        return self.pid, _NUMBER.unpack(told)[0]

    def _internal_poll(self, *_: Any, **__: Any) -> int | None:
        if self.returncode is None and self._waitpid_lock.acquire(False):
            try:
                if self.returncode is None:
                    pid, status = self._try_wait(os.WNOHANG)
                    if pid:
                        self._handle_exitstatus(status)
            finally:
                self._waitpid_lock.release()
        return self.returncode


def run(
    command: Sequence[Any],
    *,
    input: str | None = None,  # noqa: A002 - the name that subprocess.run has for it
    timeout: float | None = None,
    check: bool = False,
    **how: Any,
) -> subprocess.CompletedProcess[Any]:
    """Do what :func:`subprocess.run` does, by a fork."""
    if how.pop("capture_output", False):
        how |= {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    if input is not None:
        how["stdin"] = subprocess.PIPE
    with Forked(command, **how) as process:
        try:
            output, errors = process.communicate(input, timeout=timeout)
        except BaseException:
            process.kill()
            raise
    ran = subprocess.CompletedProcess(command, process.returncode, output, errors)
    if check:
        ran.check_returncode()
    return ran


@functools.cache
def _forker() -> str:
    """Return where who forks listens: started once for all tests of this process, it ends when this one does."""
    if given := os.environ.get(SOCKET):
        return given
    folder = tempfile.mkdtemp(prefix="forking-")
    path = f"{folder}/socket"
    forker = subprocess.Popen(
        [sys.executable, "-m", "tests.forking", path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT
    )

    def end() -> None:
        forker.communicate()
        shutil.rmtree(folder, ignore_errors=True)

    atexit.register(end)
    assert forker.stdout is not None
    assert forker.stdout.readline() == b"ready\n", "who forks does not start"
    os.environ[SOCKET] = path
    return path


def _serve(path: str) -> Callable[[], None] | None:
    """Fork for each request until standard input ends; return in a child, with what it is to do."""
    for name in LOADED:
        importlib.import_module(name)
    # A child of it is told of to who asked, and by nobody else.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    gc.collect()
    gc.freeze()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen(64)
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        while True:
            heard, _, _ = select.select([listener, 0], [], [])
            if listener not in heard:
                return None
            asker, _ = listener.accept()
            with asker:
                size, streams, _, _ = socket.recv_fds(asker, _SIZE.size, 3)
                message = asker.recv(_SIZE.unpack(size)[0], socket.MSG_WAITALL)
                if not os.fork():
                    listener.close()
                    return _watch(asker, streams, json.loads(message))
                for one in streams:
                    os.close(one)


def _watch(asker: socket.socket, streams: list[int], asked: dict[str, Any]) -> Callable[[], None]:
    """Fork once more, and tell who asked of the child and of its end; return in the child."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    child = os.fork()
    if not child:
        asker.close()
        return _become(streams, asked)
    for one in (*streams, 0, 1):
        os.close(one)
    with contextlib.suppress(OSError):  # who asked has gone
        asker.sendall(_NUMBER.pack(child))
        asker.sendall(_NUMBER.pack(os.waitpid(child, 0)[1]))
    os._exit(0)


def _become(streams: list[int], asked: dict[str, Any]) -> Callable[[], None]:
    """Be the process that was asked for, and return its program."""
    if asked["apart"]:
        os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number, one in enumerate(streams):
        os.dup2(one, number)
    for one in streams:
        os.close(one)
    os.chdir(asked["cwd"])
    os.environ.clear()
    os.environ.update(asked["env"])
    time.tzset()
    sys.path.append(str(ROOT))  # of those that start others; it stands first where the place of the program will
    kind, *rest = asked["arguments"]
    if kind == "-m":
        sys.argv, sys.path[0] = [kind, *rest[1:]], ""
        return functools.partial(runpy.run_module, rest[0], run_name="__main__", alter_sys=True)
    if kind == "-c":
        sys.argv, sys.path[0] = [kind, *rest[1:]], ""
        main = sys.modules["__main__"] = types.ModuleType("__main__")
        return lambda: exec(compile(rest[0], "<string>", "exec"), vars(main))
    assert not kind.startswith("-"), kind
    sys.argv, sys.path[0] = [kind, *rest], str(Path(kind).parent)
    return functools.partial(runpy.run_path, kind, run_name="__main__")


if __name__ == "__main__":
    program = _serve(sys.argv[1])
    if program is not None:
        program()
