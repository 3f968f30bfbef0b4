"""Offline tables: can each be read, and is what they have online too?"""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa

from featurestore.definitions import PushSource, storage_id
from featurestore.doctor.finding import Finding, fault, warning, well
from featurestore.doctor.patient import Patient
from featurestore.errors import FeatureStoreError
from featurestore.materialize.standing import filled, rows_left_out
from featurestore.registry import stored_once
from featurestore.storage.parquet import read_metadata


def probe_tables(patient: Patient) -> Iterator[Finding]:
    """Open each live view's table, and the file that was written to it last."""
    offline = patient.offline
    if offline is None:
        return
    rows = tables = 0
    for view in stored_once(patient.views):
        about = f"table of {view.id}"
        try:
            table = offline.table(view.definition)
            if not table.exists():
                continue
            found = table.snapshot()
            if found.files:
                read_metadata(found.files[-1].place)
        except FeatureStoreError as error:
            yield fault(about, error)
        except (OSError, pa.ArrowException) as error:
            yield fault(
                about,
                f"A file of it cannot be read: {type(error).__name__}.",
                "Bring it back from a backup, or take the load back: featurestore restore",
            )
        else:
            rows, tables = rows + found.rows, tables + 1
    yield well("offline tables", f"{tables:,} can be read, {rows:,} rows")


def probe_freshness(patient: Patient) -> Iterator[Finding]:
    """Say which views have loads that are not online, though somebody has brought them online before."""
    offline, online, registry = patient.offline, patient.online, patient.registry
    if offline is None or online is None or registry is None:
        return
    fresh = 0
    for view in stored_once(patient.views):
        definition = view.definition
        hint = f"featurestore materialize {view.name}"
        standing = filled(online.standing(storage_id(definition)), definition)
        if standing is None or standing.version is None:
            if registry.last_materialization(storage_id(definition)) is not None:
                yield fault(
                    f"view {view.id}", "It was materialized, and this online store knows nothing of that.", hint
                )
            elif offline.table_version(definition) is not None and not isinstance(definition.source, PushSource):
                yield warning(f"view {view.id}", "It has rows, and was never materialized: lookups find none.", hint)
            continue
        waiting = [
            load
            for version, load in offline.table(definition).loads_since(standing.version)
            if version > standing.version and load.rows_written
        ]
        if waiting:
            yield warning(f"view {view.id}", f"{len(waiting):,} loads are not online yet.", hint)
        elif rows_left_out(definition, online, patient.now):
            yield warning(f"view {view.id}", "Its TTL is longer by now than what is online.", f"{hint} --full")
        else:
            fresh += 1
    yield well("materialization", f"{fresh:,} views are online up to their last load")
