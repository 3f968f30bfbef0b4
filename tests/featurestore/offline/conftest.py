"""A feature store's offline half on a temporary disk: a real registry and real Delta tables."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from featurestore.config import Config
from featurestore.definitions import Entity, FeatureService, FeatureView, Field, OnDemandFeatureView
from featurestore.offline.store import OfflineStore
from featurestore.registry import Registered, Registry, open_registry
from featurestore.settings.sections import OfflineConfig
from featurestore.types import Float64, Int64

START = datetime(2013, 1, 1, tzinfo=UTC)


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return Config(root=tmp_path, project="tests", offline=OfflineConfig(threads=1, memory_limit="500MB"))


@pytest.fixture
def registry(config: Config) -> Iterator[Registry]:
    with open_registry(config.database_url("sqlite:///registry.db"), config.project) as opened:
        yield opened


@pytest.fixture
def store(config: Config, registry: Registry) -> OfflineStore:
    return OfflineStore(config, registry)


@pytest.fixture
def view() -> FeatureView:
    """Weather at an airport, good for three hours."""
    return FeatureView(
        name="weather",
        entities=[Entity(name="airport", join_keys=["origin"])],
        ttl=timedelta(hours=3),
        schema=[Field(name="temp", dtype=Float64, ge=-80, le=140), Field(name="wind", dtype=Int64)],
    )


@pytest.fixture
def weather_rows() -> Callable[..., list[dict[str, Any]]]:
    """Make rows of ``view``, one an hour."""

    def make(hours: Sequence[int] = range(3), **changes: Any) -> list[dict[str, Any]]:
        return [
            {"origin": "JFK", "temp": 40.0 + hour, "wind": hour, "event_timestamp": START + timedelta(hours=hour)}
            | changes
            for hour in hours
        ]

    return make


@pytest.fixture
def service(registry: Registry, view: FeatureView) -> Registered[FeatureService]:
    """The weather, and its chill computed on demand."""
    chill = OnDemandFeatureView(
        name="chill",
        inputs=[view],
        request=[Field(name="hour", dtype=Int64)],
        schema=[Field(name="wind_chill", dtype=Float64)],
        expressions={"wind_chill": "temp - 0.5 * wind + hour / 24.0"},
    )
    made = FeatureService(name="flight_delay", features=[view, chill])
    registry.apply([made], who="tests")
    return registry.service("flight_delay")
