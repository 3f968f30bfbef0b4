"""What ``import featurestore`` offers, from the docstrings."""

from __future__ import annotations

import inspect

import featurestore

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


def python() -> str:
    """Return the page.

    Raises:
        ValueError: the groups are not what the package offers.
    """
    grouped = sorted(name for names in _GROUPS.values() for name in names)
    if grouped != sorted(featurestore.__all__):
        raise ValueError(f"docs/_reference/python.py groups other names than featurestore.__all__: {grouped}")
    return "\n\n".join(
        f"## {title}\n\n" + "\n\n".join(_described(name) for name in names) for title, names in _GROUPS.items()
    )


def _described(name: str) -> str:
    if name == "FeatureStoreError":
        return "The tree of errors and each of them are on [a page of their own](errors.md)."
    value = getattr(featurestore, name)
    if inspect.isclass(value):
        directive = f".. autoclass:: featurestore.{name}\n   :members:\n   :inherited-members: object"
    else:
        directive = f".. autofunction:: featurestore.{name}"
    return f"### `{name}`\n\n```{{eval-rst}}\n{directive}\n```"
