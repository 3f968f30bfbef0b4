"""A registry in a fresh database of each kind, and definitions to put into it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import create_engine

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
from featurestore.registry.schema import metadata
from tests import backends


@pytest.fixture(scope="session")
def kept_database(postgresql_server: str) -> str:
    """Return the URL of a PostgreSQL database that has the tables: making them takes longer than most tests."""
    with psycopg.connect(f"{postgresql_server}/postgres", autocommit=True) as connection:
        connection.execute("CREATE DATABASE registry")
    url = f"{postgresql_server}/registry".replace("postgresql://", "postgresql+psycopg://")
    open_registry(url, "flights").close()
    return url


@pytest.fixture(params=backends.params("registry", "sqlite", "postgresql"))
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return the URL of a database with nothing in it; what asks for it, or for ``registry``, runs on both kinds."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/data/registry.db"
    kept: str = request.getfixturevalue("kept_database")
    engine = create_engine(kept)
    with engine.begin() as connection:
        connection.exec_driver_sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        for table in reversed(metadata.sorted_tables):
            connection.execute(table.delete())
    engine.dispose()
    return kept


@pytest.fixture(params=backends.params("registry", "sqlite", "postgresql"))
def bare_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return the URL of a database without tables."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/data/registry.db"
    fresh: str = request.getfixturevalue("postgresql")
    return fresh.replace("postgresql://", "postgresql+psycopg://")


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
