"""Services as the registry gives them, for tests that need no registry."""

from __future__ import annotations

from datetime import UTC, datetime

from featurestore.definitions import FeatureService
from featurestore.registry.records import Registered


def registered(service: FeatureService, version: int = 1, **pins: int) -> Registered[FeatureService]:
    """Return a version of a service, with the versions of its views."""
    return Registered(
        project="test",
        kind="feature_service",
        name=service.name,
        version=version,
        content_hash="abc",
        decode=lambda: service,
        pins=pins,
        applied_at=datetime(2013, 1, 1, tzinfo=UTC),
        applied_by="tester",
    )
