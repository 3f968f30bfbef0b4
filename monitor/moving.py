"""The monitor's database as a part of a store that is migrated or backed up."""

from __future__ import annotations

from featurestore.config import Config
from featurestore.moving import MovedDatabase
from monitor import schema
from monitor.history import History

#: Facts about processes that run: who works on the database, and who leads. They are of the place, not of the data.
_OF_THE_PLACE = (schema.heartbeats, schema.leases)


def databases(config: Config) -> list[MovedDatabase]:
    """Return the monitor's database, for the entry point ``featurestore.movers``."""
    found = MovedDatabase(
        part="monitor",
        url=config.database_url(config.monitor.database),
        open=History,
        tables=[one for one in schema.metadata.sorted_tables if one not in _OF_THE_PLACE],
        made_with=frozenset({schema.meta.name, schema.signal_cursor.name}),
    )
    return [found]
