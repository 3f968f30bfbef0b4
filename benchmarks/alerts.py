"""What does a storm cost, when 10,000 features go wrong in one run: who is told how often, how soon, in how many bytes?

Of the storm of one model the decision is timed too: from the profile of a window to the message in the outbox.

The floors: the same findings as JSON in an SQLite table, in as many transactions; 5 s; what receivers take; and the
memory after the first of several storms.
"""

from __future__ import annotations

import json
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import numpy as np
import psutil
import pyarrow as pa
from sqlalchemy import select

from benchmarks.harness import Row, in_turn
from featurestore.config import Config
from featurestore.definitions import Field
from featurestore.profiles import Bins, Profile, fit_baseline, profile
from featurestore.settings.channels import ConsoleConfig
from featurestore.types import Float64
from monitor import schema
from monitor.alerts import message
from monitor.alerts.base import OF_INCIDENTS
from monitor.alerts.dispatching import dispatch
from monitor.alerts.fitting import LARGEST
from monitor.alerts.origins import Origin
from monitor.alerts.states import Observation
from monitor.decisions import Decision, FeatureFinding, decide
from monitor.detector import Evidence, fit_limits
from monitor.history import History, Watch
from monitor.pipeline.committing import plain
from monitor.pipeline.telling import Drifted, Reach, Teller

FEATURES = 10_000
SERVICES = 100
#: What a storm may take, in seconds.
LIMIT = 5.0

_NOW = datetime(2026, 5, 1, tzinfo=UTC)
_DAY = timedelta(days=1)
#: Of no rows nothing is drawn.
_NOTHING = Profile.empty(Bins(features=()))


def run(*, quick: bool) -> list[Row]:
    """Break one source of many services; let all features of one model drift; and do it again and again."""
    features, pairs = (1_000, 1) if quick else (FEATURES, 3)
    names = [f"feature_{number:05}" for number in range(features)]
    with tempfile.TemporaryDirectory() as folder:
        place = _Place(Path(folder))
        shares = [names[number::SERVICES] for number in range(SERVICES)]
        decisions = [_decision(share) for share in shares]

        first, last = _memory(place, decisions, storms=3 if quick else 10)

        def broken() -> object:
            with place.history() as history:
                for number, decision in enumerate(decisions):
                    _tell(history, place.config, f"service_{number}@1", decision)
                return dispatch(history, place.config, now=_NOW, wait=False)

        def written() -> object:
            return place.write(decisions)

        told = in_turn(broken, written, pairs=pairs)
        one_cause = place.messages()
        window = _model_drifts(place, names)
        one_model = place.messages()
    what = f"{features:,} features"
    bytes_ = max(len(json.dumps(one)) for one in (*one_cause, *one_model))
    return [
        Row(work=f"{what} of one source, {SERVICES} services; JSON in SQLite", ours=told[0], floor=told[1], unit="s"),
        Row(work="the same; the 5 s that it may take", ours=told[0], floor=LIMIT, unit="s", goal=1.0),
        Row(work=f"{what} of one model, decided and told; the 5 s", ours=window, floor=LIMIT, unit="s", goal=1.0),
        Row(
            work="messages of either; one cause is one page", ours=_most(one_cause, one_model), floor=1, unit="", goal=1
        ),
        Row(work="the largest payload; what receivers take", ours=bytes_, floor=LARGEST, unit="bytes", goal=1.0),
        Row(work="memory after all storms; after the first", ours=last, floor=first, unit="MB", goal=1.1),
    ]


class _Place:
    """A folder for databases, each used once."""

    def __init__(self, folder: Path) -> None:
        self.config = Config(root=folder, channels={"ops": ConsoleConfig()})
        self._folder = folder
        self._made = 0

    @contextmanager
    def history(self) -> Iterator[History]:
        """Open a new database."""
        self._made += 1
        with History(f"sqlite:///{self._newest}") as history:
            yield history

    def messages(self) -> list[dict[str, Any]]:
        """Return the messages of incidents that the newest database holds."""
        with History(f"sqlite:///{self._newest}") as history, history.read() as connection:
            rows = connection.execute(select(schema.outbox.c.kind, schema.outbox.c.payload)).all()
        return [json.loads(row.payload) for row in rows if row.kind in OF_INCIDENTS]

    def write(self, decisions: list[Decision]) -> object:
        """Keep findings as JSON, in a transaction each."""
        self._made += 1
        connection = sqlite3.connect(self._newest)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("CREATE TABLE findings (service, finding)")
        for number, one in enumerate(decisions):
            with connection:
                connection.execute("INSERT INTO findings VALUES (?, ?)", (number, json.dumps(plain(asdict(one)))))
        connection.close()
        return None

    @property
    def _newest(self) -> Path:
        return self._folder / f"{self._made}.db"


