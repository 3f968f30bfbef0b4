"""The facts that the rules of data quality go by, read from the serving log, the registry and its ledgers."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from featurestore.definitions import FeatureService, FeatureView, PushSource, SharedFeatureView, storage_id
from featurestore.definitions.names import EVENT_TIMESTAMP
from featurestore.errors import MonitorError
from featurestore.offline.join.computing import OUTSIDE_MAX_AGE, PRESENT
from featurestore.offline.places import offline_folder
from featurestore.offline.tables.delta_log import read_commit
from featurestore.profiles import Profile
from featurestore.registry import Registry
from featurestore.registry.records import Registered
from featurestore.serving.log import COMPLETE_TO, SNAPSHOT
from featurestore.serving.worker_status import read_statuses
from monitor.baselines import Reference
from monitor.quality.checks import QualityFacts, ServedWindow
from monitor.quality.columns import Columns, FoundColumn
from monitor.quality.configuration import Configuration, ModelFacts, ServerFacts, WriterFacts
from monitor.quality.freshness import ServedAges, TrainingData, ViewLedger
from monitor.quality.variation import feature_spreads
from monitor.store import Store
from monitor.windows import Window

#: Loads and materializations whose intervals are the rhythm of a view.
_RHYTHM = 21
#: Files of a window whose columns are looked at; all files of one version are written alike, so few tell.
_FILES = 64
#: Different values of a column that are tried one by one, once all together could not be read.
_TRIED = 1000

_INSTANT = pa.timestamp("us", tz="UTC")
#: What the log has beside a service's own columns.
_LOG: Mapping[str, pa.DataType] = {
    "request_id": pa.string(),
    "row": pa.int32(),
    "served_at": _INSTANT,
    "service": pa.string(),
    "replay": pa.bool_(),
    SNAPSHOT: pa.int64(),
    COMPLETE_TO: _INSTANT,
}


def read_quality_facts(
    store: Store,
    service: str,
    *,
    window: timedelta,
    counts: Sequence[tuple[datetime, int]] = (),
    judged_from: datetime | None = None,
    recent: Sequence[tuple[datetime, Profile]] = (),
    served: Sequence[ServedWindow] = (),
    files: Sequence[str] = (),
    reference: Reference | None = None,
) -> QualityFacts:
    """Return the facts of one service version, as of its last closed window.

    Args:
        store: configuration and registry.
        service: the service version.
        window: the length of its windows.
        counts: start and rows of every closed window; :func:`monitor.quality.filled_counts` makes them of a ledger's.
        judged_from: the first of them that is judged.
        recent: start and profile of the latest windows, ascending; as many as cover a few blocks of the baseline.
        served: what :func:`read_served` has said of the latest windows, ascending.
        files: those of the log with the last closed window, whose columns are looked at; see
            ``monitor.windows.ServiceLog.files``.
        reference: what the version is compared with.

    Raises:
        ObjectNotFoundError: the registry does not know the version.
        MonitorError: a file of the log is damaged.
    """
    definition = store.registry.service(service).definition
    rehearsal = bool(store.config.replay)
    return QualityFacts(
        service=service,
        window=window,
        counts=tuple(counts),
        judged_from=judged_from,
        **({} if reference is None else {"block": reference.baseline.block}),
        spreads=()
        if reference is None
        else feature_spreads(reference.baseline, recent, window=window, views=_views_of(definition)),
        served=tuple(served),
        limits={use.name: use.view.ttl for use in definition.uses},
        # A rehearsal's clock is another one, and what the ledgers and servers do now is no part of it.
        # The views of other projects are theirs to load, to materialize and to watch.
        views=tuple(
            _ledger(store.registry, view)
            for view in definition.views
            if not rehearsal and not isinstance(view, SharedFeatureView)
        ),
        training=None if reference is None else _training(store.registry, reference),
        columns=read_columns(service, definition, files) if files else None,
        configuration=None if rehearsal else read_configuration(store, service),
    )


def _views_of(definition: FeatureService) -> dict[str, tuple[str, ...]]:
    """Return the stored views that each feature comes from."""
    sources: dict[str, tuple[str, ...]] = {use.name: (use.view.name,) for use in definition.uses}
    sources |= {
        view.name: tuple(dict.fromkeys(use.view.name for use in view.uses)) for view in definition.on_demand_views
    }
    return {one.name: sources[owner] for owner, fields in definition.outputs.items() for one in fields}


# Ages


def read_served(
    definition: FeatureService, window: Window, files: Sequence[str], *, max_age: Mapping[str, timedelta] | None = None
) -> ServedWindow:
    """Return how old the rows were that a window served.

    Args:
        definition: the service version.
        window: of its log.
        files: those of the log that may hold rows of it.
        max_age: by use of a view, how old a row may be; its TTL where there is none.

    Raises:
        MonitorError: a file of the log is damaged.
    """
    names = [f"{use.name}__{what}" for use in definition.uses for what in ("status", EVENT_TIMESTAMP)]
    kinds = {name: pa.int8() if name.endswith("__status") else _INSTANT for name in names}
    # Columns that a file has not are null.
    schema = pa.schema([("served_at", _INSTANT), ("service", pa.string()), *kinds.items()])
    mine = (pc.field("service") == window.subject) & (pc.field("served_at") >= pa.scalar(window.start, _INSTANT))
    mine &= pc.field("served_at") < pa.scalar(window.end, _INSTANT)
    try:
        rows = ds.dataset(list(files), schema=schema, format="parquet").to_table(
            columns=["served_at", *names], filter=mine
        )
    except (OSError, pa.ArrowException) as error:
        raise MonitorError(
            f"A file of the serving log of {window.subject} cannot be read: {str(error).splitlines()[0]}",
            hint="Move it out of the log if it is damaged; its rows are lost, all others count.",
        ) from error
    limits = max_age or {}
    views = tuple(_ages(rows, use.name, limits.get(use.name, use.view.ttl)) for use in definition.uses)
    return ServedWindow(start=window.start, views=views)


def _ages(rows: pa.Table, use: str, limit: timedelta | None) -> ServedAges:
    status = rows.column(f"{use}__status").fill_null(0).to_numpy()
    event = rows.column(f"{use}__{EVENT_TIMESTAMP}")
    there = event.is_valid().to_numpy()
    served = rows.column("served_at").cast(pa.int64()).to_numpy()
    ages = served[there] - event.drop_null().cast(pa.int64()).to_numpy()
    most = None if limit is None else limit // timedelta(microseconds=1)
    return ServedAges(
        view=use,
        rows=rows.num_rows,
        present=int(np.count_nonzero(status == PRESENT)),
        outside=int(np.count_nonzero(status == OUTSIDE_MAX_AGE)),
        over_limit=0 if most is None else int(np.count_nonzero(ages > most)),
        median_age=float(np.median(ages)) / 1e6 if len(ages) else None,
        greatest_age=float(ages.max()) / 1e6 if len(ages) else None,
        newest=pc.max(event).as_py(),
    )


# Ledgers


def _ledger(registry: Registry, view: FeatureView) -> ViewLedger:
    name = storage_id(view)
    loads = [one for one in registry.loads(name) if one.withdrawn_at is None and one.rows_written]
    last = registry.last_materialization(name)
    waiting = [one for one in loads if last is None or one.table_version > last.table_version]
    return ViewLedger(
        view=view.name,
        ttl=view.ttl,
        loads=tuple(one.published_at for one in loads[-_RHYTHM:]),
        materialized=tuple(one.at for one in registry.audit(object=name, action="materialize", limit=_RHYTHM)),
        unmaterialized_since=waiting[0].published_at if waiting else None,
        pushed=isinstance(view.source, PushSource),
    )


def _training(registry: Registry, reference: Reference) -> TrainingData | None:
    if not reference.dataset:
        return None
    newest = registry.dataset(reference.dataset).manifest.get("last_instant")
    return TrainingData(
        dataset=reference.dataset,
        model=reference.model,
        newest=None if newest is None else datetime.fromisoformat(newest),
    )


# Columns


def read_columns(service: str, definition: FeatureService, files: Sequence[str]) -> Columns:
    """Return the columns that files of the log have, against those of a service version.

    Of many files some are looked at, evenly spread, the first and the last among them.

    Raises:
        MonitorError: a file is damaged.
    """
    fields = [one for outputs in definition.outputs.values() for one in outputs]
    declared = {
        **_LOG,
        **{name: dtype.to_arrow() for name, dtype in definition.keys.items()},
        **{one.name: one.dtype.to_arrow() for one in (*definition.request, *fields)},
        **{f"{use.name}__status": pa.int8() for use in definition.uses},
        **{f"{use.name}__{EVENT_TIMESTAMP}": _INSTANT for use in definition.uses},
    }
    chosen = _spread_out(files)
    kinds: dict[str, dict[str, list[str]]] = {}
    for file, schema in _schemas(service, chosen):
        for one in schema:
            wanted = declared.get(one.name)
            said = str(wanted) if wanted is not None and _alike(one.type, wanted) else str(one.type)
            kinds.setdefault(one.name, {}).setdefault(said, []).append(file)
    found = {}
    for name, types in kinds.items():
        wanted = declared.get(name)
        unreadable = rows = 0
        for said, those in types.items():
            if wanted is not None and said != str(wanted):
                bad, seen = _unreadable(those, name, wanted)
                unreadable, rows = unreadable + bad, rows + seen
        found[name] = FoundColumn(types=tuple(sorted(types)), readable=not unreadable, unreadable=unreadable, rows=rows)
    return Columns(
        stream=service,
        expected={name: str(kind) for name, kind in declared.items()},
        optional=frozenset({SNAPSHOT, COMPLETE_TO}),
        found=found,
        views=_views_of(definition),
    )


def _spread_out(files: Sequence[str]) -> list[str]:
    step = max(1, math.ceil(len(files) / _FILES))
    return list(dict.fromkeys([*files[::step], *files[-1:]]))


def _schemas(service: str, files: Sequence[str]) -> Iterator[tuple[str, pa.Schema]]:
    for file in files:
        try:
            yield file, pq.read_schema(file)
        except FileNotFoundError:  # cleared away since the window was found
            continue
        except (OSError, pa.ArrowException) as error:
            raise MonitorError(
                f"{file} in the serving log of {service} is damaged: it is not a Parquet file.",
                hint="Move it out of the log; its rows are lost, all others count.",
            ) from error


def _alike(found: pa.DataType, wanted: pa.DataType) -> bool:
    """Return whether a type is read as another one without a loss that could ever show."""
    if found == wanted or (pa.types.is_struct(found) and pa.types.is_struct(wanted)):
        return True
    # Files keep lists of a fixed size as any others, and their elements under another name.
    lists = all(pa.types.is_list(one) or pa.types.is_fixed_size_list(one) for one in (found, wanted))
    return lists or (pa.types.is_large_string(found) and pa.types.is_string(wanted))


def _unreadable(files: Sequence[str], name: str, wanted: pa.DataType) -> tuple[int, int]:
    """Return how many values cannot be read as a type, and how many were looked at: those of one file."""
    column = pq.read_table(files[-1], columns=[name], partitioning=None).column(name).drop_null()
    if _casts(column, wanted):
        return 0, len(column)
    distinct = column.unique()
    bad = [one for one in distinct[:_TRIED] if not _casts(pa.array([one.as_py()], column.type), wanted)]
    if len(distinct) > _TRIED or not bad:
        return len(column), len(column)
    return int(pc.sum(pc.is_in(column, pa.array([one.as_py() for one in bad], column.type))).as_py()), len(column)


def _casts(column: pa.Array | pa.ChunkedArray, wanted: pa.DataType) -> bool:
    try:
        column.cast(wanted)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return False
    return True


# Configuration


def read_configuration(store: Store, service: str) -> Configuration:
    """Return what servers say that they run, what the registry has, and with what the service's models were trained.

    Args:
        store: configuration and registry.
        service: the service version, or its name: the newest version of each model of it matters.
    """
    registry = store.registry
    name = service.partition("@")[0]
    # Before the servers, so that one that is up to date is not taken for one that is ahead.
    revision = registry.revision()
    services = registry.resolved_services()
    statuses = read_statuses(store.config.path(store.config.serving.log_path))
    newest = {one.name: one for one in registry.models(name)}
    definition = registry.service(service).definition
    return Configuration(
        revision=revision,
        services={one.id: one.content_hash for one in services.values()},
        names=_bare(services),
        servers=tuple(
            ServerFacts(
                name=one.worker,
                services=one.services,
                names=one.names,
                revision=one.revision,
                current_at=one.current_at,
                libraries=one.libraries,
            )
            for one in statuses
        ),
        writers=tuple(_writers(store, definition)),
        models=tuple(
            ModelFacts(
                model=one.id,
                service=one.service,
                known=one.service in services,
                libraries=_trained_with(registry, one.dataset) | dict(one.environment),
            )
            for one in newest.values()
        ),
    )


def _writers(store: Store, definition: FeatureService) -> Iterator[WriterFacts]:
    """Yield who wrote the newest rows of each view; those of other projects are theirs to watch."""
    tables = offline_folder(store.config)
    for view in definition.views:
        if isinstance(view, SharedFeatureView):
            continue
        standing = [one for one in store.registry.loads(storage_id(view)) if one.withdrawn_at is None]
        commit = read_commit(tables / storage_id(view), standing[-1].table_version) if standing else None
        if commit is None or commit.load is None:
            continue
        newest = standing[-1]
        yield WriterFacts(
            view=view.name,
            load=newest.load_id,
            author=newest.author,
            published_at=newest.published_at,
            libraries=commit.load.libraries,
        )


def _bare(services: Mapping[str, Registered[FeatureService]]) -> dict[str, str]:
    return {name: one.id for name, one in services.items() if "@" not in name}


def _trained_with(registry: Registry, dataset: str) -> dict[str, str]:
    """Return the packages that a dataset was made with; what a model says itself is nearer to it."""
    said = registry.dataset(dataset).manifest.get("environment") or {}
    return {"python": said["python"], **said["packages"]} if "packages" in said else {}
