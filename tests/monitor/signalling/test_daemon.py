"""The daemon as a process: it serves signals while it leads, runs the command, and ends it when it ends itself."""

from __future__ import annotations

import signal as signals
import socket
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from featurestore import Entity, FeatureService, FeatureStore, FeatureView, Field, MonitorPolicy
from featurestore.client import SignalClient
from featurestore.types import Float64, Int64
from featurestore.v1 import signals_pb2 as pb
from monitor.alerts import outbox
from monitor.alerts.base import Kind
from monitor.history import History
from monitor.retraining.states import SignalState
from monitor.retraining.store import Cause, find_signal, move, record_cause, signal_events
from monitor.signalling.routing import NAME
from tests.forking import Forked

ID = "0123456789abcdef0123456789abcdef"
RETRAIN = """
import json, sys, time
print(json.dumps({"state": "RUNNING", "reason": json.load(sys.stdin)["data"]["id"]}), flush=True)
time.sleep(600)
"""


def test_it_serves_signals_and_runs_the_command_until_it_ends(tmp_path: Path) -> None:
    folder = tmp_path / "shop"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    user = Entity(name="user", dtypes=[Int64])
    view = FeatureView(name="spending", entities=[user], schema=[Field(name="total", dtype=Float64)])
    scoring = FeatureService(name="scoring", features=[view])
    with FeatureStore.init(folder, project="shop") as store:
        store.apply([scoring, MonitorPolicy(name="watch", service=scoring)])
    (folder / "retrain.py").write_text(RETRAIN)
    settings = folder / "featurestore.toml"
    command = f"[signals]\nport = {port}\ncommand = ['{sys.executable}', 'retrain.py']\n"
    settings.write_text(settings.read_text() + command)
    with FeatureStore(folder) as store, History(store.config.database_url(store.config.monitor.database)) as history:
        approve(history)
        daemon = Forked([sys.executable, "-m", "featurestore", "monitor", "start", "-C", str(folder)])
        try:
            with SignalClient(f"127.0.0.1:{port}") as client:
                watching = client.watch()
                assert next(watching).signal.state == pb.SIGNAL_STATE_APPROVED
                running = next(watching)
                assert (running.signal.state, running.who, running.reason) == (pb.SIGNAL_STATE_RUNNING, "command", ID)
                began = time.monotonic()
                daemon.send_signal(signals.SIGTERM)
                assert daemon.wait(60) == 0
                assert time.monotonic() - began < 50, "it does not wait for a command that takes long"
        finally:
            daemon.kill()
            daemon.wait()
        with history.read() as connection:
            last = signal_events(connection, signal=ID)[-1]
            (message,) = outbox.listed(connection)
    # It stands where it stood, and the next monitor runs the command again.
    assert last.state is SignalState.RUNNING
    assert last.reason.endswith("the monitor ended")
    assert (message.channel, str(message.state)) == (NAME, "pending")


def approve(history: History) -> None:
    """Make a signal that is sent to the command."""
    now = datetime.now(UTC)
    payload = {"id": ID, "project": "shop", "service": "scoring@1", "reason": "it drifts"}
    cause = Cause(
        id=ID,
        policy="watch",
        policy_version=1,
        service="scoring@1",
        cause="drift",
        subject="alert",
        baseline="",
        model="",
        incident="",
        payload=payload,
    )
    with history.write() as connection:
        record_cause(connection, cause, reason="new", now=now)
        moved = move(connection, find_signal(connection, ID), SignalState.APPROVED, reason="it drifts", now=now)
        outbox.enqueue(
            connection,
            instance=history.instance,
            channel=NAME,
            kind=Kind.RETRAINING,
            project="shop",
            service="scoring@1",
            incident=ID,
            sequence="1",
            severity="info",
            payload=moved.payload,
            now=now,
        )
