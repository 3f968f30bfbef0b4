"""Versioned definitions, aliases, and the ledgers of what was done with them."""

from featurestore.registry.acting import acting_user
from featurestore.registry.comparison import Comparison
from featurestore.registry.consents import Consent
from featurestore.registry.differences import Difference
from featurestore.registry.erasures import RewrittenFile, present_name, present_names
from featurestore.registry.heads import FoundHead, Head
from featurestore.registry.identity import current_user, is_verified
from featurestore.registry.liveness import live_views, stored_once
from featurestore.registry.model_differences import Made, ModelComparison, Numbers, compare_models
from featurestore.registry.plan import Change, Plan
from featurestore.registry.records import (
    AuditEntry,
    DatasetRecord,
    Identity,
    Load,
    Materialization,
    ModelRecord,
    Registered,
    Token,
)
from featurestore.registry.registry import Registry, open_registry
from featurestore.registry.searching import Match
from featurestore.registry.signing import PrivateKey, signing_key
from featurestore.registry.verifying import AuditReport, Problem

__all__ = [
    "AuditEntry",
    "AuditReport",
    "Change",
    "Comparison",
    "Consent",
    "DatasetRecord",
    "Difference",
    "FoundHead",
    "Head",
    "Identity",
    "Load",
    "Made",
    "Match",
    "Materialization",
    "ModelComparison",
    "ModelRecord",
    "Numbers",
    "Plan",
    "PrivateKey",
    "Problem",
    "Registered",
    "Registry",
    "RewrittenFile",
    "Token",
    "acting_user",
    "compare_models",
    "current_user",
    "is_verified",
    "live_views",
    "open_registry",
    "present_name",
    "present_names",
    "signing_key",
    "stored_once",
]
