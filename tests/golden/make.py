"""Makes the golden store of a release: ``python tests/golden/make.py tests/golden/NAME``, run with that release's code.

It goes the whole way once, as users do: definitions, loads with a row that is quarantined, a training dataset, rows
online, a server that answers and logs, predictions and outcomes, a monitor that judges, messages kept aside, and rows
that were pushed and wait in the log. What it holds is the same each time; ids, instants and signatures are not, as no
release lets them be chosen. ``expected.json`` beside it says what a later release must find there.

For an older release: ``git worktree add FOLDER COMMIT``, and ``PYTHONPATH=FOLDER python tests/golden/make.py ...``.
What a release did not have yet is left out.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

SETTINGS = """
project = "golden"

[serving]
port = 0

[push]
flush_seconds = 3600.0

[channels.console]
kind = "console"
"""

DEFINITIONS = """
from datetime import timedelta

from featurestore import Entity, FeatureService, FeatureView, Field, FileSource, MonitorPolicy, OnDemandFeatureView
from featurestore import PushSource
from featurestore.types import Float64, Int64, String

user = Entity(name="user", join_keys=["user_id"], dtypes=[Int64])
profile = FeatureView(
    name="profile",
    entities=[user],
    source=FileSource(path="profiles.parquet", timestamp_field="since"),
    schema=[
        Field(name="age", dtype=Int64, ge=0),
        Field(name="income", dtype=Float64),
        Field(name="city", dtype=String, tags={"pii": "true"}),
    ],
)
clicks = FeatureView(
    name="clicks",
    entities=[user],
    source=PushSource(name="clicks", timestamp_field="event_timestamp", created_timestamp_column=None),
    schema=[Field(name="count", dtype=Int64)],
)
ratio = OnDemandFeatureView(
    name="ratio",
    inputs=[profile],
    request=[Field(name="amount", dtype=Float64)],
    schema=[Field(name="share", dtype=Float64)],
    expressions={"share": "amount / income"},
)
churn = FeatureService(name="churn", features=[profile, clicks, ratio])
watch = MonitorPolicy(name="watch", service=churn, window=timedelta(seconds=1), routes=["console"])
"""

USERS = 60
_START = datetime(2026, 1, 1, tzinfo=UTC)
_COMMAND = "import sys; from featurestore.cli import main; sys.argv[0] = 'featurestore'; sys.exit(main())"
#: Pushed last, by a process that ends without closing its store: so they wait in the log.
_WAITING = """
import os, sys
from datetime import UTC, datetime
import pyarrow as pa
from featurestore import FeatureStore
store = FeatureStore(".")
at = pa.array([datetime(2026, 3, 1, tzinfo=UTC)] * 2, pa.timestamp("us", "UTC"))
store.push("clicks", pa.table({"user_id": [3, 4], "count": [33, 44], "event_timestamp": at}))
sys.stdout.flush()
os._exit(0)
"""


def command(*arguments: str, cwd: Path) -> str:
    """Run a command as a user does."""
    ran = subprocess.run([sys.executable, "-c", _COMMAND, *arguments], cwd=cwd, capture_output=True, text=True)
    assert ran.returncode == 0, f"{arguments}: {ran.stdout}{ran.stderr}"
    return ran.stdout


def make(repo: Path) -> dict[str, Any]:
    """Make the store in a folder, and return what is expected of it."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from featurestore import FeatureStore

    (repo / "featurestore.toml").write_text(SETTINGS)
    (repo / "definitions.py").write_text(DEFINITIONS)
    instants = pa.array([_START + timedelta(days=one % 30) for one in range(USERS)], pa.timestamp("us", "UTC"))
    profiles = pa.table(
        {
            "user_id": range(USERS),
            "age": [one % 50 + 18 for one in range(USERS - 1)] + [-1],
            "income": [1000.0 + 10 * one for one in range(USERS)],
            "city": [f"town{one % 7}" for one in range(USERS)],
            "since": instants,
        }
    )
    pq.write_table(profiles, repo / "profiles.parquet")
    command("apply", cwd=repo)
    command("ingest", "profile", cwd=repo)
    with FeatureStore(repo) as store:
        at = pa.array([datetime(2026, 2, 1, tzinfo=UTC)] * 3, pa.timestamp("us", "UTC"))
        store.push("clicks", pa.table({"user_id": [0, 1, 2], "count": [10, 11, 12], "event_timestamp": at}))
        store.flush_pushes()
        later = [_START + timedelta(days=40 + one) for one in range(USERS)]
        entity_rows = pa.table(
            {
                "user_id": range(USERS),
                "event_timestamp": pa.array(later, pa.timestamp("us", "UTC")),
                "amount": [float(one) for one in range(USERS)],
                "left": [float(one % 2) for one in range(USERS)],
            }
        )
        dataset = store.create_training_dataset("first", entity_df=entity_rows, features="churn", label="left")
        content = dataset.manifest["content_hash"]
        keys = sorted(dataset.manifest)
        store.log_model("model", service="churn", dataset="first", metrics={"auc": 0.5})
    command("materialize", cwd=repo)
    served = serve(repo)
    keep_aside(repo)
    time.sleep(1.2)  # the window in which rows were served is over
    command("monitor", "run-once", cwd=repo)
    subprocess.run([sys.executable, "-c", _WAITING], cwd=repo, check=True)
    with FeatureStore(repo) as store:
        audit = len(store.registry.audit())
        formats = found_formats(repo)
    return {
        "content_hash": content,
        "manifest": keys,
        "audit_entries": audit,
        "served": served,
        "waiting": {"rows": 2, "user_id": 3, "count": 33},
        "quarantined": 1,
        "formats": formats,
    }


