"""A registry in a fresh folder, and definitions to put into it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from featurestore import types
from featurestore.definitions import (
    Entity,
    FeatureService,
    FeatureView,
    Field,
    MonitorPolicy,
    OnDemandFeatureView,
)
from featurestore.registry import Registry, open_registry


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/data/registry.db"


@pytest.fixture
def registry(url: str) -> Iterator[Registry]:
    with open_registry(url, "flights") as opened:
        yield opened


@pytest.fixture
def policy() -> Callable[..., MonitorPolicy]:
    """Return a policy that reaches one definition of each kind; arguments replace parts of the view ``weather``."""

    def build(**view: Any) -> MonitorPolicy:
        weather = FeatureView(
            **{
                "name": "weather",
                "entities": [Entity(name="airport", join_keys=["origin"])],
                "ttl": timedelta(hours=3),
                "schema": [
                    Field(name="temp", dtype=types.Float64),
                    Field(name="wind_speed", dtype=types.Float64),
                ],
                **view,
            }
        )
        chill = OnDemandFeatureView(
            name="chill",
            inputs=[weather],
            request=[Field(name="hour", dtype=types.Int64)],
            schema=[Field(name="wind_chill", dtype=types.Float64)],
            expressions={"wind_chill": "temp - hour"},
        )
        service = FeatureService(name="flight_delay", features=[weather[["temp"]], chill])
        return MonitorPolicy(name="watch", service=service)

    return build
