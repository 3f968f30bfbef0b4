"""What ``import featurestore`` offers and what stands beside it for users, from the docstrings."""

from __future__ import annotations

import inspect
import pkgutil
from collections.abc import Iterator
from importlib import import_module

import featurestore
from _reference.objects import described, pages_of
from featurestore import statistics

#: Headings, in the order of use; a name that no group has is an error of the build.
_GROUPS = {
    "The store": ("FeatureStore",),
    "The client of a server": ("FeatureClient",),
    "Definitions of features": (
        "Entity",
        "Field",
        "FeatureView",
        "OnDemandFeatureView",
        "on_demand_feature_view",
        "FeatureService",
        "SharedView",
    ),
    "Sources": ("FileSource", "SqlSource", "QuerySource", "PushSource", "LoadGate"),
    "Models and training sets": (
        "Model",
        "Evaluation",
        "BaselineSource",
        "TimeSplit",
        "RandomSplit",
        "KeySplit",
        "GroupSplit",
    ),
    "Policies": ("MonitorPolicy", "RetrainingPolicy", "PromotionPolicy"),
    "Errors": ("FeatureStoreError",),
}

#: What users import from further down, and what that is made of.
_BESIDE = {
    "Parts of definitions": {
        "featurestore.definitions.views": ("ViewProjection",),
        "featurestore.definitions.shared": ("SharedFeatureView",),
    },
    "Clients beside it": {
        "featurestore.client": (
            "AsyncFeatureClient",
            "FeatureStream",
            "SignalClient",
            "OnlineFeatures",
            "Pushed",
            "Logged",
        )
    },
    "Types": {"featurestore.types": ("DType", "by_name", "Array", "Embedding", "Struct", "Decimal")},
    "Tests of features": {
        "featurestore.testing": ("FeatureCase", "run_case", "CaseResult"),
        "featurestore.testing.comparing": ("Mismatch",),
    },
    "Moves and backups": {
        "featurestore.moving": ("Move", "MoveReport", "PartReport", "Measure", "State"),
        "featurestore.moving.backup": ("create", "verify", "load", "Verified"),
    },
}


def python() -> str:
    """Return the page.

    Raises:
        ValueError: the groups are not what the package offers.
    """
    grouped = sorted(name for names in _GROUPS.values() for name in names)
    if grouped != sorted(featurestore.__all__):
        raise ValueError(f"docs/_reference/python.py groups other names than featurestore.__all__: {grouped}")
    own = "\n\n".join(f"## {title}\n\n" + "\n\n".join(_own(name) for name in names) for title, names in _GROUPS.items())
    counted = "## Statistics\n\n" + "\n\n".join(_statistics())
    return "\n\n".join([own, pages_of(_BESIDE), counted])


def _own(name: str) -> str:
    if name == "FeatureStoreError":
        return "The tree of errors and each of them are on [a page of their own](errors.md)."
    return described("featurestore", name)


def _statistics() -> Iterator[str]:
    """Yield all that the modules of statistics define for others: one idea, and so mostly one function, a module."""
    for found in pkgutil.iter_modules(statistics.__path__):
        module = import_module(f"{statistics.__name__}.{found.name}")
        for name, value in vars(module).items():
            if not name.startswith("_") and getattr(value, "__module__", "") == module.__name__ and _is_object(value):
                yield described(module.__name__, name)


def _is_object(value: object) -> bool:
    return inspect.isclass(value) or inspect.isfunction(value)
