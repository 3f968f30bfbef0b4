"""Offline tables: can each be read, and is what they have online too?"""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa

from featurestore.definitions import FeatureView, PushSource, storage_id
from featurestore.doctor.finding import Finding, fault, warning, well
from featurestore.doctor.patient import Patient
from featurestore.doctor.pushed_rows import look_up
from featurestore.errors import FeatureStoreError, OfflineStoreError
from featurestore.materialize.standing import filled, rows_left_out
from featurestore.offline.intake.pushed import PUSHED
from featurestore.offline.places import offline_folder
from featurestore.offline.store import OfflineStore
from featurestore.online import OnlineStore
from featurestore.registry import stored_once
from featurestore.registry.records import Registered
from featurestore.storage import ObjectPath
from featurestore.storage.parquet import read_metadata

_ABOUT = "offline tables"


def probe_tables(patient: Patient) -> Iterator[Finding]:
    """Open each live view's table, and the file that was written to it last.

    Where the storage of all of them is away, that is said once, and no more of them are asked for.
    """
    offline = patient.offline
    if offline is None:
        return
    rows = tables = 0
    views = stored_once(patient.views)
    for place, view in enumerate(views):
        about = f"table of {view.id}"
        try:
            found = _rows(offline, view.definition)
        except (FeatureStoreError, OSError, pa.ArrowException) as error:
            if (cause := _storage_error(patient)) is not None:
                left = [storage_id(one.definition) for one in views[place:]]
                patient.unread.update(left)
                passed = _many(len(left), "table was", "tables were")
                yield fault(_ABOUT, f"{cause.message} {passed} not looked at.", cause.hint)
                return
            if isinstance(error, FeatureStoreError):
                patient.unread.add(storage_id(view.definition))
                yield fault(about, error)
            else:
                yield fault(
                    about,
                    f"A file of it cannot be read: {type(error).__name__}.",
                    "Bring it back from a backup, or take the load back: featurestore restore",
                )
        else:
            if found is not None:
                rows, tables = rows + found, tables + 1
    yield well(_ABOUT, f"{tables:,} can be read, {rows:,} rows")


def _rows(offline: OfflineStore, view: FeatureView) -> int | None:
    """Return how many rows a table has whose newest file can be read; None if there is no table."""
    table = offline.table(view)
    if not table.exists():
        return None
    found = table.snapshot()
    if found.files:
        read_metadata(found.files[-1].place)
    return found.rows


def _storage_error(patient: Patient) -> FeatureStoreError | None:
    """Return why no table at all can be read: the object storage is away, or lets nobody in."""
    try:
        folder = offline_folder(patient.config)
        if isinstance(folder, ObjectPath):
            folder.is_dir()
    except FeatureStoreError as error:
        return error
    return None


def probe_materialization(patient: Patient) -> Iterator[Finding]:
    """Say which views have loads that are not online, though somebody has brought them online before."""
    if patient.offline is None or patient.registry is None:
        return
    about = "materialization"
    if patient.online_error is not None:
        yield patient.without_online(about)
        return
    if patient.online is None:
        return
    views = [one for one in stored_once(patient.views) if storage_id(one.definition) not in patient.unread]
    fresh = 0
    for view in views:
        try:
            found = _standing(view, patient, patient.offline, patient.online)
        except OfflineStoreError as error:
            yield fault(f"view {view.id}", error)
            continue
        if isinstance(found, Finding):
            yield found
        else:
            fresh += found
    if patient.unread:
        passed = _many(len(patient.unread), "table", "tables")
        yield warning(about, f"Not looked at: {passed} that cannot be read.", "")
    if views or not patient.unread:
        yield well(about, f"{_many(fresh, 'view is', 'views are')} online up to the last load")


def _standing(
    view: Registered[FeatureView], patient: Patient, offline: OfflineStore, online: OnlineStore
) -> Finding | bool:
    """Return what is to be said of a view, or whether all of it is online."""
    about, hint, definition = f"view {view.id}", f"featurestore materialize {view.name}", view.definition
    name = storage_id(definition)
    standing = filled(online.standing(name), definition)
    if standing is None or standing.version is None:
        if patient.registry is not None and patient.registry.last_materialization(name) is not None:
            return fault(about, "It was materialized, and this online store knows nothing of that.", hint)
        if offline.table_version(definition) is not None and not isinstance(definition.source, PushSource):
            return warning(about, "It has rows, and was never materialized: lookups find none.", hint)
        return False
    loads = [
        load.load_id
        for version, load in offline.table(definition).loads_since(standing.version)
        if version > standing.version and load.rows_written
    ]
    pushed = [one for one in loads if one.startswith(PUSHED)]  # whose rows are online since they were pushed
    if waiting := len(loads) - len(pushed):
        return warning(about, f"{_many(waiting, 'load is', 'loads are')} not online yet.", hint)
    if pushed:
        keys, lacking = look_up(definition, offline, online, standing.version, patient.now)
        if lacking:
            said = f"Not online: {lacking:,} of {keys:,} keys of pushed rows that were looked up."
            return warning(about, said, hint)
    if rows_left_out(definition, online, patient.now):
        return warning(about, "Its TTL is longer by now than what is online.", f"{hint} --full")
    return True


def _many(count: int, one: str, more: str) -> str:
    return f"{count:,} {one if count == 1 else more}"
