"""The canonical form of a definition, and its hashes.

The canonical form is JSON: UTF-8, keys sorted, no white space, numbers as Python's ``json`` writes
them (shortest form that reads back to the same number; a float with an integral value is written as an integer, so
that ``ge=0`` and ``ge=0.0`` are one definition). The hash is SHA-256 over ``featurestore/1`` + kind + this form. It is
stable across processes, Python versions and operating systems, and is a definition's identity between registries.
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any

from featurestore.definitions.entity import Entity
from featurestore.definitions.on_demand import OnDemandFeatureView
from featurestore.definitions.policy import MonitorPolicy
from featurestore.definitions.promotion_policy import PromotionPolicy
from featurestore.definitions.service import FeatureService
from featurestore.definitions.views import FeatureView

Definition = Entity | FeatureView | OnDemandFeatureView | FeatureService | MonitorPolicy | PromotionPolicy

KINDS: dict[type, str] = {
    Entity: "entity",
    FeatureView: "feature_view",
    OnDemandFeatureView: "on_demand_feature_view",
    FeatureService: "feature_service",
    MonitorPolicy: "monitor_policy",
    PromotionPolicy: "promotion_policy",
}


def kind_of(definition: Definition) -> str:
    """Return the kind under which the registry keeps it: ``feature_view`` for a FeatureView, and so on."""
    return KINDS[type(definition)]


def canonical_json(value: Any) -> str:
    """Return the canonical form of JSON values."""
    text = _dump(value)
    # Few definitions hold such a number, and looking through the text is much faster than through the values.
    maybe = ".0" in text or "e+" in text
    return _dump(_plain(value)) if maybe and _INTEGRAL_FLOAT.search(text) else text


def content_hash(definition: Definition) -> str:
    """Return 64 hexadecimal digits that change when, and only when, a value that a user sees can change."""
    return spec_hash(kind_of(definition), definition.spec())


def storage_hash(view: FeatureView) -> str:
    """Return 64 hexadecimal digits that change when the stored rows would: versions that share it share rows."""
    return spec_hash("storage", view.storage_spec())


def storage_id(view: FeatureView) -> str:
    """Return the name of the view's rows, offline and online: ``weather-0f3a91c2b4d5``."""
    return f"{view.name}-{storage_hash(view)[:12]}"


def spec_hash(kind: str, spec: dict[str, Any]) -> str:
    """Return the content hash of a definition from its kind and what :meth:`spec` gives."""
    return hashlib.sha256(f"featurestore/1\n{kind}\n{canonical_json(spec)}".encode()).hexdigest()


#: Where a float may stand that has an integral value, as ``1.0`` or ``1e+16``; a text may look alike.
_INTEGRAL_FLOAT = re.compile(r"(?:\.0|e\+\d+)(?![^,\]}])")


_dump = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode


def _plain(value: Any) -> Any:
    if isinstance(value, str):
        return value
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value
