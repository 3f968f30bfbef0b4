"""The store that the documented pictures are taken of: flights of a spring, of which a thermometer goes wrong.

Fixed data by a fixed clock, so that the pages show the same whenever they are looked at.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from featurestore import (
    Entity,
    Evaluation,
    FeatureService,
    FeatureStore,
    FeatureView,
    Field,
    FileSource,
    Model,
    MonitorPolicy,
    OnDemandFeatureView,
    RetrainingPolicy,
)
from featurestore.registry.signing import PrivateKey, generate
from featurestore.types import Float64, Int64, String
from monitor.alerts.answering import acknowledge
from monitor.alerts.channels import open_channels
from monitor.alerts.dispatching import dispatch
from monitor.alerts.outbox import Courier
from monitor.history import History
from monitor.pipeline import run_once

#: When the pages are looked at.
NOW = datetime(2026, 3, 9, 9, 30, tzinfo=UTC)
_FIRST, _SERVED, _BROKEN = (datetime(2026, *day, tzinfo=UTC) for day in ((1, 1), (2, 16), (3, 4)))
_DAY, _HOUR = timedelta(days=1), timedelta(hours=1)
_AIRPORTS, _SKIES = ("EWR", "JFK", "LGA"), ("clear", "cloud", "rain", "snow")
_SETTINGS = """
project = "flights"
[monitor]
poll_seconds = 3600
[channels.ops]
kind = "file"
path = "data/messages.jsonl"
[dashboard]
port = 0
local_role = "approver"
[identity]
name = "ada"
key = "file:ada.key"
"""

AIRPORT = Entity(name="airport", join_keys=["origin"], dtypes=[String])
WEATHER = FeatureView(
    name="weather",
    entities=[AIRPORT],
    ttl=timedelta(hours=3),
    source=FileSource(path="data/weather.parquet", timestamp_field="time_hour"),
    description="What the stations of the airports measure, hour by hour.",
    owner="met@example.org",
    schema=[
        Field(name="temp", dtype=Float64, ge=-60, le=60, description="Two metres above the ground, in degrees."),
        Field(name="wind_speed", dtype=Float64, ge=0, description="Knots, ten minutes' mean."),
        Field(name="sky", dtype=String, description="What falls from it, or hangs there."),
    ],
)
CHILL = OnDemandFeatureView(
    name="chill",
    inputs=[WEATHER],
    request=[Field(name="hour", dtype=Int64)],
    schema=[Field(name="wind_chill", dtype=Float64)],
    expressions={"wind_chill": "temp - 0.7 * wind_speed + 0 * hour"},
)
SERVICE = FeatureService(name="flight_delay", features=[WEATHER, CHILL])
POLICY = MonitorPolicy(
    name="flight_drift",
    service=SERVICE,
    window=_DAY,
    slices=["sky"],
    routes=["ops"],
    quality=False,
    skew=False,
    retrain=RetrainingPolicy(approval=True),
)


class _Fixed(type(datetime)):  # type: ignore[misc]
    def __instancecheck__(cls, one: object) -> bool:
        return isinstance(one, datetime)


class _Clock(datetime, metaclass=_Fixed):
    @classmethod
    def now(cls, tz: Any = None) -> datetime:
        return NOW.astimezone(tz)


#: Whose clock stands still: that of the registry, of loads, and of the pages.
_CLOCKS = (
    "featurestore.registry.values",
    "featurestore.offline.intake.loading",
    "featurestore.offline.datasets.training",
    "featurestore.store.definitions",
    "monitor.dashboard.application",
    "monitor.dashboard.door",
    "monitor.dashboard.marker",
)


@contextmanager
def stopped_clock() -> Iterator[None]:
    """Let it be :data:`NOW` while the block runs, for whatever a page shows an instant of."""
    with pytest.MonkeyPatch.context() as patch:
        for name in _CLOCKS:
            patch.setattr(f"{name}.datetime", _Clock)
        yield


def make_flights(root: Path) -> None:
    """Make the store in a new folder: train, serve three weeks, and judge each day as it ends."""
    with FeatureStore.init(root, project="flights") as store:
        (root / "ada.key").write_text(generate())
        store.registry.add_identity("ada", PrivateKey((root / "ada.key").read_text(), "ada's").public, who="ada")
    (root / "featurestore.toml").write_text(_SETTINGS)
    (root / "data").mkdir(exist_ok=True)
    hours = int((NOW - _FIRST) / _HOUR)
    weather = _weather([_FIRST + _HOUR * number for number in range(hours) for _ in _AIRPORTS], seed=1)
    times = pa.array([_FIRST + _HOUR * number for number in range(hours) for _ in _AIRPORTS], _INSTANT)
    origins = pa.array([one for _ in range(hours) for one in _AIRPORTS])
    pq.write_table(pa.table({"origin": origins, "time_hour": times, **weather}), root / "data/weather.parquet")
    with FeatureStore(root) as store:
        store.apply([WEATHER, CHILL, SERVICE, POLICY])
        store.ingest("weather")
        store.materialize("weather")
        store.create_training_dataset("delays", entity_df=_flights(), features="flight_delay", label="arr_delay")
        importances = {"temp": 0.5, "wind_speed": 0.2, "sky": 0.2, "wind_chill": 0.1}
        model = Model(
            name="ridge",
            service="flight_delay@1",
            dataset="delays@1",
            metrics={"rmse": 11.8},
            feature_importances=importances,
            evaluation=Evaluation(task="regression"),
        )
        store.registry.record_model(model, who="ada")
        store.registry.promote("flight_delay@1", who="ada")
        with History(store.config.database_url(store.config.monitor.database)) as history:
            _watch(store, history)


def _watch(store: FeatureStore, history: History) -> None:
    """Serve and judge day by day; somebody takes the first incident."""
    day, channels = _SERVED, open_channels(store.config)
    while day + _DAY <= NOW:
        _serve(store.config.path(store.config.serving.log_path), day)
        at = day + _DAY + timedelta(minutes=5)
        run_once(store, history, store.registry.policy("flight_drift"), now=at)
        dispatch(history, store.config, now=at, wait=False)
        with Courier(history, channels, clock=lambda: at) as courier:  # noqa: B023 - it has ended when the day has
            courier.deliver_due()
        day += _DAY
    with history.read() as connection:
        number = min(one.number for one in history.open_incidents(connection))
    later = NOW - timedelta(hours=1)
    acknowledge(store, history, number, who="ada", reason="I ask the station at JFK", now=later)
    dispatch(history, store.config, now=later, wait=False)
    with Courier(history, channels, clock=lambda: NOW) as courier:
        courier.deliver_due()
    history.beat(host="monitor-1", pid=1, started_at=_SERVED, now=NOW)


_INSTANT = pa.timestamp("us", tz="UTC")


def _weather(instants: list[datetime], *, seed: int, broken: bool = False) -> dict[str, pa.Array]:
    """Return what the stations measure; a broken one says eight degrees too much, or nothing."""
    random, count = np.random.default_rng(seed), len(instants)
    temp = random.normal(6, 5, count) + 3 * np.sin([at.hour / 24 * 2 * np.pi for at in instants])
    missing = random.random(count) < (0.12 if broken else 0.01)
    return {
        "temp": pa.array(np.round(temp + (8 if broken else 0), 1), mask=missing),
        "wind_speed": pa.array(np.round(random.gamma(4, 3, count), 1)),
        "sky": pa.array(random.choice(_SKIES, count, p=(0.45, 0.35, 0.15, 0.05)).tolist()),
    }


def _flights() -> pa.Table:
    """Return the flights that a model is trained on."""
    random, count = np.random.default_rng(2), 4_000
    at = [_FIRST + _HOUR * 4 + (_SERVED - _FIRST - _HOUR * 4) * (number / count) for number in range(count)]
    return pa.table(
        {
            "origin": random.choice(_AIRPORTS, count).tolist(),
            "event_timestamp": pa.array(at, _INSTANT),
            "hour": pa.array([one.hour for one in at], pa.int64()),
            "arr_delay": np.round(random.exponential(12, count), 1),
        }
    )


def _serve(log: Path, day: datetime, rows: int = 400) -> None:
    """Write what a server logs on a day, and its watermark."""
    served = [day + _DAY * (number / rows) for number in range(rows)]
    at = pa.array(served, _INSTANT)
    values = _weather(served, seed=day.toordinal(), broken=day >= _BROKEN)
    temp = values["temp"].to_numpy(zero_copy_only=False)
    columns = {
        "request_id": [f"{day:%j}-{number}" for number in range(rows)],
        "row": pa.array([0] * rows, pa.int32()),
        "served_at": at,
        "service": ["flight_delay@1"] * rows,
        "origin": [_AIRPORTS[number % 3] for number in range(rows)],
        "hour": pa.array([one.hour for one in served], pa.int64()),
        **values,
        "wind_chill": pa.array(temp - 0.7 * values["wind_speed"].to_numpy(), mask=np.isnan(temp)),
        "weather__status": pa.array([1] * rows, pa.int8()),
        "weather__event_timestamp": at,
        "replay": [False] * rows,
    }
    folder = log / "flight_delay"
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), folder / f"w0-{day:%Y%m%d}.parquet")
    (log / "watermarks").mkdir(exist_ok=True)
    end = int((day + _DAY).timestamp() * 1e6)
    (log / "watermarks/w0.json").write_text(json.dumps({"watermark": end, "closed": False}))
