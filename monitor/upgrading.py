"""The monitor's database, as ``featurestore upgrade`` meets it."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from featurestore.config import Config
from featurestore.database import Database
from featurestore.errors import MonitorError
from featurestore.upgrading import State, Step, Stored
from monitor import schema
from monitor.history import History
from monitor.migrating import found_tables

_SQLITE = "sqlite:///"


def steps() -> list[Step]:
    """Return the monitor's step, for the entry point ``featurestore.upgrades``."""
    return [MONITOR]


def _url(config: Config) -> str:
    return config.database_url(config.monitor.database)


def _look(config: Config) -> Stored:
    url = _url(config)
    if url.startswith(_SQLITE) and not Path(url.removeprefix(_SQLITE)).exists():  # opening would make it
        return MONITOR.absent()
    hint = 'Check "database" under [monitor] in featurestore.toml.'
    with closing(Database(url, what="monitor's database", error=MonitorError, hint=hint)) as database:
        with database.read() as connection:
            found = found_tables(connection)
        name, shared = database.name, database.path is None
    if not found.version:
        return MONITOR.absent()
    if not found.is_readable:
        raise found.refusal(name)
    if found.version == schema.VERSION:
        return MONITOR.current()
    if found.version > schema.VERSION:
        whose = f"release {found.release}" if found.release else "a newer release"
        state, what = State.newer, f"{whose} has added to it, and this one works beside that one"
    else:
        first = found.version + 1
        steps = f"step {first}" if first == schema.VERSION else f"steps {first} to {schema.VERSION}"
        state, what = State.behind, f"{steps}, in one transaction"
        what += "" if shared else "; so does the next monitor that opens it"
    return Stored(store=MONITOR.store, state=state, found=str(found.version), format=MONITOR.format, what=what)


def _upgrade(config: Config) -> None:
    History(_url(config), upgrade=True).close()


MONITOR = Step(store="monitor", format=str(schema.VERSION), look=_look, upgrade=_upgrade)
