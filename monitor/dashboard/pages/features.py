"""The catalogue: every feature, by view, with who owns it and what it is."""

from __future__ import annotations

from typing import Any

from featurestore.definitions import FeatureView, OnDemandFeatureView
from featurestore.registry import Registered
from monitor.dashboard.page import Asked, Page, Values
from monitor.dashboard.reading import Reader

#: Features that one page lists.
_MANY = 300


def read(reader: Reader, asked: Asked) -> Values:
    """Return the features in which every word of ``q`` occurs."""
    text = asked.query.get("q", "").strip()
    registry = reader.registry
    views = [*registry.list("feature_view"), *registry.list("on_demand_feature_view")]
    found = [one for view in views for one in _features(view) if _matches(one, text.casefold().split())]
    return {
        "title": "Features",
        "q": text,
        "count": len(found),
        "features": found[:_MANY],
        "more": max(0, len(found) - _MANY),
        "nothing": not views,
    }


def _features(view: Registered[Any]) -> list[dict[str, Any]]:
    definition = view.definition
    assert isinstance(definition, FeatureView | OnDemandFeatureView)  # noqa: S101 - these kinds were listed
    return [
        {
            "feature": one.name,
            "view": view.name,
            "version": view.version,
            "type": str(one.dtype),
            "pii": one.pii,
            "description": one.description,
            "owner": definition.owner,
            "on_demand": isinstance(definition, OnDemandFeatureView),
        }
        for one in definition.schema
    ]


def _matches(feature: dict[str, Any], words: list[str]) -> bool:
    text = " ".join(str(feature[key]) for key in ("feature", "view", "type", "description", "owner")).casefold()
    return all(one in text for one in words)


PAGE = Page(
    name="features",
    path="/features",
    menu="Features",
    read=read,
    twin=lambda asked: ("search", asked.query["q"]) if asked.query.get("q") else ("list", "feature_view"),
    query=("q",),
)
