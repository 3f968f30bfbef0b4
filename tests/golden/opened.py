"""Copies of golden stores, and fingerprints of what this release writes."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import tarfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from sqlalchemy import MetaData
from sqlalchemy.dialects import sqlite
from sqlalchemy.schema import CreateIndex, CreateTable

from featurestore import folders
from featurestore.materialize.standing import Filled
from featurestore.offline.datasets.manifest import MANIFEST_FORMAT, Recipe
from featurestore.offline.tables.delta_log import Change, LoadMetadata
from featurestore.offline.tables.table_format import FORMAT as TABLE_FORMAT
from featurestore.online import lmdb_state
from featurestore.online.redis import state as redis_state
from featurestore.pushing import segments
from featurestore.registry import migrating, schema
from featurestore.serving.feedback.rows import OUTCOMES, PREDICTIONS
from featurestore.streaming import quarantine
from monitor import schema as monitor_schema

FOLDER = Path(__file__).parent
#: The file that says what this release writes.
FORMATS = FOLDER / "formats.json"


def names() -> list[str]:
    """Return the golden stores, one for each folder."""
    return sorted(one.parent.name for one in FOLDER.glob("*/store.tar.xz"))


def unpack(name: str, target: Path) -> dict[str, Any]:
    """Put a copy of a golden store into a folder, and return what is expected of it."""
    target.mkdir(parents=True, exist_ok=True)
    with tarfile.open(FOLDER / name / "store.tar.xz") as archive:
        archive.extractall(target, filter="data")
    expected: dict[str, Any] = json.loads((FOLDER / name / "expected.json").read_text())
    return expected


def _digest(*parts: str | bytes) -> str:
    joined = b"\n".join(one.encode() if isinstance(one, str) else one for one in parts)
    return hashlib.sha256(joined).hexdigest()[:16]


def _tables(metadata: MetaData) -> str:
    dialect = sqlite.dialect()
    statements: list[str] = []
    for table in metadata.sorted_tables:
        statements.append(str(CreateTable(table).compile(dialect=dialect)))
        indexes = sorted(table.indexes, key=lambda one: str(one.name))
        statements += [str(CreateIndex(one).compile(dialect=dialect)) for one in indexes]
    return _digest(*statements)


def _fields(*kinds: type) -> str:
    return _digest(*(one.name for kind in kinds for one in dataclasses.fields(kind)))


def _keys(values: Iterable[str]) -> str:
    return _digest(*sorted(values))


def fingerprints() -> dict[str, dict[str, Any]]:
    """Return, by store, the number of the format that this release writes, and a digest of how it is laid out."""
    lmdb = lmdb_state.State(None)
    lmdb.prefix("view-0123456789ab")
    redis = redis_state.State(1, 17, 1, {"view-0123456789ab": redis_state.Table(1, 1, 5)})
    entry = segments.Entry(view="v", version=1, only=False, at=17, first=0, rows=1, body=b"rows")
    origins = dataclasses.replace(entry, origins={"topic/0": (1, 2)})
    return {
        "registry": {
            "format": migrating.REVISION,
            "readable_from": migrating.READABLE_FROM,
            "layout": _tables(schema.metadata),
        },
        "monitor": {
            "format": monitor_schema.VERSION,
            "readable_from": monitor_schema.READABLE_FROM,
            "layout": _tables(monitor_schema.metadata),
        },
        "online store on LMDB": {"format": lmdb_state.FORMAT, "layout": _digest(lmdb.to_json())},
        "online store on Redis": {"format": redis_state.FORMAT, "layout": _digest(redis.record)},
        "materialization": {"format": 1, "layout": _fields(Filled)},
        "tables": {"format": TABLE_FORMAT, "layout": _fields(LoadMetadata, Change)},
        "training datasets": {"format": MANIFEST_FORMAT, "layout": _keys(Recipe().to_json())},
        "push log": {
            "format": segments.FORMAT,
            "layout": _digest(
                segments.header_for([entry]),
                segments.frame_of([entry]),
                segments.header_for([origins]),
                segments.frame_of([entry, origins]),
            ),
        },
        "feedback log": {
            "format": folders.FOLDERS["feedback log"].format,
            "layout": _digest(str(PREDICTIONS.stored), str(OUTCOMES.stored)),
        },
        "stream quarantine": {
            "format": folders.FOLDERS["stream quarantine"].format,
            "layout": _fields(quarantine.Kept, quarantine.Message, quarantine.Poisoned),
        },
        # Of the serving log the columns are compared with those of the golden store, beside a server.
        "serving log": {"format": folders.FOLDERS["serving log"].format},
    }
