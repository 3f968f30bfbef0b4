"""A feature store with a drift-monitoring daemon.

Definitions are versioned in a registry; rows that match them are kept offline and copied online; a gRPC server reads
them; a monitor compares what is served with what models were trained on.

Names are imported when they are first used, so that ``import featurestore`` is quick.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from featurestore.client import FeatureClient as FeatureClient
    from featurestore.definitions import Entity as Entity
    from featurestore.definitions import FeatureService as FeatureService
    from featurestore.definitions import FeatureView as FeatureView
    from featurestore.definitions import Field as Field
    from featurestore.definitions import FileSource as FileSource
    from featurestore.definitions import MonitorPolicy as MonitorPolicy
    from featurestore.definitions import OnDemandFeatureView as OnDemandFeatureView
    from featurestore.definitions import PushSource as PushSource
    from featurestore.definitions import SqlSource as SqlSource
    from featurestore.errors import FeatureStoreError as FeatureStoreError
    from featurestore.store import FeatureStore as FeatureStore

_HOMES = {
    "Entity": "definitions",
    "FeatureClient": "client",
    "FeatureService": "definitions",
    "FeatureStore": "store",
    "FeatureStoreError": "errors",
    "FeatureView": "definitions",
    "Field": "definitions",
    "FileSource": "definitions",
    "MonitorPolicy": "definitions",
    "OnDemandFeatureView": "definitions",
    "PushSource": "definitions",
    "SqlSource": "definitions",
}

__all__ = [
    "Entity",
    "FeatureClient",
    "FeatureService",
    "FeatureStore",
    "FeatureStoreError",
    "FeatureView",
    "Field",
    "FileSource",
    "MonitorPolicy",
    "OnDemandFeatureView",
    "PushSource",
    "SqlSource",
]

__version__ = "0.1.0"


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