def serve(repo: Path) -> dict[str, Any]:
    """Let a server answer, and log what it served and what it was told; return an answer."""
    from featurestore import FeatureClient

    server = subprocess.Popen(
        [sys.executable, "-c", _COMMAND, "serve", "--workers", "1"], cwd=repo, stdout=subprocess.PIPE, text=True
    )
    try:
        assert server.stdout is not None
        line = server.stdout.readline()
        address = line.split(" at ")[1].split(",")[0]
        with FeatureClient(address) as client:
            rows = [{"user_id": one, "amount": 5.0} for one in range(20)]
            for _ in range(3):
                found = client.get_online_features(features="churn", entity_rows=rows)
            answer = {name: values[1] for name, values in found.to_dict().items()}
            client.log_predictions("model", [{"prediction_id": f"p{one}", "number": 0.5} for one in range(20)])
            client.log_outcomes("model", [{"prediction_id": f"p{one}", "number": one % 2.0} for one in range(20)])
    finally:
        server.send_signal(signal.SIGTERM)
        server.communicate(timeout=60)
    return answer


def keep_aside(repo: Path) -> None:
    """Put a message into the quarantine of streams, in releases that have one."""
    try:
        messages = importlib.import_module("featurestore.streaming.messages")
        quarantine = importlib.import_module("featurestore.streaming.quarantine")
    except ModuleNotFoundError:
        return
    message = messages.Message(topic="t", partition=0, offset=7, timestamp=0, key=None, value=b"{no JSON")
    poisoned = messages.Poisoned(message=message, reason="it is no JSON")
    quarantine.MessageQuarantine(repo / "data/streaming/quarantine").add("clicks", "clicks", [poisoned])


def found_formats(repo: Path) -> dict[str, str]:
    """Return the formats that the databases say."""
    import sqlite3

    with sqlite3.connect(repo / "data/registry.db") as registry, sqlite3.connect(repo / "data/monitor.db") as monitor:
        (revision,) = registry.execute("SELECT version_num FROM registry_revision").fetchone()
        (version,) = monitor.execute("SELECT value FROM meta WHERE key = 'schema_version'").fetchone()
    registry.close()
    monitor.close()
    return {"registry": revision, "monitor": version}


def pack(repo: Path, target: Path) -> None:
    """Put a store into a file, without what any process makes for itself."""

    def kept(info: tarfile.TarInfo) -> tarfile.TarInfo | None:
        info.uid = info.gid = 0
        info.uname = info.gname = ""
        skipped = (".lock", "-shm", "lock.mdb", ".duckdb", ".pyc", "__pycache__", ".spill")
        return None if info.name.endswith(skipped) else info

    with tarfile.open(target, "w:xz", preset=9) as archive:
        archive.add(repo, arcname=".", filter=kept)


if __name__ == "__main__":
    folder = Path(sys.argv[1]).absolute()
    folder.mkdir(parents=True, exist_ok=True)
    os.environ.pop("FEATURESTORE_IDENTITY", None)
    with tempfile.TemporaryDirectory() as scratch:
        expected = make(Path(scratch))
        pack(Path(scratch), folder / "store.tar.xz")
    (folder / "expected.json").write_text(json.dumps(expected, indent=1, sort_keys=True, default=str) + "\n")
    sys.stdout.write(f"{folder}: {(folder / 'store.tar.xz').stat().st_size:,} bytes\n")
