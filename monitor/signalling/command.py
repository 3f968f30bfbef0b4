"""A command that is run for each retraining signal: a channel of the outbox, which also retries it.

The command gets the signal's CloudEvent on its standard input, the store's folder as its own, and the environment of
the monitor; no shell is between. What it prints is its answer: a line ``{"state": "RUNNING"}``, or ``{"state": "DONE",
"dataset": "delays@2", "model": "ridge@2"}``, is an acknowledgement, as ``AcknowledgeSignal`` takes it. Other lines go
to the monitor's log, and its standard error is the monitor's. Exit code 0 says that the signal was taken.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import IO, Any, Protocol

import structlog

from featurestore.errors import FeatureStoreError
from monitor.alerts.base import Kind, Message, Outcome, Status
from monitor.alerts.channels.webhook import cloud_event
from monitor.signalling.routing import NAME

#: How long a command whose time is over may take to end by itself.
_GRACE_SECONDS = 5.0
#: How often it is looked whether the command has ended, or the monitor is about to.
_LOOK_SECONDS = 0.05
#: How long is waited for the last lines of a command that has ended.
_DRAIN_SECONDS = 1.0
#: When to try again while the command of an earlier run is at work.
_BUSY_SECONDS = 60.0
#: A line of an answer; longer ones are cut. And what of another line the log keeps.
_MOST_LINE = 64 << 10
_MOST_SHOWN = 500

_log = structlog.get_logger("monitor.command")


class Timeline(Protocol):
    """Where it is kept what became of a signal. Each call is a transaction of its own."""

    def wanted(self, signal: str) -> bool:
        """Return whether anybody still waits for the training: it may be done, by somebody else."""
        ...

    def acknowledge(self, signal: str, said: Mapping[str, Any]) -> None:
        """Keep an acknowledgement, in protobuf's JSON form without the id.

        Raises:
            FeatureStoreError: it cannot be kept.
        """
        ...

    def note(self, signal: str, reason: str) -> None:
        """Keep that something happened which changes no state."""
        ...


class CommandHook:
    """See :class:`monitor.alerts.base.Channel`.

    One command runs at a time. A lock tells, which the command inherits: one that has outlived its monitor, because
    that was killed, is not joined by a second one.

    Args:
        command: the program and its arguments.
        folder: where it runs: the store's.
        lock: a file that is locked while it runs.
        timeout: seconds after which it is stopped, with the processes of its group.
        timeline: where it is kept what became of it.
    """

    name = NAME
    rehearsals = False

    def __init__(self, command: Sequence[str], *, folder: Path, lock: Path, timeout: float, timeline: Timeline) -> None:
        self._command = list(command)
        self._folder = folder
        self._lock = lock
        self._timeout = timeout
        self._timeline = timeline
        self._ending = threading.Event()

    def interrupt(self) -> None:
        """Stop the command, if it runs, and run none any more: the next monitor runs it again."""
        self._ending.set()

    def close(self) -> None:
        """See :meth:`interrupt`."""
        self.interrupt()

    def probe(self, *, now: datetime) -> Outcome:  # noqa: ARG002 - a program is there, whatever the time
        """Look for the program."""
        if not program_found(self._command[0], self._folder):
            return Outcome(Status.RETRY, f'there is no program "{self._command[0]}" that can be run')
        return Outcome(Status.DELIVERED)

    def deliver(self, message: Message, *, now: datetime) -> Outcome:  # noqa: ARG002 - nothing is signed
        """Run the command once, to its end."""
        if message.kind is not Kind.RETRAINING or message.payload.get("state") != "SIGNAL_STATE_APPROVED":
            return Outcome(Status.DELIVERED)  # a question to people, or an answer: nothing to train for
        found = str(message.payload["id"])
        if not self._timeline.wanted(found):
            return Outcome(Status.DELIVERED)
        if self._ending.is_set():
            return Outcome(Status.RETRY, "the monitor ends")
        self._lock.parent.mkdir(parents=True, exist_ok=True)
        with self._lock.open("a") as held:
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                reason = "the command of an earlier run is still at work"
                return Outcome(Status.RETRY, reason, retry_after=_BUSY_SECONDS)
            return self._run(found, message, held.fileno())

    def _run(self, found: str, message: Message, lock: int) -> Outcome:
        began = time.monotonic()
        try:
            process = subprocess.Popen(  # noqa: S603 - the command is the operator's own, and no shell reads it
                self._command,
                cwd=self._folder,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                start_new_session=True,
                pass_fds=(lock,),
            )
        except OSError as error:
            return self._failed(found, f'the program "{self._command[0]}" cannot be run: {error.strerror}')
        answers = _Answers(found, self._timeline)
        assert process.stdin is not None and process.stdout is not None  # noqa: S101, PT018 - both are pipes
        body = json.dumps(cloud_event(message), ensure_ascii=False).encode()
        writing = threading.Thread(target=_feed, args=(process.stdin, body), daemon=True)
        reading = threading.Thread(target=answers.read, args=(process.stdout,), daemon=True)
        writing.start()
        reading.start()
        stopped = self._wait(process, began)
        # A process that the command has left behind may keep the pipe: it is read on, and not waited for.
        reading.join(_DRAIN_SECONDS)
        seconds = time.monotonic() - began
        if stopped:
            return self._failed(found, f"the command was stopped after {seconds:.1f} s: {stopped}")
        if process.returncode < 0:
            name = signal.Signals(-process.returncode).name
            return self._failed(found, f"the command was ended by {name} after {seconds:.1f} s")
        if process.returncode:
            return self._failed(found, f"the command ended with exit code {process.returncode} after {seconds:.1f} s")
        done = f"the command ended with exit code 0 after {seconds:.1f} s"
        if answers.count:
            self._timeline.note(found, done)
        else:
            answers.take({"state": "ACCEPTED", "reason": done})
        return Outcome(Status.DELIVERED)

    def _wait(self, process: subprocess.Popen[bytes], began: float) -> str:
        """Wait for the command's end; return why it had to be stopped, "" if it had not."""
        while process.poll() is None:
            if self._ending.wait(_LOOK_SECONDS):
                why = "the monitor ended"
            elif time.monotonic() - began > self._timeout:
                why = f"it may take {self._timeout:g} s (command_timeout_seconds)"
            else:
                continue
            _stop(process)
            return why
        return ""

    def _failed(self, found: str, reason: str) -> Outcome:
        self._timeline.note(found, reason)
        return Outcome(Status.RETRY, reason)


