"""A store at night: a view that is loaded and pushed to, a service, and a policy that lets the monitor act."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from featurestore import Entity, FeatureService, FeatureStore, FeatureView, Field, MonitorPolicy
from featurestore.registry import Registered
from featurestore.settings.actions import ActionsConfig
from featurestore.settings.channels import ConsoleConfig
from featurestore.types import Float64, String
from monitor.alerts.outbox import Entry, listed
from monitor.history import History
from monitor.rollback import Actions, Opened

AIRPORT = Entity(name="airport", join_keys=["origin"], dtypes=[String])
WEATHER = FeatureView(
    name="weather",
    entities=[AIRPORT],
    schema=[Field(name="temp", dtype=Float64), Field(name="wind", dtype=Float64)],
)
SERVICE = FeatureService(name="flight_delay", features=[WEATHER])
POLICY = MonitorPolicy(
    name="flight_drift",
    service=SERVICE,
    window=timedelta(hours=1),
    routes=["ops"],
    actions=["restore_load", "stop_canary", "roll_back_alias"],
)
PORTS = ["EWR", "JFK", "LGA"]
ROWS = 50


@dataclass
class Night:
    """A store and the monitor's database.

    Attributes:
        store: with the view ``weather``, the service ``flight_delay`` and the policy ``flight_drift``.
        history: the monitor's database.
        now: when the bad load came, about.
    """

    store: FeatureStore
    history: History
    now: datetime

    @property
    def policy(self) -> Registered[MonitorPolicy]:
        return self.store.registry.policy("flight_drift")

    @property
    def actions(self) -> Actions:
        return Actions(self.store, self.history)

    def allow(self, enabled: bool = True, **settings: Any) -> None:
        self.store.config = self.store.config.model_copy(update={"actions": ActionsConfig(enabled=enabled)})
        if settings:
            self.store.apply([replace(POLICY, **settings)])

    def load(self, name: str, temp: float | None, minutes: int, **more: Any) -> None:
        """Load rows of every airport, and of others that make the load large enough to be judged."""
        at = self.now - timedelta(hours=5) + timedelta(minutes=minutes)
        origins = [*PORTS, *(f"P{number}" for number in range(ROWS))]
        rows = [
            {"origin": one, "temp": None if temp is None else temp + place / 100, "wind": 1.0, "event_timestamp": at}
            | more
            for place, one in enumerate(origins)
        ]
        self.store.ingest("weather", rows, load_id=name)
        self.store.materialize("weather")

    def push(self, origin: str, temp: float, minutes: int) -> None:
        at = self.now - timedelta(hours=5) + timedelta(minutes=minutes)
        self.store.push("weather", [{"origin": origin, "temp": temp, "wind": 1.0, "event_timestamp": at}])

    def served(self) -> list[float | None]:
        found = self.store.get_online_features("flight_delay", [{"origin": one} for one in PORTS])
        values: list[float | None] = found.to_dict()["temp"]
        return values

    def bad_night(self) -> None:
        """A good load, a bad one that has no temperature, and rows that were pushed since."""
        self.load("good", 10.0, 0)
        self.load("bad", None, 60)
        self.push("LGA", 99.0, 90)

    def opened(self, incident: int = 12, **other: Any) -> Opened:
        values: dict[str, Any] = {
            "incident": incident,
            "key": f"group-{incident}",
            "service": "flight_delay@1",
            "rule": "null spike",
            "features": ("temp",),
            "views": {"temp": "weather", "wind": "weather"},
            "onset": self.now - timedelta(hours=1),
            "since": self.now + timedelta(hours=1),
            "window": timedelta(hours=1),
        }
        return Opened(**(values | other))

    def messages(self) -> Sequence[Entry]:
        with self.history.read() as connection:
            return listed(connection)

    def told(self, incident: int = 12) -> list[tuple[str, str]]:
        with self.history.read() as connection:
            return [(one.what, one.text) for one in self.history.timeline(connection, incident)]


@pytest.fixture
def night(tmp_path: Path) -> Iterator[Night]:
    with FeatureStore.init(tmp_path / "shop") as store:
        push = store.config.push.model_copy(update={"flush_seconds": 1e6})
        store.config = store.config.model_copy(update={"channels": {"ops": ConsoleConfig()}, "push": push})
        store.apply([WEATHER, SERVICE, POLICY])
        url = store.config.database_url(store.config.monitor.database)
        with History(url) as history:
            made = Night(store, history, datetime.now(UTC))
            made.allow()
            yield made
