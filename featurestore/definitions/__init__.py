"""What a user writes: entities, views, services, policies. Frozen, and checked when they are built."""

from featurestore.definitions.baseline_source import BaselineSource
from featurestore.definitions.canonical import Definition, content_hash, kind_of, storage_hash, storage_id
from featurestore.definitions.entity import Entity
from featurestore.definitions.evaluation import Evaluation
from featurestore.definitions.field import Field
from featurestore.definitions.gate import LoadGate
from featurestore.definitions.history import Heritage, heritage
from featurestore.definitions.model import Model
from featurestore.definitions.on_demand import OnDemandFeatureView, on_demand_feature_view
from featurestore.definitions.policy import MonitorPolicy
from featurestore.definitions.promotion_policy import PromotionPolicy
from featurestore.definitions.retraining import RetrainingPolicy
from featurestore.definitions.service import FeatureService
from featurestore.definitions.shared import SharedFeatureView, SharedView
from featurestore.definitions.sources import FileSource, PushSource, QuerySource, Source, SqlSource
from featurestore.definitions.splits import GroupSplit, KeySplit, RandomSplit, Split, TimeSplit
from featurestore.definitions.views import FeatureView, ViewProjection

__all__ = [
    "BaselineSource",
    "Definition",
    "Entity",
    "Evaluation",
    "FeatureService",
    "FeatureView",
    "Field",
    "FileSource",
    "GroupSplit",
    "Heritage",
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
    "SharedFeatureView",
    "SharedView",
    "Source",
    "Split",
    "SqlSource",
    "TimeSplit",
    "ViewProjection",
    "content_hash",
    "heritage",
    "kind_of",
    "on_demand_feature_view",
    "storage_hash",
    "storage_id",
]
