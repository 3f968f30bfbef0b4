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
    Entity,
    FeatureService,
    FeatureStore,
    FeatureView,
    Field,
    MonitorPolicy,
)
from featurestore.profiles import fit_baseline
from featurestore.types import Float64, Int64
from featurestore.types import microseconds as micro
from monitor.history import History, Standing, Watch
from monitor.pipeline import run_once
from monitor.windows import Position

SERVICE, POLICY = "ranker", "watch"
HOUR = timedelta(hours=1)
_TRAINED = datetime(2026, 1, 1, tzinfo=UTC)
_SERVED = datetime(2026, 5, 1, tzinfo=UTC)
_ROWS = 300
#: The newest window is there for some slices as well: a copy each.
_SLICES = tuple(f"country={one}" for one in ("AT", "BE", "CH", "DE", "ES", "FR", "IT", "NL", "PL", "UK"))
_COPY = """
INSERT INTO windows
SELECT policy, policy_version, service, :slice, window_start - :shift, window_offset, window_end - :shift,
    stop_at - :shift, stop_offset, baseline, rows, late_rows, profile, verdict, decision, decided_at
FROM windows WHERE slice = '' AND window_start >= :since
"""
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
            self._train(store)
        for _ in range(size.judged):
            self.serve_hour()
        self.poll()
        first, last = micro(_SERVED), micro(_SERVED + (size.judged - 1) * HOUR)
        with self.opened() as (_, history):
            for number in range(1, size.copies + 1):
                with history.write() as connection:
                    shift = number * size.judged * (HOUR // timedelta(microseconds=1))
                    connection.execute(text(_COPY), {"shift": shift, "slice": "", "since": first})
            for one in _SLICES:
                with history.write() as connection:
                    connection.execute(text(_COPY), {"shift": 0, "slice": one, "since": last})

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
        for folder in (self._log / SERVICE, self._log / "watermarks"):
            folder.mkdir(parents=True, exist_ok=True)
        rows = self._rows(f"hour{self._hours:05}", start, HOUR, _ROWS, shift=1.0)
        pq.write_table(rows, self._log / SERVICE / f"w0-{self._hours:06}.parquet")
        (self._log / "watermarks" / "w0.json").write_text(
            json.dumps({"watermark": micro(start + HOUR), "closed": False})
        )

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

    def _train(self, store: FeatureStore) -> None:
        """Record a dataset, with the baseline of what it was trained on."""
        fields = [Field(name=one, dtype=Float64) for _, one in self.features]
        table = self._rows("trained", _TRAINED, timedelta(days=10), 3_000)
        columns = [one.name for one in fields]
        rows = table.select(columns).append_column("event_timestamp", table.column("served_at"))
        path = "data/trained.parquet"
        pq.write_table(fit_baseline(rows, fields).to_arrow(), self.folder / path)
        store.registry.record_dataset("trained", {"service": f"{SERVICE}@1", "baseline": path}, who="bench")

    def _rows(self, name: str, start: datetime, length: timedelta, rows: int, *, shift: float = 0.0) -> pa.Table:
        random = self._random
        instants = pa.array([start + length * (number / rows) for number in range(rows)], pa.timestamp("us", "UTC"))
        columns = {
            "request_id": [f"{name}-{number}" for number in range(rows)],
            "row": pa.array([0] * rows, pa.int32()),
            "served_at": instants,
            "service": [f"{SERVICE}@1"] * rows,
            "user_id": pa.array(random.integers(0, 1 << 40, rows)),
            "replay": [False] * rows,
        }
        for number, (_, one) in enumerate(self.features):
            columns[one] = pa.array(random.normal(shift if number < 3 else 0.0, 1, rows))
        for view in range(self.size.views):
            columns[f"view_{view:02}__status"] = pa.array([1] * rows, pa.int8())
            columns[f"view_{view:02}__event_timestamp"] = instants
        return pa.table(columns)


def _definitions(views: int) -> Iterator[FeatureView | FeatureService | MonitorPolicy]:
    user = Entity(name="user", join_keys=["user_id"], dtypes=[Int64])
    made = []
    for view in range(views):
        schema = [Field(name=f"f{view:02}_{one:02}", dtype=Float64) for one in range(50)]
        made.append(FeatureView(name=f"view_{view:02}", entities=[user], ttl=HOUR, schema=schema))
    service = FeatureService(name=SERVICE, features=made)
    yield from made
    yield service
    yield MonitorPolicy(
        name=POLICY,
        service=service,
        quality=False,
        skew=False,
        retrain=False,
        routes=["ops"],
    )
