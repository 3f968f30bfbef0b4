"""The online store: rows encoded as they are served, newest first by event time."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from featurestore.errors import ConfigError
from featurestore.online.base import OnlineStore, TableStatus
from featurestore.online.lmdb import LmdbStore
from featurestore.online.memory import MemoryStore

__all__ = ["LmdbStore", "MemoryStore", "OnlineStore", "TableStatus", "open_online_store", "reach"]


def reach(url: str) -> Literal["process", "host", "network"]:
    """Return from where a store can be opened: this process alone, this host, or any host."""
    scheme = url.partition("://")[0]
    return "process" if scheme == "memory" else "host" if scheme == "lmdb" else "network"


def open_online_store(url: str, root: Path, *, durable: bool = True) -> OnlineStore:
    """Open the online store that a URL names.

    Args:
        url: ``lmdb://FOLDER``, or ``memory://``.
        root: the folder that a relative path starts from.
        durable: whether a write is on disk before it returns.

    Raises:
        ConfigError: no store has such a URL.
        OnlineStoreError: it cannot be opened.
    """
    scheme, separator, rest = url.partition("://")
    if separator and scheme == "lmdb" and rest:
        return LmdbStore(root / rest, durable=durable)
    if url == "memory://":
        return MemoryStore()
    raise ConfigError(f'There is no online store "{url}".', hint='Write online = "lmdb://data/online".')
