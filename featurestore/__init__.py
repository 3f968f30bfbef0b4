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
    from featurestore.definitions import BaselineSource as BaselineSource
    from featurestore.definitions import Entity as Entity
    from featurestore.definitions import Evaluation as Evaluation
    from featurestore.definitions import FeatureService as FeatureService
    from featurestore.definitions import FeatureView as FeatureView
    from featurestore.definitions import Field as Field
    from featurestore.definitions import FileSource as FileSource
    from featurestore.definitions import GroupSplit as GroupSplit
    from featurestore.definitions import KeySplit as KeySplit
    from featurestore.definitions import LoadGate as LoadGate
    from featurestore.definitions import Model as Model
    from featurestore.definitions import MonitorPolicy as MonitorPolicy
    from featurestore.definitions import OnDemandFeatureView as OnDemandFeatureView
    from featurestore.definitions import PromotionPolicy as PromotionPolicy
    from featurestore.definitions import PushSource as PushSource
    from featurestore.definitions import QuerySource as QuerySource
    from featurestore.definitions import RandomSplit as RandomSplit
    from featurestore.definitions import RetrainingPolicy as RetrainingPolicy
    from featurestore.definitions import SharedView as SharedView
    from featurestore.definitions import SqlSource as SqlSource
    from featurestore.definitions import TimeSplit as TimeSplit
    from featurestore.definitions import on_demand_feature_view as on_demand_feature_view
    from featurestore.errors import FeatureStoreError as FeatureStoreError
    from featurestore.store import FeatureStore as FeatureStore

_HOMES = {
    "BaselineSource": "definitions",
    "Entity": "definitions",
    "Evaluation": "definitions",
    "FeatureClient": "client",
    "FeatureService": "definitions",
    "FeatureStore": "store",
    "FeatureStoreError": "errors",
    "FeatureView": "definitions",
    "Field": "definitions",
    "FileSource": "definitions",
    "GroupSplit": "definitions",
    "KeySplit": "definitions",
    "LoadGate": "definitions",
    "Model": "definitions",
    "MonitorPolicy": "definitions",
    "OnDemandFeatureView": "definitions",
    "PromotionPolicy": "definitions",
    "PushSource": "definitions",
    "QuerySource": "definitions",
    "RandomSplit": "definitions",
    "RetrainingPolicy": "definitions",
    "SharedView": "definitions",
    "SqlSource": "definitions",
    "TimeSplit": "definitions",
    "on_demand_feature_view": "definitions",
}

__all__ = [
    "BaselineSource",
    "Entity",
    "Evaluation",
    "FeatureClient",
    "FeatureService",
    "FeatureStore",
    "FeatureStoreError",
    "FeatureView",
    "Field",
    "FileSource",
    "GroupSplit",
    "KeySplit",
    "LoadGate",
    "Model",
    "MonitorPolicy",
    "OnDemandFeatureView",
    "PromotionPolicy",
    "PushSource",
    "QuerySource",
    "RandomSplit",
    "RetrainingPolicy",
    "SharedView",
    "SqlSource",
    "TimeSplit",
    "on_demand_feature_view",
]

__version__ = "0.1.0"


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
