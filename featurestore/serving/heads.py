"""Signed heads of the audit log, kept beside the serving log: ``<folder>/heads/<worker>.jsonl``.

A server outlives many changes of the registry, and often runs on another host than those who make them. What it saw of
the audit log, and when, is one more witness against whoever rewrites it.
"""

from __future__ import annotations

import json
import os
import uuid
from pathlib import Path

import structlog

from featurestore.errors import FeatureStoreError, RegistryError
from featurestore.registry import FoundHead, Head
from featurestore.serving.runtime import Runtime

_FOLDER = "heads"
_logger = structlog.get_logger(__name__)


class HeadLog:
    """The heads that one worker saw.

    Args:
        folder: the serving log's.
        runtime: gives the heads.
    """

    def __init__(self, folder: Path, runtime: Runtime) -> None:
        self._file = folder / _FOLDER / f"{uuid.uuid4().hex[:12]}.jsonl"
        self._runtime = runtime

    def add(self) -> None:
        """Add the present head. One that cannot be signed or written is told of, and never ends the serving."""
        try:
            line = json.dumps(self._runtime.audit_head().to_json()) + "\n"
            self._file.parent.mkdir(parents=True, exist_ok=True)
            with self._file.open("a", encoding="utf-8") as out:
                out.write(line)
                out.flush()
                os.fsync(out.fileno())
        except FeatureStoreError as error:
            _logger.error("head of the audit log cannot be kept", error=error.message, hint=error.hint)
        except OSError as error:
            _logger.error("head of the audit log cannot be kept", file=str(self._file), error=str(error))


def logged_heads(folder: Path) -> tuple[list[FoundHead], list[str]]:
    """Return the heads beside a serving log, and a sentence for each line that holds none."""
    found: list[FoundHead] = []
    unreadable: list[str] = []
    for file in sorted((folder / _FOLDER).glob("*.jsonl")):
        for number, line in enumerate(file.read_bytes().splitlines(), start=1):
            where = f"{file}:{number}"
            try:
                found.append(FoundHead(Head.from_json(json.loads(line), where), where))
            except ValueError:  # a disk that was full cuts a line short
                unreadable.append(f"{where} holds no head of an audit log.")
            except RegistryError as error:
                unreadable.append(error.message)
    return found, unreadable
