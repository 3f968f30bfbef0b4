"""What a user writes: entities, views, services, policies. Frozen, and checked when they are built."""

from featurestore.definitions.canonical import Definition, content_hash, kind_of, storage_hash, storage_id
from featurestore.definitions.entity import Entity
from featurestore.definitions.field import Field
from featurestore.definitions.policy import MonitorPolicy
from featurestore.definitions.service import FeatureService
from featurestore.definitions.sources import FileSource, PushSource, Source, SqlSource
from featurestore.definitions.views import FeatureView, OnDemandFeatureView, ViewProjection

__all__ = [
    "Definition",
    "Entity",
    "FeatureService",
    "FeatureView",
    "Field",
    "FileSource",
    "MonitorPolicy",
    "OnDemandFeatureView",
    "PushSource",
    "Source",
    "SqlSource",
    "ViewProjection",
    "content_hash",
    "kind_of",
    "storage_hash",
    "storage_id",
]
