"""The online store: rows encoded as they are served, newest first by event time."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from featurestore.errors import ConfigError
from featurestore.online.base import OnlineStore, TableStatus
from featurestore.online.lmdb import LmdbStore
from featurestore.online.memory import MemoryStore
from featurestore.settings.online import RedisConfig

__all__ = ["LmdbStore", "MemoryStore", "OnlineStore", "TableStatus", "open_online_store", "reach"]


def reach(where: str | RedisConfig) -> Literal["process", "host", "network"]:
    """Return from where a store can be opened: this process alone, this host, or any host."""
    if isinstance(where, RedisConfig):
        return "network"
    scheme = where.partition("://")[0]
    return "process" if scheme == "memory" else "host" if scheme == "lmdb" else "network"


def open_online_store(where: str | RedisConfig, root: Path, *, durable: bool = True) -> OnlineStore:
    """Open an online store.

    Args:
        where: ``lmdb://FOLDER``, or ``memory://``; or the settings of one on Redis, with its passwords read, as
            :meth:`Config.online_store <featurestore.config.Config.online_store>` returns them.
        root: the folder that a relative path starts from.
        durable: whether a write is on disk before it returns; a server of its own has settings of its own for that.

    Raises:
        ConfigError: no store has such a URL, or a package is not installed.
        OnlineStoreError: it cannot be opened.
    """
    if isinstance(where, RedisConfig):
        # Here, as nobody else has the packages.
        from featurestore.online.redis.store import RedisStore

        return RedisStore(where)
    scheme, separator, rest = where.partition("://")
    if separator and scheme == "lmdb" and rest:
        return LmdbStore(root / rest, durable=durable)
    if where == "memory://":
        return MemoryStore()
    if scheme in ("redis", "rediss", "valkey", "valkeys"):
        raise ConfigError(
            "An online store on Redis or Valkey is no URL: it has a section of its own.",
            hint='Write [online] with type = "redis" and addresses = ["HOST:PORT"]; see docs/scaling.md.',
        )
    raise ConfigError(f'There is no online store "{where}".', hint='Write online = "lmdb://data/online".')
