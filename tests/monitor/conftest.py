"""A small watched store with a serving log written by hand, and a receiver of webhooks on loopback."""

from __future__ import annotations

import functools
import json
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from featurestore.config import Config
from featurestore.definitions import (
    Entity,
    FeatureService,
    FeatureView,
    Field,
    Model,
    MonitorPolicy,
    OnDemandFeatureView,
)
from featurestore.profiles import fit_baseline
from featurestore.registry import Registered, Registry, open_registry
from featurestore.settings.channels import ConsoleConfig, WebhookConfig
from featurestore.settings.sections import MonitorConfig
from featurestore.types import Float64, Int64, String
from monitor.history import History
from tests import backends

SECRET = "whsec_c2VjcmV0LW9mLXRoZS10ZXN0cy1vbmx5LTEyMzQ="


@pytest.fixture(params=backends.params("monitor", "sqlite", "postgresql"))
def database(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database, of each kind in turn."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/monitor.db"
    url: str = request.getfixturevalue("postgresql")
    return url.replace("postgresql://", "postgresql+psycopg://")


@dataclass
class Receiver:
    """What came in, and what goes back.

    Attributes:
        url: where it listens.
        requests: (headers, body) of each request, in order.
        answers: status and headers of the next answers; 204 when there are none left.
        delay: seconds before each answer.
    """

    url: str = ""
    requests: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    answers: list[tuple[int, dict[str, str]]] = field(default_factory=list)
    delay: float = 0.0


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    state = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            state.requests.append(({key.lower(): value for key, value in self.headers.items()}, body))
            time.sleep(state.delay)
            status, headers = state.answers.pop(0) if state.answers else (204, {})
            self.send_response(status)
            for key, value in headers.items():
                self.send_header(key, value)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    state.url = f"http://127.0.0.1:{server.server_address[1]}/hook"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield state
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def wait_for() -> Callable[[Callable[[], bool]], None]:
    """Wait until something holds, or fail after a minute."""

    def wait(condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 60
        while not condition():
            assert time.monotonic() < deadline, "it never came to hold"
            time.sleep(0.02)

    return wait


@pytest.fixture
def secret() -> str:
    return SECRET


_INSTANT = pa.timestamp("us", tz="UTC")

AIRPORT = Entity(name="airport", join_keys=["origin"])
WEATHER = FeatureView(
    name="weather",
    entities=[AIRPORT],
    ttl=timedelta(hours=3),
    schema=[
        Field(name="temp", dtype=Float64),
        Field(name="wind", dtype=Float64),
        Field(name="pilot", dtype=String, tags={"pii": "true"}),
    ],
)
WARMTH = OnDemandFeatureView(
    name="warmth",
    inputs=[WEATHER],
    request=[Field(name="hour", dtype=Int64)],
    schema=[Field(name="felt", dtype=Float64)],
    expressions={"felt": "temp + hour"},
)
SERVICE = FeatureService(name="flight_delay", features=[WEATHER, WARMTH])

TRAINING_START = datetime(2013, 1, 1, tzinfo=UTC)
SERVING_START = datetime(2013, 7, 1, tzinfo=UTC)


@dataclass
class Scene:
    """A registry with one policy, a training baseline, and a log that a test fills.

    Attributes:
        config: a live one; ``scene.replayed()`` is the same as a rehearsal.
        registry: has the policy, the service and its views.
    """

    config: Config
    registry: Registry

    @property
    def policy(self) -> Registered[MonitorPolicy]:
        return self.registry.policy("flight_drift")

    def history(self) -> History:
        return History(self.config.database_url(self.config.monitor.database))

    def apply(self, **settings: Any) -> None:
        """Apply the policy with other settings; without the checks, which this scene has nothing for."""
        values = {
            "window": timedelta(days=1),
            "effect_threshold": 0.1,
            "average_run_length": 2160,
            "routes": ["ops"],
            "quality": False,
            "skew": False,
        } | settings
        policy = MonitorPolicy(name="flight_drift", service=SERVICE, **values)
        self.registry.apply([policy], who="test")

    def rows(self, day: datetime, count: int = 200, **settings: Any) -> pa.Table:
        """Return a day's rows as the server logs them; the same for the same day and settings.

        Args:
            day: the first instant.
            count: rows, spread over the day.
            settings: ``shift`` of temp in standard deviations; ``missing``: share of rows without their view;
                ``service``; ``span``: over which rows are spread.
        """
        return _rows(day, count, replay=bool(self.config.replay), **settings)

    def train(
        self,
        name: str = "delays",
        *,
        model: str = "",
        days: int = 40,
        version: str = "flight_delay@1",
        dated: bool = False,
    ) -> str:
        """Record a dataset with a baseline of so many days, and a model where one is named; return the dataset's id."""
        path = f"data/offline/datasets/{name}.parquet"
        self.config.path(path).parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(_baseline(days), self.config.path(path))
        manifest = {"service": version, "baseline": path}
        if dated:
            manifest["last_instant"] = (TRAINING_START + timedelta(days=days)).isoformat()
        record = self.registry.record_dataset(name, manifest, who="test")
        if model:
            self.registry.record_model(Model(name=model, service=version, dataset=record.id), who="test")
        return record.id

    def serve(self, rows: pa.Table, name: str = "") -> None:
        """Add a file to the log."""
        folder = self.log / "flight_delay"
        folder.mkdir(parents=True, exist_ok=True)
        pq.write_table(rows, folder / (name or f"w0-{len(list(folder.iterdir())):06}.parquet"))

    def serve_days(self, first: int, days: int, **settings: Any) -> None:
        """Add files for days since the start of serving, and move the worker's watermark to their end."""
        for day in range(first, first + days):
            self.serve(self.rows(SERVING_START + timedelta(days=day), **settings))
        self.mark(SERVING_START + timedelta(days=first + days))

    def mark(self, instant: datetime, *, worker: str = "w0", closed: bool = False, age: float = 0.0) -> None:
        """Write a worker's watermark, so many seconds ago."""
        folder = self.log / "watermarks"
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / f"{worker}.json"
        epoch = datetime(1970, 1, 1, tzinfo=UTC)
        file.write_text(json.dumps({"watermark": (instant - epoch) // timedelta(microseconds=1), "closed": closed}))
        os.utime(file, (time.time() - age, time.time() - age))

    @property
    def log(self) -> Path:
        return self.config.path(self.config.serving.log_path)

    def replayed(self, name: str = "july") -> Scene:
        return Scene(self.config.for_replay(name), self.registry)


@functools.cache  # many tests have the same days; a table never changes
def _rows(
    day: datetime,
    count: int,
    *,
    replay: bool,
    shift: float = 0.0,
    missing: float = 0.0,
    service: str = "flight_delay@1",
    span: timedelta = timedelta(days=1),
) -> pa.Table:
    random = np.random.default_rng(int(day.timestamp()))
    temp, wind = random.normal(shift, 1, count), random.exponential(5, count)
    hour = random.integers(0, 24, count)
    absent = random.random(count) < missing
    served = [day + span * (number / count) for number in range(count)]
    event = [None if gone else at - timedelta(minutes=30) for at, gone in zip(served, absent, strict=True)]
    return pa.table(
        {
            "request_id": [f"{day:%j}-{number}" for number in range(count)],
            "row": pa.array([0] * count, pa.int32()),
            "served_at": pa.array(served, _INSTANT),
            "service": [service] * count,
            "origin": random.choice(["EWR", "JFK", "LGA"], count).tolist(),
            "hour": pa.array(hour, pa.int64()),
            "temp": pa.array(temp, mask=absent),
            "wind": pa.array(wind, mask=absent),
            "pilot": pa.array(random.choice(["Ada Private", "Bob Secret"], count), pa.string(), mask=absent),
            "felt": pa.array(temp + hour, mask=absent),
            "weather__status": pa.array(np.where(absent, 2, 1), pa.int8()),
            "weather__event_timestamp": pa.array(event, _INSTANT),
            "replay": [replay] * count,
        }
    )


@functools.cache
def _baseline(days: int) -> pa.Table:
    """Return the baseline of so many days of training."""
    rows = pa.concat_tables([_rows(TRAINING_START + timedelta(days=day), 200, replay=False) for day in range(days)])
    fields = [one for fields in SERVICE.outputs.values() for one in fields]
    table = rows.select([one.name for one in fields]).append_column("event_timestamp", rows.column("served_at"))
    return fit_baseline(table, fields).to_arrow()


@pytest.fixture
def make_scene(tmp_path: Path) -> Iterator[Callable[..., Scene]]:
    """Make a scene in the test's folder."""
    opened: list[Registry] = []

    def make(
        *,
        url: str = "http://127.0.0.1:9/",
        rehearsals: bool = True,
        routes: Sequence[str] = ("ops",),
        database: str = "sqlite:///data/monitor.db",
        registry: str = "sqlite:///data/registry.db",
    ) -> Scene:
        hook = WebhookConfig.model_validate(
            {"kind": "webhook", "url": url, "secret": SECRET, "allow_private_addresses": True, "rehearsals": rehearsals}
        )
        config = Config(
            root=tmp_path,
            registry=registry,
            channels={"ops": hook, "here": ConsoleConfig()},
            monitor=MonitorConfig(poll_seconds=0.2, database=database),
        )
        (tmp_path / "data").mkdir(exist_ok=True)
        opened.append(open_registry(config.database_url(config.registry), config.project))
        scene = Scene(config, opened[-1])
        scene.apply(routes=list(routes))
        return scene

    yield make
    for registry in opened:
        registry.close()


@pytest.fixture
def scene(make_scene: Callable[..., Scene]) -> Scene:
    return make_scene()


@pytest.fixture
def either_scene(make_scene: Callable[..., Scene], database: str) -> Scene:
    """A scene whose monitor keeps its memory in SQLite, and one whose monitor keeps it in PostgreSQL."""
    return make_scene(database=database)
