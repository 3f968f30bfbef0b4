"""What each server process says of itself, beside its watermark: ``<folder>/status/<worker>.json``.

Which versions of services it serves, by which revision of the registry, and with which packages. A process that cannot
read the registry serves on with what it has, which is right and must not stay unseen; whoever reads the log can tell.
"""

from __future__ import annotations

import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import structlog

from featurestore.definitions import FeatureService
from featurestore.libraries import libraries
from featurestore.registry.records import Registered
from featurestore.serving.log import DEAD_AFTER_SECONDS

STATUS = "status"

_FORMAT = 1
_logger = structlog.get_logger(__name__)


@dataclass(frozen=True, kw_only=True)
class WorkerStatus:
    """What one process says of itself.

    Attributes:
        worker: its name: ``pid 4711 on host``.
        services: content hash of each service version that it serves, by id.
        names: the version behind each bare name: ``{"churn": "churn@2"}``.
        revision: of the registry, that it serves; -1 before the first.
        current_at: when it last served what the registry said.
        started_at: when it started.
        libraries: see :func:`~featurestore.libraries.libraries`.
    """

    worker: str
    services: Mapping[str, str]
    names: Mapping[str, str]
    revision: int
    current_at: datetime
    started_at: datetime
    libraries: Mapping[str, str]


class StatusFile:
    """The file of one worker, written anew as a whole; it goes when the worker ends. Any thread may write.

    Args:
        folder: the serving log's.
    """

    def __init__(self, folder: Path) -> None:
        self._file = folder / STATUS / f"{uuid.uuid4().hex[:12]}.json"
        self._lock = threading.Lock()
        self._started_at = self._current_at = datetime.now(UTC)
        self._revision = -1
        self._served: dict[str, dict[str, str]] = {"services": {}, "names": {}}
        self._libraries = libraries()
        self._failing = False
        self._closed = False

    def current(self, revision: int, services: Mapping[str, Registered[FeatureService]] | None = None) -> None:
        """Note that what is served is what the registry says now.

        Args:
            revision: of the registry.
            services: by each name that a request may use, the version that it stands for; None if they are as before.
        """
        self._current_at = datetime.now(UTC)
        self._revision = revision
        if services is not None:
            self._served = {
                "services": {one.id: one.content_hash for one in services.values()},
                "names": {name: one.id for name, one in services.items() if "@" not in name},
            }
            self.write()

    def write(self) -> None:
        """Write the file. A disk that refuses is told of once, and never ends the serving."""
        with self._lock:
            if self._closed:
                return
            part = self._file.with_name(f".{self._file.name}")
            try:
                self._file.parent.mkdir(parents=True, exist_ok=True)
                part.write_text(json.dumps(self._content()), encoding="utf-8")
                part.replace(self._file)
                self._failing = False
            except OSError as error:
                if not self._failing:
                    _logger.error("status of this server cannot be written", file=str(self._file), error=str(error))
                self._failing = True

    def close(self) -> None:
        """Remove the file."""
        with self._lock:
            self._closed = True
            try:
                self._file.unlink(missing_ok=True)
            except OSError as error:
                _logger.error("status of this server cannot be removed", file=str(self._file), error=str(error))

    def _content(self) -> dict[str, Any]:
        return {
            "format": _FORMAT,
            "worker": f"pid {os.getpid()} on {socket.gethostname()}",
            **self._served,
            "revision": self._revision,
            "current_at": self._current_at.isoformat(),
            "started_at": self._started_at.isoformat(),
            "libraries": self._libraries,
        }


def read_statuses(folder: Path) -> list[WorkerStatus]:
    """Return what each living process of a log says of itself, by name; a file that cannot be understood is left out.

    One that was not written for as long as a dead worker's watermark belongs to a worker that died.
    """
    found = []
    for file in _files(folder):
        try:
            if time.time() - file.stat().st_mtime > DEAD_AFTER_SECONDS:
                continue
            values = json.loads(file.read_bytes())
            if values.pop("format") != _FORMAT:
                continue
            values |= {name: datetime.fromisoformat(values[name]) for name in ("current_at", "started_at")}
            found.append(WorkerStatus(**values))
        except FileNotFoundError:  # the worker has ended
            continue
        except (ValueError, TypeError, KeyError, AttributeError):
            _logger.warning("status of a server cannot be understood", file=str(file))
    return sorted(found, key=lambda one: one.worker)


def remove_dead_statuses(folder: Path) -> None:
    """Remove the files of workers that died, as a server does at its start; one that stays does no harm."""
    for file in _files(folder):
        try:
            if time.time() - file.stat().st_mtime > DEAD_AFTER_SECONDS:
                file.unlink(missing_ok=True)
        except OSError:
            continue


def _files(folder: Path) -> list[Path]:
    return [file for file in sorted((folder / STATUS).glob("*.json")) if not file.name.startswith(".")]
