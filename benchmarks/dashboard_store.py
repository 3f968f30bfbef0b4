"""The store of ``benchmarks dashboard``: a service of many features, watched hour by hour for a quarter.

Some hours are judged by the monitor itself; the others are copies of those in its database, at their own instants.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from sqlalchemy import text

from featurestore import (
    BaselineSource,
    Entity,
    FeatureService,
    FeatureStore,
    FeatureView,
    Field,
    MonitorPolicy,
)
from featurestore.types import Float64, Int64, String
from featurestore.types import microseconds as micro
from monitor.history import History, Standing, Watch
from monitor.pipeline import run_once
from monitor.windows import Position

SERVICE, POLICY, SLICED = "ranker", "watch", "country"
HOUR = timedelta(hours=1)
_TRAINED = datetime(2026, 1, 1, tzinfo=UTC)
_SERVED = datetime(2026, 5, 1, tzinfo=UTC)
_COUNTRIES = ("AT", "CH", "DE")
_ROWS = 300
_COPIED = (
    "policy, policy_version, service, slice, window_start - :shift, window_offset, window_end - :shift, "
    "stop_at - :shift, stop_offset, baseline, rows, late_rows, profile, verdict, decision, decided_at"
)
_SETTINGS = '\n[dashboard]\nport = 0\nmax_watchers = 500\n[channels.ops]\nkind = "console"\n'


@dataclass(frozen=True, kw_only=True)
class Size:
    """How large the store is.

    Attributes:
        views: views of 50 features each.
        judged: hours that the monitor judges itself.
        copies: how often those stand in its database as well, further back.
    """

    views: int
    judged: int
    copies: int

    @property
    def features(self) -> int:
        """How many features the service has."""
        return 50 * self.views

    @property
    def windows(self) -> int:
        """How many windows the monitor's database has."""
        return self.judged * (self.copies + 1)


class Watched:
    """The store, which more is served of when that is asked for.

    Args:
        folder: a new one.
        size: how large.
    """

    def __init__(self, folder: Path, size: Size) -> None:
        self.folder = folder
        self.size = size
        self._random = np.random.default_rng(11)
        self._hours = 0
        self._moves = 0
        FeatureStore.init(folder, project="bench").close()
        settings = folder / "featurestore.toml"
        settings.write_text(settings.read_text() + _SETTINGS)
        with self.opened() as (store, _):
            store.apply([*_definitions(size.views)])
            self._write("trained", _TRAINED, timedelta(days=7), 3_000)
        with self.opened() as (_, history), history.write() as connection:
            # What it was trained on is not judged as well.
            watch = Watch(policy=POLICY, policy_version=1, service=f"{SERVICE}@1")
            history.save_standing(connection, watch, Standing(baseline="", position=Position(_SERVED, 0)))
        for _ in range(size.judged):
            self.serve_hour()
        self.poll()
        with self.opened() as (_, history):
            for number in range(1, size.copies + 1):
                with history.write() as connection:
                    shift = micro(_SERVED + number * size.judged * HOUR) - micro(_SERVED)
                    said = (
                        f"INSERT INTO windows SELECT {_COPIED} FROM windows WHERE slice = '' AND window_start >= :first"
                    )
                    connection.execute(text(said), {"shift": shift, "first": micro(_SERVED)})

    @contextmanager
    def opened(self) -> Iterator[tuple[FeatureStore, History]]:
        """Open the store, and the monitor's database."""
        with (
            FeatureStore(self.folder) as store,
            History(store.config.database_url(store.config.monitor.database)) as history,
        ):
            yield store, history

    @property
    def features(self) -> list[tuple[str, str]]:
        """View and name of each feature."""
        return [(f"view_{view:02}", f"f{view:02}_{one:02}") for view in range(self.size.views) for one in range(50)]

    def serve_hour(self) -> None:
        """Let one more hour be served; some features have drifted."""
        start = _SERVED + self._hours * HOUR
        self._hours += 1
        self._write(f"hour{self._hours:05}", start, HOUR, _ROWS, shift=1.0)
        folder = self._log / "watermarks"
        folder.mkdir(exist_ok=True)
        (folder / "w0.json").write_text(json.dumps({"watermark": micro(start + HOUR), "closed": False}))

    def poll(self) -> int:
        """Let the monitor judge what was served, as its daemon does, and return how many windows that were."""
        with self.opened() as (store, history):
            report = run_once(store, history, store.registry.policy(POLICY), now=datetime.now(UTC))
        return sum(one.windows for one in report.services)

    def change(self, history: History) -> None:
        """Write what a page would show: another stream has come further."""
        self._moves += 1
        watch = Watch(policy="other", policy_version=1, service="other@1")
        with history.write() as connection:
            position = Position(_SERVED + timedelta(seconds=self._moves), 0)
            history.save_standing(connection, watch, Standing(baseline="", position=position))

    @property
    def _log(self) -> Path:
        return self.folder / "data" / "log"

    def _write(self, name: str, start: datetime, length: timedelta, rows: int, *, shift: float = 0.0) -> None:
        random = self._random
        instants = pa.array([start + length * (number / rows) for number in range(rows)], pa.timestamp("us", "UTC"))
        columns = {
            "request_id": [f"{name}-{number}" for number in range(rows)],
            "row": pa.array([0] * rows, pa.int32()),
            "served_at": instants,
            "service": [f"{SERVICE}@1"] * rows,
            "user_id": pa.array(random.integers(0, 1 << 40, rows)),
            SLICED: random.choice(_COUNTRIES, rows).tolist(),
            "replay": [False] * rows,
        }
        for number, (_, one) in enumerate(self.features):
            columns[one] = pa.array(random.normal(shift if number < 3 else 0.0, 1, rows))
        for view in range(self.size.views):
            columns[f"view_{view:02}__status"] = pa.array([1] * rows, pa.int8())
            columns[f"view_{view:02}__event_timestamp"] = instants
        folder = self._log / SERVICE
        folder.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.table(columns), folder / f"w0-{name}.parquet")


def _definitions(views: int) -> Iterator[FeatureView | FeatureService | MonitorPolicy]:
    user = Entity(name="user", join_keys=["user_id"], dtypes=[Int64])
    made = []
    for view in range(views):
        schema = [Field(name=f"f{view:02}_{one:02}", dtype=Float64) for one in range(50)]
        if not view:
            schema.append(Field(name=SLICED, dtype=String))
        made.append(FeatureView(name=f"view_{view:02}", entities=[user], ttl=HOUR, schema=schema))
    service = FeatureService(name=SERVICE, features=made)
    yield from made
    yield service
    yield MonitorPolicy(
        name=POLICY,
        service=service,
        baseline=BaselineSource(since=_TRAINED, until=_TRAINED + timedelta(days=7)),
        slices=[SLICED],
        quality=False,
        skew=False,
        retrain=False,
        routes=["ops"],
    )
