"""What the commits of a table say of themselves, read from Delta's log by their numbers."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from featurestore.errors import OfflineStoreError
from featurestore.storage import StoragePath

_LOAD, _CHANGE = "featurestore.load", "featurestore.change"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_Said = TypeVar("_Said", "LoadMetadata", "Change")


@dataclass(frozen=True, kw_only=True)
class LoadMetadata:
    """What a commit says of its load; it lets the ledger be completed from the table alone.

    ``location`` is where the view's source lay, without secrets, and ``moved_from`` where it had lain at the load
    before, if elsewhere. ``watermark`` says up to where the source is loaded: rows and watermark are one commit, so
    that a load that dies leaves neither. ``carried`` names loads whose rows came from an older version's table, all of
    them: they count as loaded here too. ``project`` is whose load it is; empty in tables of earlier releases.
    ``anomalies`` says how the load differs from those before, and ``warned`` counts published rows that break checks.
    ``arrivals`` says from which row on which instant (microseconds) is that at which rows came to be known, where that
    was before the load. ``origins`` says from which row on which load is that from which carried rows came originally,
    through however many versions; one that is named and not ``carried`` may still come by itself. ``libraries`` are
    the packages that it was written with; loads of earlier releases do not say.
    """

    load_id: str
    rows_read: int
    rows_written: int
    rows_quarantined: int
    reasons: Mapping[str, int]
    author: str
    reason: str
    location: str = ""
    moved_from: str = ""
    watermark: Mapping[str, Any] | None = None
    carried: Sequence[str] = ()
    project: str = ""
    rows_suppressed: int = 0
    anomalies: Sequence[str] = ()
    warned: Mapping[str, int] = field(default_factory=dict)
    arrivals: Sequence[tuple[int, int]] = ()
    origins: Sequence[tuple[int, str]] = ()
    libraries: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Change:
    """What a commit says that puts files in the place of others.

    Attributes:
        id: tells it from every other.
        action: ``compact``, ``restore``, ``backfill``, ``supersede``, ``erase`` or ``gc``.
        author: who did it.
        reason: why.
        details: how, as JSON values.
        project: whose table it is.
    """

    id: str
    action: str
    author: str
    reason: str
    details: Mapping[str, Any] = field(default_factory=dict)
    project: str = ""


@dataclass(frozen=True, kw_only=True)
class Commit:
    """One commit of the log: its version, when it was made, and the load or the change that it was."""

    version: int
    at: datetime
    load: LoadMetadata | None
    change: Change | None


def said(load: LoadMetadata | None, change: Change | None) -> dict[str, str]:
    """Return what a commit is to say, as Delta keeps it."""
    told = {_LOAD: load, _CHANGE: change}
    return {key: json.dumps(asdict(one), sort_keys=True) for key, one in told.items() if one is not None}


def read_commit(folder: StoragePath, version: int) -> Commit | None:
    """Return what a commit of the table in a folder says; None if Delta has removed it from the log.

    Raises:
        OfflineStoreError: the log cannot be read.
    """
    for one in _actions(folder, version):
        info = one.get("commitInfo")
        if info is not None:
            load, change = info.get(_LOAD), info.get(_CHANGE)
            return Commit(
                version=version,
                at=_EPOCH + timedelta(milliseconds=info["timestamp"]),
                load=None if load is None else _read(LoadMetadata, load),
                change=None if change is None else _read(Change, change),
            )
    return None


def _read(kind: type[_Said], text: str) -> _Said:
    """Return what a commit said; what a neighbouring release says beside is passed over."""
    known = {one.name for one in fields(kind)}
    return kind(**{name: value for name, value in json.loads(text).items() if name in known})


def added_files(folder: StoragePath, after: int, version: int) -> list[str]:
    """Return the files that the commits after a version and up to another have added.

    Raises:
        OfflineStoreError: the log cannot be read.
    """
    actions = (one for number in range(after + 1, version + 1) for one in _actions(folder, number))
    return [one["add"]["path"] for one in actions if "add" in one]


def file_history(folder: StoragePath, newest: int) -> dict[str, datetime | None]:
    """Return every file that the commits up to a version name: when it left the table, or None if it did not.

    Raises:
        OfflineStoreError: the log cannot be read.
    """
    found: dict[str, datetime | None] = {}
    for version in range(newest + 1):
        for one in _actions(folder, version):
            if "add" in one:
                found[one["add"]["path"]] = None
            elif "remove" in one:
                found[one["remove"]["path"]] = _EPOCH + timedelta(milliseconds=one["remove"]["deletionTimestamp"])
    return found


def _actions(folder: StoragePath, version: int) -> list[dict[str, Any]]:
    try:
        written = (folder / "_delta_log" / f"{version:020}.json").read_text(encoding="utf-8")
    except FileNotFoundError:  # earlier releases let Delta remove old commits
        return []
    except OSError as error:
        raise OfflineStoreError(f"The log of the table {folder.name} cannot be read: {error}.") from error
    return [json.loads(line) for line in written.splitlines()]
