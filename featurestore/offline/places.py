"""Where the offline store keeps what: tables and what lies beside them, and what stays on this machine."""

from __future__ import annotations

from pathlib import Path

from featurestore.config import Config
from featurestore.storage import StoragePath, is_object_url, located

#: Where a store whose tables are in object storage keeps what does not fit into memory.
_SCRATCH = "data/offline"


def offline_folder(config: Config) -> StoragePath:
    """Return the place of tables, quarantined rows, profiles and training datasets.

    Raises:
        ConfigError: ``offline.path`` is a URL of another kind.
    """
    return stored_at(config.offline.path, config)


def stored_at(text: str, config: Config) -> StoragePath:
    """Return the place that a setting or a manifest names: a URL, or a path relative to ``featurestore.toml``."""
    return located(text, config.offline.storage) if is_object_url(text) else config.path(text)


def local_folder(config: Config) -> Path:
    """Return the folder of this machine where the offline store keeps what is not for others: spilled rows, locks."""
    return config.path(_SCRATCH if is_object_url(config.offline.path) else config.offline.path)


def spill_folder(config: Config) -> Path:
    """Return the folder for what does not fit into memory."""
    return local_folder(config) / ".spill"
