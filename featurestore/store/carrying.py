"""What becomes of a view's rows when its definition changes: said by a plan, done by an apply."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta

from featurestore.definitions import FeatureView, heritage, storage_id
from featurestore.errors import OnlineStoreError
from featurestore.materialize import MaterializeReport
from featurestore.offline.store import OfflineStore
from featurestore.offline.tables.carry_over import taken_over
from featurestore.registry import Plan, Registry
from featurestore.registry.graph import collect
from featurestore.registry.records import AuditEntry, Registered

#: Brings the newest rows of a version online that nobody is served by yet, or has just begun to be.
PutOnline = Callable[[FeatureView], MaterializeReport]

#: For how long it is looked for applies that were killed before they had carried over all.
_UNFINISHED = timedelta(days=1)

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
    put_online: PutOnline,
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
        put_online: brings newest rows online.
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
            foretold = (*foretold[:-1], *_put_online(new, registry, put_online, who))
        if foretold:
            said[new.name] = foretold
    return said


def _goes_online(old: FeatureView, new: FeatureView, registry: Registry, offline: OfflineStore) -> bool:
    """Return whether lookups found rows of the version before, and may find them in the new one."""
    apart = storage_id(old) != storage_id(new)
    return apart and registry.last_materialization(storage_id(old)) is not None and offline.table(new).exists()


def carry_rest(
    view: Registered[FeatureView], registry: Registry, offline: OfflineStore, put_online: PutOnline, *, who: str
) -> None:
    """Carry over what an apply did not that was killed after it had made a version current.

    Raises:
        TableConflictError: the same rows come otherwise all the time.
        OfflineStoreError: a table cannot be read, or the disk refuses.
    """
    entry = _applied_lately(registry, view.name).get(view.id)
    old = None if entry is None else _left_behind(view.definition, entry, registry, offline)
    if old is None or offline.carry_over(old, view.definition, who=who) is None:
        return
    if _goes_online(old, view.definition, registry, offline):
        for _ in _put_online(view.definition, registry, put_online, who):
            pass


def _put_online(new: FeatureView, registry: Registry, put_online: PutOnline, who: str) -> Iterator[str]:
    """Materialize a version before anybody is served by it."""
    now = datetime.now(UTC)
    try:
        done = put_online(new)
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

    With ``unfinished`` also those that have one and lack rows of a version before, as an apply was killed midway.
    """
    views = [one for one in plan.changes if one.kind == "feature_view"]
    moved = [one for one in views if (one.to_version or 1) > 1 or one.from_version not in (None, one.to_version)]
    if not moved:
        return
    wanted = collect(plan.definitions)
    applied = {} if unfinished is None else _applied_lately(registry)
    for change in moved:
        new = wanted[change.name].definition if change.name in wanted else None
        if not isinstance(new, FeatureView):
            continue
        if change.from_version is not None and change.from_version != change.to_version:
            yield registry.feature_view(f"{change.name}@{change.from_version}").definition, new
        elif unfinished is not None:
            old = _unfinished(new, applied.get(f"{change.name}@{change.to_version}"), registry, unfinished)
            if old is not None:
                yield old, new


def _applied_lately(registry: Registry, name: str | None = None) -> dict[str, AuditEntry]:
    """Return how versions became current not long ago, by their ids."""
    since = datetime.now(UTC) - _UNFINISHED
    return {one.object: one for one in registry.audit(object=name, action="apply", since=since)}


def _unfinished(
    new: FeatureView, applied: AuditEntry | None, registry: Registry, offline: OfflineStore
) -> FeatureView | None:
    """Return the version from which rows are to be taken over, if not all were."""
    if not offline.table(new).exists():
        for one in reversed(registry.versions(new.name)):
            old = one.definition
            if isinstance(old, FeatureView) and offline.table(old).exists():
                return old
        return None
    return None if applied is None else _left_behind(new, applied, registry, offline)


def _left_behind(
    new: FeatureView, applied: AuditEntry, registry: Registry, offline: OfflineStore
) -> FeatureView | None:
    """Return the version before, if it was still loaded after its rows were taken over and before the new one was fed.

    What comes after that, a version may lack for other reasons.
    """
    before = applied.details.get("from_version")
    if before is None:
        return None
    old = registry.feature_view(f"{new.name}@{before}").definition
    if storage_id(old) == storage_id(new) or heritage(old, new).obstacle or not offline.table(old).exists():
        return None
    # Of most views a look at the ledgers says that there is nothing.
    upto = taken_over(old, registry.loads(storage_id(new)))
    if not any(upto < one.order and one.published_at <= applied.at for one in registry.loads(storage_id(old))):
        return None
    lacking = offline.missing_loads(old, new)
    return old if any(one.published_at <= applied.at for one in lacking) else None


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
