"""Online rows, made again from the tables that were copied, and from the pushed rows that are in none yet.

They are not copied: what is online follows from the tables, whose copies are proved, and each online store keeps its
own account of how far it is filled, by the version of a table. Made anew, rows and account are right whatever the old
store had lost; and a run that is killed goes on after its last chunk, as every materialization does. The rows of both
sides are compared all the same, but for those that are past their TTL.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, suppress
from datetime import UTC, datetime
from functools import partial
from itertools import islice

from featurestore.config import Config
from featurestore.definitions import FeatureView, storage_id
from featurestore.erasure.online_places import remove_suppressed
from featurestore.errors import ConfigError, OnlineStoreError
from featurestore.materialize import materialize
from featurestore.materialize.standing import filled
from featurestore.moving.report import Measure, PartReport, State, digest_of
from featurestore.offline.erasure.suppression import suppressed
from featurestore.offline.intake.pushed import PUSHED
from featurestore.offline.store import OfflineStore
from featurestore.online import OnlineStore, open_online_store
from featurestore.online.base import ORDER_BYTES, event_time
from featurestore.online.upkeep import expire, longest_ttls, retain
from featurestore.pushing import PushLog
from featurestore.pushing.flushing import Flusher
from featurestore.pushing.log import Segment
from featurestore.registry import Registry, acting_user, live_views, open_registry, stored_once
from featurestore.types import microseconds

PART = "online"
_AT_ONCE = 1_000
_MODULUS = 1 << 256


def same_store(config: Config, target: Config) -> bool:
    """Return whether two configurations have one online store."""
    one, other = config.online_store(), target.online_store()
    if isinstance(one, str) and isinstance(other, str) and one.startswith("lmdb://") and other.startswith("lmdb://"):
        return (
            config.path(one.removeprefix("lmdb://")).resolve() == target.path(other.removeprefix("lmdb://")).resolve()
        )
    return one == other


def tables_online(config: Config, registry: Registry) -> list[str]:
    """Return the storage ids of live views that somebody has materialized, or pushed to; others are not online.

    An online store that does not answer is done without.
    """
    waiting = {entry.view for segment in _waiting(config) for entry in segment.read()}
    found = {
        name
        for view in _views(registry)
        for name in [storage_id(view)]
        if registry.last_materialization(name) is not None
        or view.name in waiting
        or any(one.load_id.startswith(PUSHED) for one in registry.loads(name))
    }
    with suppress(OnlineStoreError), closing(open_online_store(config.online_store(), config.root)) as online:
        names = [storage_id(view) for view in _views(registry)]
        found.update(name for name in names if online.standing(name).progress is not None)
    return sorted(found)


def check_target(target: Config, registry: Registry, offline: OfflineStore) -> None:
    """Look whether the destination's online store has rows that were not made from these tables.

    Args:
        target: the destination's configuration.
        registry: the source's.
        offline: the source's.

    Raises:
        ConfigError: it has.
    """
    if _is_absent(target):
        return
    views = {storage_id(view): view for view in _views(registry)}
    online = open_online_store(target.online_store(), target.root)
    with closing(online):
        for name, status in online.status().items():
            view = views.get(name)
            made = None if view is None else filled(online.standing(name), view)
            ours = made is not None and view is not None and made.table == _table_id(offline, view)
            if status.rows and not ours and not (view is not None and _is_pushed_only(online, name)):
                raise ConfigError(
                    f"The destination's online store holds other data: {status.rows:,} rows of {name}.",
                    hint="Name an empty one; or another prefix or database of the same server. Nothing was changed.",
                )


def rebuild(target: Config, names: list[str], progress: Callable[[int, int], object]) -> int:
    """Materialize tables at the destination, and put pushed rows that wait online too; return how many were not there.

    Nothing of it is entered in the destination's registry, which stays as the source's is.

    Raises:
        OfflineStoreError: rows cannot be read.
        OnlineStoreError: the online store refuses; the next run goes on with it.
    """
    now = datetime.now(UTC)
    with ExitStack() as opened:
        registry = opened.enter_context(open_registry(target.database_url(target.registry), target.project))
        offline = OfflineStore(target, registry)
        online = opened.enter_context(closing(open_online_store(target.online_store(), target.root)))
        log = PushLog(target.path(target.push.path))
        flusher = Flusher(target, registry, offline, online, log, partial(acting_user, target, registry))
        live = live_views(registry)
        ttls = longest_ttls([one.definition for one in live])
        views = [view for view in _views(registry) if storage_id(view) in names]
        written = 0
        flusher.settle_published()  # pushed rows that an earlier run has put online, and that were flushed since
        for view in views:
            name = storage_id(view)
            if offline.table_version(view) is not None:
                retain(online, name, ttls[name])
            told = materialize(
                view, offline, online, now=now, progress=progress, waiting=partial(flusher.waiting, view)
            )
            written += told.written + flusher.serve_waiting(view)
            erased = suppressed(view, registry, target)
            if erased is not None:
                remove_suppressed(online, name, view, erased)
            expire(online, {name: ttls[name]}, now)
        return written


def behind(config: Config, registry: Registry, offline: OfflineStore, names: list[str]) -> dict[str, bool]:
    """Return the tables of which not every load is online; what is made from them anew is ahead of it.

    Returns:
        By storage id, whether each row that is online is to be there anew, or a newer one; else some were taken out of
        the table since.
    """
    views = {storage_id(view): view for view in _views(registry)}
    found = {}
    with closing(open_online_store(config.online_store(), config.root)) as online:
        for name in names:
            made = filled(online.standing(name), views[name])
            if made is None or made.run is not None or made.version != offline.table_version(views[name]):
                since = 0 if made is None or made.version is None else made.version
                found[name] = not offline.rows_taken(views[name], since)
    return found


def compare(
    config: Config | None, target: Config, registry: Registry, names: list[str], ahead: Mapping[str, bool], written: int
) -> PartReport:
    """Return what both online stores hold of some tables; of the destination's alone where there is no source.

    Args:
        config: the source's configuration.
        target: the destination's.
        registry: either side's.
        names: the storage ids.
        ahead: those that the destination has more of, as the source was :func:`behind`.
        written: rows that the destination lacked before.
    """
    now = datetime.now(UTC)
    ttls = longest_ttls([one.definition for one in live_views(registry)])
    oldest = {name: None if ttl is None else microseconds(now - ttl) for name, ttl in ttls.items()}
    there = here = _rows_of(target, names, oldest)
    wrong: list[str] = []
    if config is not None:
        here = _rows_of(config, names, oldest)
        differing = [name for name in names if here[name] != there[name]]
        kept = [name for name in differing if ahead.get(name, False)]
        lacking = _lacking(config, target, kept, oldest) if kept else []
        wrong = [name for name in differing if name not in ahead or name in lacking]
    note = "made from the tables"
    if wrong:
        note += f"; other rows are online of {', '.join(wrong)}"
    elif here != there:
        note += f"; not all loads were online of {', '.join(ahead)}"
    return PartReport(
        part=PART,
        unit="rows",
        state=State.rebuilt if written else State.present,
        here=_measure(here),
        there=_measure(there),
        copied=min(written, sum(count for count, _ in there.values())),  # one key may have been written twice
        apart=() if wrong else tuple(ahead),
        note=note,
    )


def _rows_of(config: Config, names: list[str], oldest: Mapping[str, int | None]) -> dict[str, tuple[int, int]]:
    with closing(open_online_store(config.online_store(), config.root)) as online:
        return {name: _digest(online, name, oldest[name]) for name in names}


def _measure(found: Mapping[str, tuple[int, int]]) -> Measure:
    counts: Mapping[str, int] = {name: count for name, (count, _) in found.items()}
    lines = {name: f"{count} {digest:064x}" for name, (count, digest) in found.items()}
    return Measure(items=sum(counts.values()), digest=digest_of(lines), counts=counts)


def _lacking(config: Config, target: Config, names: Sequence[str], oldest: Mapping[str, int | None]) -> list[str]:
    """Return the tables of which the destination lacks a row that the source has, or has an older one."""
    found = []
    with (
        closing(open_online_store(config.online_store(), config.root)) as one,
        closing(open_online_store(target.online_store(), target.root)) as other,
    ):
        for name in names:
            least = oldest[name]
            for keys in _chunks(one.keys(name)):
                here, there = one.read([(name, keys)]).values[0], other.read([(name, keys)]).values[0]
                if any(
                    mine is not None
                    and (least is None or event_time(mine) >= least)
                    and (theirs is None or theirs[:ORDER_BYTES] < mine[:ORDER_BYTES])
                    for mine, theirs in zip(here, there, strict=True)
                ):
                    found.append(name)
                    break
    return found


def _digest(online: OnlineStore, name: str, oldest: int | None) -> tuple[int, int]:
    """Return how many rows a table has, and the sum of SHA-256 of them; stores give them in orders of their own."""
    count = total = 0
    for keys in _chunks(online.keys(name)):
        for key, value in zip(keys, online.read([(name, keys)]).values[0], strict=True):
            if value is not None and (oldest is None or event_time(value) >= oldest):
                content = hashlib.sha256(len(key).to_bytes(4) + key + value).digest()
                count, total = count + 1, (total + int.from_bytes(content)) % _MODULUS
    return count, total


def _chunks(keys: Iterator[bytes]) -> Iterator[list[bytes]]:
    while chunk := list(islice(keys, _AT_ONCE)):
        yield chunk


def _views(registry: Registry) -> list[FeatureView]:
    return [one.definition for one in stored_once(live_views(registry))]


def _waiting(config: Config) -> list[Segment]:
    log = PushLog(config.path(config.push.path))
    if not log.begun():
        return []
    with log.committing():
        return log.segments()


def _table_id(offline: OfflineStore, view: FeatureView) -> str:
    return "" if offline.table_version(view) is None else offline.table_id(view)


def _is_pushed_only(online: OnlineStore, name: str) -> bool:
    return online.standing(name).progress is None


def _is_absent(config: Config) -> bool:
    where = config.online_store()
    if not isinstance(where, str):
        return False
    return where.startswith("lmdb://") and not config.path(where.removeprefix("lmdb://")).exists()
