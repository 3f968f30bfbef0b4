"""The whole way of a signal with the monitor's memory in PostgreSQL: the port, the command, and the closed loop."""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

from featurestore import Entity, FeatureService, FeatureStore, FeatureView, Field, MonitorPolicy
from featurestore.client import SignalClient
from featurestore.errors import FeatureStoreError
from featurestore.settings.signals import SignalsConfig
from featurestore.types import Float64, Int64
from featurestore.v1 import signals_pb2 as pb
from monitor.alerts.outbox import Courier
from monitor.history import History
from monitor.retraining.asking import ask
from monitor.signalling.closing import close_loops, result_of
from monitor.signalling.opening import own_channels
from monitor.signalling.server import SignalServer
from monitor.signalling.source import SignalSource
from monitor.signalling.verdict import Verdict

NOW = datetime(2026, 3, 1, tzinfo=UTC)
DAY = timedelta(days=1)
RETRAIN = """
import json, sys
print(json.dumps({"state": "RUNNING", "reason": json.load(sys.stdin)["data"]["id"]}), flush=True)
"""


def test_a_signal_is_told_answered_and_compared(tmp_path: Path, postgresql: str) -> None:
    user = Entity(name="user", dtypes=[Int64])
    view = FeatureView(name="spending", entities=[user], schema=[Field(name="total", dtype=Float64)])
    scoring = FeatureService(name="scoring", features=[view])
    (tmp_path / "retrain.py").write_text(RETRAIN)
    url = postgresql.replace("postgresql://", "postgresql+psycopg://")
    with FeatureStore.init(tmp_path / "shop", project="shop") as store, History(url) as history:
        store.apply([scoring, MonitorPolicy(name="watch", service=scoring)])
        store.registry.record_dataset("buyers", {"service": "scoring@1", "label": "bought"}, who="tests")
        record(store)
        section = SignalsConfig(command=(sys.executable, str(tmp_path / "retrain.py")))
        store.config = store.config.model_copy(update={"signals": section})
        signal = ask(store, history, "scoring", reason="fares", who="ada", now=NOW)
        with Courier(history, own_channels(store.config, history, store.registry), clock=lambda: NOW) as courier:
            assert courier.deliver_due().delivered == 1
        source = SignalSource(history, store.registry, clock=lambda: NOW + DAY)
        server = SignalServer(store.config, source, store.registry, port=0)
        try:
            with SignalClient(server.address) as client:
                watching = client.watch()
                assert next(watching).signal.state == pb.SIGNAL_STATE_APPROVED
                running = next(watching)
                assert (running.signal.state, running.reason) == (pb.SIGNAL_STATE_RUNNING, signal.id)
                assert next(watching).reason.startswith("the command ended with exit code 0")
                record(store)
                done = client.acknowledge(signal.id, "DONE", dataset="buyers@1", model="churn@2")
                assert next(watching).cursor == done.cursor
                for model, right in (("churn@1", 6), ("churn@2", 9)):
                    serve(store, model, right=right)
                faults: list[FeatureStoreError] = []
                policy = store.registry.policy("watch")
                settled = [close_loops(store, history, policy, now=NOW + day * DAY, faults=faults) for day in (2, 7)]
                assert (settled, faults) == ([0, 1], [])
                with history.read() as connection:
                    result = result_of(connection, signal.id)
                assert result is not None
                assert result.verdict is Verdict.HELPED
                assert next(watching).reason.startswith("churn@2 is served since 2026-03-02 00:00 UTC")
                assert next(watching).reason.startswith("It helped: churn@2 is better than churn@1. accuracy: ")
        finally:
            server.close()


def record(store: FeatureStore) -> None:
    """Record the next version of the model."""
    store.log_model("churn", service="scoring", dataset="buyers", environment={}, task="binary")


def serve(store: FeatureStore, model: str, *, right: int) -> None:
    """Log the predictions of five days, of which so many in ten are right, and their outcomes."""
    ids = [f"{model}-{number}" for number in range(500)]
    at = [NOW + DAY + number * DAY / 100 for number in range(500)]
    rows = list(zip(ids, at, range(500), strict=True))
    store.log_predictions(model, [{"prediction_id": one, "number": 0.9, "predicted_at": when} for one, when, _ in rows])
    store.log_outcomes(
        model,
        [
            {"prediction_id": one, "number": float(number % 10 < right), "observed_at": when}
            for one, when, number in rows
        ],
    )
