"""A file of JSON lines: each message is a CloudEvent, on a line of its own.

The file is opened anew for each message, so that whatever turns logs over (logrotate, newsyslog) may rename it at any
time. A line is on the disk when it counts as delivered.
"""

from __future__ import annotations

import fcntl
import json
import os
from datetime import datetime
from pathlib import Path

from featurestore.errors import ConfigError
from featurestore.settings.channels import FileConfig
from featurestore.storage.durable import sync
from monitor.alerts.base import Message, Outcome, Status
from monitor.alerts.channels.webhook import cloud_event

#: Only the monitor writes, its group may read.
_MODE = 0o640


class File:
    """Appends each message to one file.

    Args:
        name: the channel's name in ``featurestore.toml``.
        config: its section.

    Raises:
        ConfigError: the section names no file.
    """

    def __init__(self, name: str, config: FileConfig) -> None:
        if not config.path:
            raise ConfigError(f'Channel "{name}" names no file.', hint='path = "data/alerts.jsonl"')
        self.name = name
        self.rehearsals = config.rehearsals
        self._file = Path(config.path)

    def close(self) -> None:
        """There is nothing to release."""

    def deliver(self, message: Message, *, now: datetime) -> Outcome:  # noqa: ARG002 - the protocol's signature
        """Append the message; see :class:`monitor.alerts.base.Channel`."""
        # In ASCII: some readers end a line at U+2028, too.
        line = json.dumps(cloud_event(message), separators=(",", ":")).encode("ascii") + b"\n"
        written = False
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self._file, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK, _MODE)
            try:
                self._append(descriptor, line)
            finally:
                os.close(descriptor)
            written = True
            sync(self._file.parent)
        except OSError as error:
            return Outcome(Status.RETRY, f"{self._file} cannot be written: {error.strerror}", untaken=not written)
        return Outcome(Status.DELIVERED)

    def probe(self, *, now: datetime) -> Outcome:  # noqa: ARG002
        """Find out whether the file can be written, and leave it as it is; see :class:`.base.Channel`."""
        place = self._file
        while not place.exists() and place != place.parent:
            place = place.parent
        if not os.access(place, os.W_OK) or place.is_dir() == (place == self._file):
            return Outcome(Status.RETRY, f"{self._file} cannot be written: {place} is not writable, or no file")
        return Outcome(Status.DELIVERED)

    @staticmethod
    def _append(descriptor: int, line: bytes) -> None:
        # Another project's monitor may write to the same file; one that holds it for long must not hold us up.
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        end = os.lseek(descriptor, 0, os.SEEK_END)
        # A machine that stopped in the middle of a line leaves one that is no JSON; ours begins after it.
        torn = end > 0 and os.pread(descriptor, 1, end - 1) != b"\n"
        rest = memoryview(b"\n" + line if torn else line)
        try:
            while rest:
                rest = rest[os.write(descriptor, rest) :]
            os.fsync(descriptor)
        except OSError:
            os.ftruncate(descriptor, end)  # a full disk takes part of a line
            raise