def program_found(program: str, folder: Path) -> bool:
    """Return whether the system finds a program; a name with a slash is a path, from the folder where it runs."""
    return shutil.which(str(folder / program) if os.sep in program else program) is not None


class _Answers:
    """What a command prints.

    Attributes:
        count: acknowledgements that were kept.
    """

    def __init__(self, found: str, timeline: Timeline) -> None:
        self._signal = found
        self._timeline = timeline
        self.count = 0

    def read(self, pipe: IO[bytes]) -> None:
        """Take each line, until there are no more."""
        with pipe:
            while line := pipe.readline(_MOST_LINE):
                text = line.decode(errors="replace").strip()
                said = _object(text)
                if said is not None and "state" in said:
                    self.take(said)
                elif text:
                    _log.info("command said", signal=self._signal, line=text[:_MOST_SHOWN])

    def take(self, said: Mapping[str, Any]) -> None:
        """Keep an acknowledgement; one that cannot be kept is told of, and stops nothing."""
        try:
            self._timeline.acknowledge(self._signal, said)
            self.count += 1
        except FeatureStoreError as error:
            _log.error("answer of the command not kept", signal=self._signal, error=error.message, hint=error.hint)
            with suppress(FeatureStoreError):
                self._timeline.note(self._signal, f"an answer of the command was not kept: {error.message}")


def _object(text: str) -> dict[str, Any] | None:
    if not text.startswith("{"):
        return None
    try:
        found = json.loads(text)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _feed(pipe: IO[bytes], body: bytes) -> None:
    """Write the event; a command that does not read it need not."""
    with suppress(BrokenPipeError), pipe:
        pipe.write(body)


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End the command and the processes of its group, by force if it takes too long."""
    deadline = time.monotonic() + _GRACE_SECONDS
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
        # The command may end at once, and what it has started not at all: that would keep the lock.
        while time.monotonic() < deadline:
            process.poll()
            os.killpg(process.pid, 0)
            time.sleep(_LOOK_SECONDS)
        os.killpg(process.pid, signal.SIGKILL)
    with suppress(subprocess.TimeoutExpired):
        process.wait(_GRACE_SECONDS)
