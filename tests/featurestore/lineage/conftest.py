"""A feature store with one thing of each kind, from a file of flights to a model and its monitor."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from featurestore import (
    Entity,
    FeatureService,
    FeatureStore,
    FeatureView,
    Field,
    FileSource,
    Model,
    MonitorPolicy,
    OnDemandFeatureView,
    PushSource,
    SqlSource,
    on_demand_feature_view,
)
from featurestore.types import Float64, Int64, String

QUERY = """
SELECT carrier, hour_ended AS known_at, avg(arr_delay) AS mean_delay, count(*) AS flights
FROM flights
WHERE arr_delay IS NOT NULL
GROUP BY carrier, hour_ended
"""


def definitions(**weather: Any) -> dict[str, Any]:
    """Return the definitions by name; arguments replace parts of the view ``weather``."""
    airport = Entity(name="airport", join_keys=["origin"], dtypes=[String])
    carrier = Entity(name="carrier", join_keys=["carrier"], dtypes=[String])
    view = FeatureView(
        **{
            "name": "weather",
            "entities": [airport],
            "ttl": timedelta(hours=3),
            "source": FileSource(path="data/weather/*.parquet", timestamp_field="time_hour"),
            "schema": [Field(name="temp", dtype=Float64, description="Fahrenheit"), Field(name="dewp", dtype=Float64)],
            **weather,
        }
    )
    delays = FeatureView(
        name="delays",
        entities=[carrier],
        source=SqlSource(
            query=QUERY,
            sources=[FileSource(name="flights", path="data/flights.parquet")],
            timestamp_field="known_at",
        ),
        schema=[Field(name="mean_delay", dtype=Float64), Field(name="flights", dtype=Int64)],
    )
    user = Entity(name="user", join_keys=["user_id"], dtypes=[Int64])
    clicks = FeatureView(
        name="clicks",
        entities=[user],
        source=PushSource(name="site"),
        schema=[Field(name="age", dtype=Int64, tags={"pii": "true"})],
    )
    context = OnDemandFeatureView(
        name="context",
        inputs=[view, delays],
        request=[Field(name="hour", dtype=Int64)],
        schema=[Field(name="chill", dtype=Float64), Field(name="knock_on", dtype=Float64)],
        expressions={"chill": "CASE WHEN temp > 1.5 THEN dewp ELSE temp END", "knock_on": "mean_delay * hour / 24.0"},
    )

    @on_demand_feature_view(
        schema=[Field(name="double", dtype=Float64)],
        inputs=[view],
        examples=[{"temp": 1.0, "dewp": 2.0, "double": 2.0}],
    )
    def doubled(rows: pl.DataFrame) -> dict[str, pl.Series]:
        return {"double": rows["temp"] * 2}

    service = FeatureService(name="flight_delay", features=[view[["temp"]], delays, context])
    people = FeatureService(name="people", features=[clicks, doubled])
    watch = MonitorPolicy(name="watch", service=service)
    return {one.name: one for one in (view, delays, clicks, context, doubled, service, people, watch)}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[FeatureStore]:
    with FeatureStore.init(tmp_path / "flights", project="flights") as opened:
        yield opened


@pytest.fixture
def define() -> Any:
    return definitions


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a store with everything applied, a dataset ``q1`` and a model ``ridge``."""
    folder = tmp_path_factory.mktemp("prepared") / "flights"
    noon = datetime(2013, 1, 1, 12, tzinfo=UTC)
    with FeatureStore.init(folder, project="flights") as store:
        store.apply(list(definitions().values()))
        store.ingest("weather", pl.DataFrame({"origin": ["JFK"], "time_hour": [noon], "temp": [39.0], "dewp": [28.0]}))
        store.ingest(
            "delays", pl.DataFrame({"carrier": ["UA"], "known_at": [noon], "mean_delay": [4.0], "flights": [12]})
        )
        rows = pl.DataFrame(
            {"origin": ["JFK"], "carrier": ["UA"], "hour": [13], "event_timestamp": [noon], "arr_delay": [3.0]}
        )
        store.create_training_dataset("q1", entity_df=rows, features="flight_delay", label="arr_delay")
        store.registry.record_model(
            Model(name="ridge", service="flight_delay@1", dataset="q1@1"), who="ada (unverified)"
        )
    return folder


@pytest.fixture
def whole(prepared: Path, tmp_path: Path) -> Iterator[FeatureStore]:
    """Return a copy of the prepared store, to be changed."""
    shutil.copytree(prepared, tmp_path / "whole")
    with FeatureStore(tmp_path / "whole") as opened:
        yield opened
