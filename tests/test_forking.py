"""A program that starts by a fork is a process like any other."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.forking import Forked, run

ABOUT = """
import json, os, sys
print(json.dumps([sys.argv, os.getcwd(), dict(os.environ), os.getpid(), os.getsid(0), __name__, sys.stdin.read()]))
print("said", file=sys.stderr)
sys.exit(3)
"""


def test_it_has_its_arguments_folder_environment_streams_and_code(tmp_path: Path) -> None:
    command = [sys.executable, "-c", ABOUT, "one", "two"]
    ran = run(command, cwd=tmp_path, env={"NAME": "ada"}, input="asked", capture_output=True, text=True)
    argv, folder, environment, pid, session, name, heard = json.loads(ran.stdout)
    assert (ran.returncode, ran.stderr) == (3, "said\n")
    assert (argv, folder, environment) == (["-c", "one", "two"], str(tmp_path), {"NAME": "ada"})
    assert (name, heard) == ("__main__", "asked")
    assert pid != os.getpid()
    assert session == os.getsid(0)


def test_a_file_finds_its_neighbours_and_what_ends_an_interpreter_is_done(tmp_path: Path) -> None:
    (tmp_path / "neighbour.py").write_text("VALUE = 7\n")
    (tmp_path / "program.py").write_text(
        "import atexit, threading, neighbour\n"
        "atexit.register(print, 'at exit')\n"
        "threading.Timer(0.05, print, ['a thread']).start()\n"
        "raise SystemExit(neighbour.VALUE)\n"
    )
    ran = run([sys.executable, tmp_path / "program.py"], capture_output=True, text=True)
    assert (ran.returncode, ran.stdout, ran.stderr) == (7, "a thread\nat exit\n", "")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL, signal.SIGINT])
def test_it_hears_signals_and_ends_of_them(number: signal.Signals) -> None:
    program = "import time; print('ready', flush=True); time.sleep(60)"
    with Forked(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        assert process.poll() is None
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.05)
        os.killpg(process.pid, number)
        output, _ = process.communicate(timeout=60)
    assert process.returncode == -number
    assert ("KeyboardInterrupt" in output) == (number == signal.SIGINT)
    with pytest.raises(ProcessLookupError):
        os.kill(process.pid, 0)


def test_a_program_that_is_started_starts_others_by_the_same_fork() -> None:
    program = (
        "import sys; from tests.forking import run, SOCKET; import os\n"
        "print(os.environ[SOCKET] == sys.argv[1])\n"
        "run([sys.executable, '-c', 'print(1)'])\n"
    )
    run([sys.executable, "-c", "pass"])
    command = [sys.executable, "-c", program, os.environ["FEATURESTORE_TESTS_FORKER"]]
    ran = run(command, capture_output=True, text=True)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "True\n1\n", "")
