"""The access log: a JSON line for each call, with no join key and no value of a feature."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import structlog

from featurestore.errors import ConfigError
from featurestore.serving.call_queue import Call

#: In the place of a path: standard error.
STANDARD_ERROR = "-"

#: W3C's header: version, trace id, span id, flags.
TRACEPARENT = "traceparent"
_TRACEPARENT_PARTS = 4

_logger = structlog.get_logger(__name__)

#: Returns the name of the token that a call's metadata carries; empty if there is none.
CallerOf = Callable[[Sequence[tuple[str, Any]]], str]


def nobody(_: Sequence[tuple[str, Any]]) -> str:
    """Return that the caller is not known."""
    return ""


class AccessLog:
    """Writes lines at the end of a file that several workers share.

    A file that was moved away or removed is begun anew at the next line, so whatever rotates it sends no signal.

    Args:
        file: the file; None for standard error.
        caller_of: knows callers by what comes with their calls.

    Raises:
        ConfigError: the file cannot be written.
    """

    def __init__(self, file: Path | None, caller_of: CallerOf = nobody) -> None:
        self._file = file
        self._caller_of = caller_of
        self._descriptor: int | None = None
        self._failing = False
        #: Whether a disk that was full has cut the last line short.
        self._torn = False
        try:
            self._reopen()
        except OSError as error:
            raise ConfigError(
                f"The access log {file} cannot be written: {error.strerror}.",
                hint='Check "access_log" under [serving] in featurestore.toml, and who may write there.',
            ) from error

    def __call__(self, calls: Sequence[Call]) -> int:
        """Write a line for each call; return how many could not be written."""
        written = 0
        try:
            self._reopen()
            for call in calls:
                self._write(self.line(call))
                written += 1
        except OSError as error:  # a full disk stops the log, never the lookups
            if not self._failing:
                _logger.error("access log cannot be written", file=str(self._file), error=str(error))
            self._failing = True
        else:
            if self._failing:
                _logger.info("access log is written again", file=str(self._file))
            self._failing = False
        return len(calls) - written

    def line(self, call: Call) -> bytes:
        """Return the line of a call."""
        found = {
            "time": datetime.fromtimestamp(call.ended_at / 1e9, UTC).isoformat(timespec="microseconds"),
            "method": call.method,
            "service": call.service or None,
            "rows": call.rows,
            "code": call.code,
            "duration_ms": round(call.seconds * 1e3, 3),
            "request_id": call.request_id or None,
            "peer": call.peer,
            "caller": self._caller_of(call.metadata) or None,
            "trace_id": _trace_id(call.metadata),
        }
        return json.dumps(found, separators=(",", ":")).encode() + b"\n"

    def close(self) -> None:
        """Close the file."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _write(self, line: bytes) -> None:
        data = b"\n" + line if self._torn else line
        if self._descriptor is None:
            sys.stderr.buffer.write(data)
            sys.stderr.buffer.flush()
            return
        # One write of one line, at the end: those of other workers do not mix with it.
        count = os.write(self._descriptor, data)
        if count < len(data):
            self._torn = True
            raise OSError("only a part of a line was written")
        self._torn = False

    def _reopen(self) -> None:
        """Open the file, unless the one that is open is it still."""
        if self._file is None:
            return
        if self._descriptor is not None:
            try:
                if os.path.samestat(os.fstat(self._descriptor), self._file.stat()):
                    return
            except FileNotFoundError:
                pass
            self.close()
        self._file.parent.mkdir(parents=True, exist_ok=True)
        self._descriptor = os.open(self._file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o640)
        self._torn = False


def _trace_id(metadata: Sequence[tuple[str, Any]]) -> str | None:
    for name, value in metadata:
        if name == TRACEPARENT and isinstance(value, str):
            parts = value.split("-")
            return parts[1] if len(parts) >= _TRACEPARENT_PARTS else None
    return None
