"""What may stand where a service is meant."""

from __future__ import annotations

from featurestore.definitions import FeatureService, FeatureView, OnDemandFeatureView, SharedView, ViewProjection
from featurestore.errors import DefinitionError

#: What a service is made of, and may be asked for without one.
PARTS = (FeatureView, ViewProjection, OnDemandFeatureView, SharedView)


def service_name(features: object, *, views: bool = False) -> str:
    """Return the name under which a service is registered.

    Args:
        features: what was given as one.
        views: whether a list of views would do too.

    Raises:
        DefinitionError: it is neither a name nor a service.
    """
    if isinstance(features, FeatureService):
        return features.name
    if isinstance(features, str):
        return features
    hint = "Pass the name of one: to use some features of a view, apply FeatureService(features=[view[[...]]])."
    if views:
        hint = f"Pass the name of one, or, as a draft, a list of views: {_as_views(features)}."
    raise DefinitionError(f"features={_shown(features)} names no feature service.", hint=hint)


def _as_views(features: object) -> str:
    """Return how a list of views is written; in the names of a text that other feature stores would take."""
    first = features[0] if isinstance(features, (list, tuple)) and features else None
    view, _, feature = first.partition(":") if isinstance(first, str) else ("", "", "")
    return f'[{view}[["{feature}"]]]' if view.isidentifier() and feature else "[view, other[[...]]]"


def _shown(features: object) -> str:
    if isinstance(features, (list, tuple)):
        return f"[{', '.join(map(_shown, features))}]"
    if isinstance(features, PARTS):
        return f'feature view "{features.name}"'
    return f'"{features}"' if isinstance(features, str) else repr(features)
