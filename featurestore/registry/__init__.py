"""Versioned definitions, aliases, and the ledgers of what was done with them."""

from featurestore.registry.differences import Difference
from featurestore.registry.identity import current_user
from featurestore.registry.liveness import live_views, stored_once
from featurestore.registry.plan import Change, Plan
from featurestore.registry.records import (
    AuditEntry,
    DatasetRecord,
    Load,
    Materialization,
    ModelRecord,
    Registered,
)
from featurestore.registry.registry import Registry, open_registry

__all__ = [
    "AuditEntry",
    "Change",
    "DatasetRecord",
    "Difference",
    "Load",
    "Materialization",
    "ModelRecord",
    "Plan",
    "Registered",
    "Registry",
    "current_user",
    "live_views",
    "open_registry",
    "stored_once",
]
