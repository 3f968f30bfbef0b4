"""The models: what each was trained on, how it did, and two of them side by side."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from featurestore.errors import FeatureStoreError
from featurestore.registry import ModelRecord
from featurestore.registry.rendering import differences_as_json
from monitor.dashboard.page import Asked, Page, Values
from monitor.dashboard.performance import SECONDS
from monitor.dashboard.reading import Reader
from monitor.performance.live import answered, compare_live


def read(reader: Reader, asked: Asked) -> Values:
    """Return every model, the newest first; with ``a`` and ``b`` what is different between those two."""
    registry = reader.registry
    models = sorted(registry.models(), key=lambda one: one.created_at, reverse=True)
    aliases: dict[str, list[str]] = {}
    for alias in registry.alias_records():
        aliases.setdefault(alias.id, []).append(alias.alias)
    a, b = asked.query.get("a", ""), asked.query.get("b", "")
    return {
        "title": "Models",
        "models": [model_values(one) | {"aliases": aliases.get(one.service, [])} for one in models],
        "a": a,
        "b": b,
        "compared": _compared(reader, a, b) if a and b else None,
        "live": _live(reader, a, b) if a and b and "live" in asked.query else None,
    }


def model_values(one: ModelRecord) -> dict[str, Any]:
    """Return a model as JSON values."""
    return {
        "id": one.id,
        "service": one.service,
        "dataset": one.dataset,
        "metrics": dict(one.metrics),
        "created_at": one.created_at.isoformat(),
        "created_by": one.created_by,
    }


def _compared(reader: Reader, a: str, b: str) -> Mapping[str, Any]:
    try:
        found = reader.store.compare_models(a, b)
    except FeatureStoreError as error:
        return {"error": f"{error.message} {error.hint}".strip()}
    return {
        "error": "",
        "a": found.a.model.id,
        "b": found.b.model.id,
        "numbers": [
            one._asdict() | {"change": one.change, "a_interval": None, "b_interval": None} for one in found.metrics
        ],
        "importances": [
            one._asdict()
            | {
                "change": one.change,
                "a_interval": _interval(found.a.model, one.name),
                "b_interval": _interval(found.b.model, one.name),
            }
            for one in found.importances
        ],
        "features_added": list(found.features_added),
        "features_removed": list(found.features_removed),
        "differences": {
            name: differences_as_json(getattr(found, name))
            for name in ("hyperparameters", "dataset", "evaluation", "environment")
        },
    }


def _interval(model: ModelRecord, feature: str) -> list[float] | None:
    return list(model.importance_intervals.get(feature, ())) or None


def _live(reader: Reader, a: str, b: str) -> Mapping[str, Any]:
    """Return how two models do on what was logged, each by itself and one against the other, with intervals."""
    try:
        found = reader.recent(("live", a, b), SECONDS, lambda: compare_live(reader.store, a, b, None)[1])
    except FeatureStoreError as error:
        return {"error": f"{error.message} {error.hint}".strip()}
    compared = [one["comparison"] for one in found["comparisons"]]
    return {**found, "error": "", "said": {one["metric"]: answered(one["metric"], one["answer"]) for one in compared}}


def _twin(asked: Asked) -> tuple[str, ...]:
    a, b = asked.query.get("a", ""), asked.query.get("b", "")
    live = () if "live" in asked.query else ("--no-live",)
    return ("model", "compare", a, b, *live) if a and b else ("model", "list")


PAGE = Page(name="models", path="/models", menu="Models", read=read, twin=_twin, query=("a", "b", "live"))
