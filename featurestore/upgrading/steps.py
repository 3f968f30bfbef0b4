"""The stores of this package, in the order in which they are upgraded: the registry first, which all others ask."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import closing

from featurestore import folders
from featurestore.config import Config
from featurestore.offline.datasets.manifest import MANIFEST_FORMAT, format_of
from featurestore.offline.store import OfflineStore
from featurestore.offline.tables.table_format import FORMAT as TABLE_FORMAT
from featurestore.online import open_online_store
from featurestore.online.lmdb_state import FORMAT as ONLINE_FORMAT
from featurestore.pushing import PushLog
from featurestore.pushing.segments import FORMAT as PUSH_FORMAT
from featurestore.registry import Registry, live_views, open_registry, stored_once
from featurestore.registry.migrating import REVISION, found_schema, open_database
from featurestore.upgrading.stored import State, Step, Stored

_LMDB = "lmdb://"


def own_steps() -> list[Step]:
    """Return them."""
    return [REGISTRY, ONLINE, TABLES, DATASETS, PUSH_LOG, *map(_folder, folders.FOLDERS)]


def _url(config: Config) -> str:
    return config.database_url(config.registry)


def _look_at_registry(config: Config) -> Stored:
    found = found_schema(_url(config))
    if not found.revision:
        return REGISTRY.absent()
    if not found.is_readable:
        raise found.refusal()
    if found.revision == REVISION:
        return REGISTRY.current()
    if found.revision > REVISION:
        whose = f"release {found.release}" if found.release else "a newer release"
        state, what = State.newer, f"{whose} has added to it, and this one works beside that one"
    else:
        first = f"{int(found.revision) + 1:04}"
        steps = f"step {REVISION}" if first == REVISION else f"steps {first} to {REVISION}"
        state, what = State.behind, f"{steps}, in one transaction"
        what += "" if found.shared else "; so does the next command that opens it"
    return Stored(store=REGISTRY.store, state=state, found=found.revision, format=REVISION, what=what)


def _upgrade_registry(config: Config) -> None:
    open_database(_url(config), upgrade=True).close()


REGISTRY = Step(store="registry", format=REVISION, look=_look_at_registry, upgrade=_upgrade_registry)


def _look_at_online(config: Config) -> Stored:
    where = config.online_store()
    if isinstance(where, str) and where.startswith(_LMDB) and not config.path(where.removeprefix(_LMDB)).exists():
        return ONLINE.absent()
    with closing(open_online_store(where, config.root)) as store:
        store.read(())  # which refuses a newer format
    return ONLINE.current()


ONLINE = Step(store="online store", format=str(ONLINE_FORMAT), look=_look_at_online)


def _of_registry(step: Step, config: Config, look: Callable[[Registry], Stored]) -> Stored:
    """Look at what only a registry knows, which is not to be changed by looking."""
    found = found_schema(_url(config))
    if not found.revision:
        return step.absent()
    if found.revision < REVISION or not found.is_readable:
        what = "looked at after the registry is upgraded"
        return Stored(store=step.store, state=State.unseen, format=step.format, what=what)
    with closing(open_registry(_url(config), config.project)) as registry:
        return look(registry)


def _counted(step: Step, found: Iterable[int], what: str) -> Stored:
    """Return a store of many things, each of a format that is read as it is."""
    counts = Counter(found)
    if not counts:
        return step.absent()
    if set(counts) == {int(step.format)}:
        many = counts.total()
        return step.current(f"{many:,} {what}{'s' * (many > 1)}, nothing to do")
    said = " and ".join(f"{count:,} of format {number}" for number, count in sorted(counts.items()))
    numbers = ", ".join(map(str, sorted(counts)))
    return Stored(
        store=step.store, state=State.older, found=numbers, format=step.format, what=f"{said}, read as they are"
    )


def _look_at_tables(config: Config) -> Stored:
    def look(registry: Registry) -> Stored:
        offline = OfflineStore(config, registry)
        tables = (offline.table(one.definition) for one in stored_once(live_views(registry)))
        return _counted(TABLES, (one.format() for one in tables if one.exists()), "table")

    return _of_registry(TABLES, config, look)


TABLES = Step(store="tables", format=str(TABLE_FORMAT), look=_look_at_tables)


def _look_at_datasets(config: Config) -> Stored:
    def look(registry: Registry) -> Stored:
        kept = (one for one in registry.datasets() if one.removed_at is None)
        return _counted(DATASETS, map(format_of, kept), "manifest")

    return _of_registry(DATASETS, config, look)


DATASETS = Step(store="training datasets", format=str(MANIFEST_FORMAT), look=_look_at_datasets)


def _look_at_push_log(config: Config) -> Stored:
    # Both formats are written, each where it is needed.
    found = PushLog(config.path(config.push.path)).formats()
    if not found:
        return PUSH_LOG.absent()
    numbers = ", ".join(map(str, found))
    return Stored(
        store=PUSH_LOG.store, state=State.current, found=numbers, format=PUSH_LOG.format, what="nothing to do"
    )


PUSH_LOG = Step(store="push log", format=str(PUSH_FORMAT), look=_look_at_push_log)


def _folder(name: str) -> Step:
    one = folders.FOLDERS[name]

    def look(config: Config) -> Stored:
        folder = one.path(config)
        if not folder.is_dir():
            return step.absent()
        folders.check_folder(config, name)
        return step.current()

    step = Step(store=name, format=str(one.format), look=look)
    return step
