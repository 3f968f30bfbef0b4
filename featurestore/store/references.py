"""What may stand where a service is meant."""

from __future__ import annotations

from featurestore.definitions import FeatureService
from featurestore.errors import DefinitionError


def service_name(features: object) -> str:
    """Return the name under which a service is registered.

    Raises:
        DefinitionError: it is neither a name nor a service.
    """
    if isinstance(features, FeatureService):
        return features.name
    if isinstance(features, str):
        return features
    raise DefinitionError(
        f"features={features!r} names no feature service.",
        hint="Pass the name of one: to use some features of a view, apply FeatureService(features=[view[[...]]]).",
    )
