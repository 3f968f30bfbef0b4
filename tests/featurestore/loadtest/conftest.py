"""A service whose views have keys of several types, and rows of it online."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from featurestore import Entity, FeatureService, FeatureStore, FeatureView, Field, OnDemandFeatureView
from featurestore.types import Date, Float64, Int64, String, Timestamp

AT = datetime(2024, 1, 1, tzinfo=UTC)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[FeatureStore]:
    user = Entity(name="user", join_keys=["user_id"], dtypes=[Int64])
    shop = Entity(name="shop", join_keys=["city", "opened"], dtypes=[String, Date])
    slot = Entity(name="slot", join_keys=["starts"], dtypes=[Timestamp])
    total = [Field(name="total", dtype=Float64)]
    spending = FeatureView(name="spending", entities=[user], schema=total)
    visits = FeatureView(name="visits", entities=[user, shop], schema=[Field(name="visits", dtype=Int64)])
    weather = FeatureView(name="weather", entities=[slot], schema=[Field(name="temp", dtype=Float64)])
    share = OnDemandFeatureView(
        name="share",
        inputs=[spending],
        request=[Field(name="basket", dtype=Float64), Field(name="hour", dtype=Int64, default=7)],
        schema=[Field(name="part", dtype=Float64)],
        expressions={"part": "basket / total + hour"},
    )
    with FeatureStore.init(tmp_path / "shop", project="shop") as store:
        store.apply(
            [
                FeatureService(name="scoring", features=[spending]),
                FeatureService(name="wide", features=[spending, visits, weather]),
                FeatureService(name="computed", features=[spending, share]),
            ]
        )
        store.ingest("spending", [{"user_id": one, "total": 1.0, "event_timestamp": AT} for one in range(100)])
        places = [("Rome", date(1999, 5, 1)), ("Oslo", date(2010, 2, 3))]
        store.ingest(
            "visits",
            [
                {"user_id": one, "city": city, "opened": opened, "visits": 1, "event_timestamp": AT}
                for one, (city, opened) in enumerate(places)
            ],
        )
        store.ingest("weather", [{"starts": AT, "temp": 1.0, "event_timestamp": AT}])
        for view in ("spending", "visits", "weather"):
            store.materialize(view)
        yield store
