"""What becomes of a view's rows when its definition changes: said by a plan, done by an apply."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime

from featurestore.definitions import FeatureView, heritage, storage_id
from featurestore.errors import OnlineStoreError
from featurestore.materialize import materialize
from featurestore.offline.store import OfflineStore
from featurestore.online import OnlineStore
from featurestore.registry import Plan, Registry
from featurestore.registry.graph import collect

_NOTHING_UNTIL = "lookups of the new version find nothing until: featurestore materialize"


def foretold(plan: Plan, registry: Registry, offline: OfflineStore) -> dict[str, tuple[str, ...]]:
    """Return what the changes of views mean for the rows that are stored: sentences by the view's name."""
    said = {new.name: tuple(_sentences(old, new, registry, offline)) for old, new in _successions(plan, registry)}
    return {name: sentences for name, sentences in said.items() if sentences}


def newest_orders(plan: Plan, registry: Registry, offline: OfflineStore) -> dict[str, int]:
    """Return the order of the newest load of each version before those that a plan makes current, by storage id."""
    olds = [old for old, _ in _successions(plan, registry, unfinished=offline)]
    return {storage_id(old): max((load.order for load in offline.ledger(old)), default=0) for old in olds}


def carried(
    plan: Plan,
    registry: Registry,
    offline: OfflineStore,
    online: Callable[[], OnlineStore],
    *,
    who: str,
    since: Mapping[str, int] | None = None,
) -> dict[str, tuple[str, ...]]:
    """Bring the rows of the versions before into the tables of the versions that a plan made current, and online.

    Doing it again does nothing, and does what was left undone: where a first attempt was killed, or the disk was full.

    Args:
        plan: what is applied.
        registry: where it is.
        offline: has the tables.
        online: gives the online store, where the rows of a version before are.
        who: applies it.
        since: what :func:`newest_orders` gave before the plan was applied: until it was, only the versions before were
            fed what came after that, though by now the new ones are.

    Returns:
        What was done: sentences by the view's name.

    Raises:
        TableConflictError: the same rows come otherwise all the time.
        OfflineStoreError: a table cannot be read, or the disk refuses.
    """
    said: dict[str, tuple[str, ...]] = {}
    for old, new in _successions(plan, registry, unfinished=offline):
        foretold = tuple(_sentences(old, new, registry, offline))
        report = offline.carry_over(old, new, who=who, since=(since or {}).get(storage_id(old)))
        if report is not None:
            kept = f", {report.quarantined:,} kept aside by the new checks" if report.quarantined else ""
            foretold = (f"{report.written:,} rows carried over{kept}", *foretold[1:])
        if _goes_online(old, new, registry, offline):
            foretold = (*foretold[:-1], *_put_online(new, registry, offline, online, who))
        if foretold:
            said[new.name] = foretold
    return said


def _goes_online(old: FeatureView, new: FeatureView, registry: Registry, offline: OfflineStore) -> bool:
    """Return whether lookups found rows of the version before, and may find them in the new one."""
    apart = storage_id(old) != storage_id(new)
    return apart and registry.last_materialization(storage_id(old)) is not None and offline.table(new).exists()


def _put_online(
    new: FeatureView, registry: Registry, offline: OfflineStore, online: Callable[[], OnlineStore], who: str
) -> Iterator[str]:
    """Materialize a version before anybody is served by it."""
    now = datetime.now(UTC)
    try:
        done = materialize(new, offline, online(), now=now)
    except OnlineStoreError as error:  # the definitions are right all the same
        yield f"{_NOTHING_UNTIL} {new.name} ({error.message})"
        return
    if done.read and done.table_version is not None:
        counts = {name: getattr(done, name) for name in ("read", "written", "older", "expired", "rejected")}
        registry.record_materialization(storage_id(new), done.table_version, now, counts, who=who)
        yield f"{done.written:,} newest rows put online"


def _successions(
    plan: Plan, registry: Registry, unfinished: OfflineStore | None = None
) -> Iterator[tuple[FeatureView, FeatureView]]:
    """Yield the views that get another version, each with the version before.

    With ``unfinished`` also those that have one and no table yet, though a version before has.
    """
    views = [one for one in plan.changes if one.kind == "feature_view"]
    moved = [one for one in views if (one.to_version or 1) > 1 or one.from_version not in (None, one.to_version)]
    if not moved:
        return
    wanted = collect(plan.definitions)
    for change in moved:
        new = wanted[change.name].definition if change.name in wanted else None
        if not isinstance(new, FeatureView):
            continue
        if change.from_version is not None and change.from_version != change.to_version:
            yield registry.feature_view(f"{change.name}@{change.from_version}").definition, new
        elif unfinished is not None and not unfinished.table(new).exists():
            for one in reversed(registry.versions(change.name)):
                old = one.definition
                if isinstance(old, FeatureView) and unfinished.table(old).exists():
                    yield old, new
                    break


def _sentences(old: FeatureView, new: FeatureView, registry: Registry, offline: OfflineStore) -> Iterator[str]:
    if storage_id(old) == storage_id(new):
        if old.ttl is not None and (new.ttl is None or new.ttl > old.ttl) and offline.loads(old):
            yield f"values are kept longer; fill the gap online: featurestore materialize {new.name}"
        return
    rows = sum(load.rows_written for load in offline.missing_loads(old, new))
    if not rows:
        return
    inherited = heritage(old, new)
    again = "" if new.source is None else f"; to read its source: featurestore ingest {new.name}"
    if inherited.obstacle:
        yield f"history starts now, because {inherited.obstacle}{again}"
    else:
        yield f"{rows:,} rows are carried over, with {_listed(inherited.kept)}"
        if inherited.added:
            yield f"older rows have no {_listed(inherited.added)}{again}"
    if not inherited.obstacle and registry.last_materialization(storage_id(old)) is not None:
        yield "the newest row of each key is put online before the version is served"
    else:
        yield f"{_NOTHING_UNTIL} {new.name}"


def _listed(names: tuple[str, ...]) -> str:
    shown = ", ".join(names[:6])
    return shown if len(names) <= 6 else f"{shown} and {len(names) - 6} more fields"