def _decision(features: list[str]) -> Decision:
    finding = {
        "statistic": "null_rate",
        "effect": 0.9,
        "effect_low": 0.8,
        "effect_high": 1.0,
        "threshold": 0.1,
        "baseline_null_rate": 0.0,
        "current_null_rate": 0.9,
        "baseline_mean": 0.0,
        "current_mean": 0.1,
        "baseline_rows": 100_000,
        "current_rows": 1_000,
        "log_evidence": 9.0,
        "moved": ("null: 0.0% -> 90.0%",),
        "verdict": "severe",
        "kind": "null spike",
        "kinds": ("null spike",),
    }
    findings = tuple(FeatureFinding(feature=one, **cast("Any", finding)) for one in features)
    evidence = Evidence(log_value=9.0, log_limit=7.7, windows=3, alarm=True, onset=_NOW, features={})
    return Decision(verdict="severe", evidence=evidence, findings=findings, onset=_NOW, kind="null spike")


def _tell(history: History, config: Config, service: str, decision: Decision) -> None:
    found = Drifted(rule="null spike", decision=decision, reference=_NOTHING, rows=_NOTHING, importances=False)
    _take(history, config, service, found)


def _take(history: History, config: Config, service: str, found: Drifted, model: str = "") -> None:
    teller = Teller(
        history=history,
        watch=Watch(policy="watch", policy_version=1, service=service),
        context=_context(config, service, list(found.features), model),
        reach=Reach(routes=("ops",)),
        hold_for=0,
        keep_firing_for=3,
        retrain=False,
    )
    seen = Observation(alarm=True, effect=True, onset=_NOW, span=1)
    with history.write() as connection:
        teller.take(connection, found.rule, seen, found, alerts=teller.alerts(connection), at=_NOW, now=_NOW)


def _context(config: Config, service: str, names: list[str], model: str = "") -> message.Context:
    origin = Origin(views=("wide",), sources=("warehouse",))
    return message.Context(
        project=config.project,
        replay="",
        service=service,
        baseline="training@1",
        model=model,
        views=dict.fromkeys(names, "wide"),
        origins=dict.fromkeys(names, origin),
    )


def _model_drifts(place: _Place, names: list[str]) -> float:
    """Return the seconds from the profile of a window to the message that all features of a model have drifted."""
    random = np.random.default_rng(8)
    at = [_NOW - timedelta(hours=number) for number in range(200)]
    trained = pa.table({"event_timestamp": at} | {one: random.normal(0, 1, len(at)) for one in names})
    baseline = fit_baseline(trained, [Field(name=one, dtype=Float64) for one in names])
    rows = profile(pa.table({one: random.normal(3, 1, 200) for one in names}), baseline.bins)
    limits = fit_limits(baseline, smallest_change=0.02)
    evidence = Evidence(
        log_value=9.0, log_limit=7.7, windows=3, alarm=True, onset=_NOW, features=dict.fromkeys(names, 9.0)
    )
    with place.history() as history:
        began = time.perf_counter()
        decision = decide(baseline, rows, evidence, limits, effect_threshold=0.1, rows_per_block=200.0)
        json.dumps(plain(decision))  # as the ledger of windows keeps it
        found = Drifted(rule="drift", decision=decision, reference=baseline.whole, rows=rows, importances=False)
        _take(history, place.config, "scoring@1", found, model="ranker@1")
        dispatch(history, place.config, now=_NOW, wait=False)
        return time.perf_counter() - began


def _memory(place: _Place, decisions: list[Decision], *, storms: int) -> tuple[float, float]:
    """Return the process's memory after the first storm, and after all, in megabytes."""
    found = []
    for _ in range(storms):
        with place.history() as history:
            for number, decision in enumerate(decisions):
                _tell(history, place.config, f"service_{number}@1", decision)
            dispatch(history, place.config, now=_NOW, wait=False)
        found.append(psutil.Process().memory_info().rss / 2**20)
    return found[0], found[-1]


def _most(*told: list[dict[str, Any]]) -> float:
    return float(max(len(one) for one in told))
