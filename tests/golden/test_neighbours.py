"""Servers of two neighbouring releases on one store: this one's, and one of the next that adds to what is stored.

The next release is this code, told that its schema has grown; the soak takes the code of an earlier commit.
"""

from __future__ import annotations

import json
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pyarrow.parquet as pq

from featurestore import FeatureClient, FeatureStore
from featurestore.cli.app import run
from featurestore.registry import migrating
from featurestore.upgrading import State, look
from monitor import schema as monitor_schema
from tests import forking
from tests.golden.opened import FORMATS, unpack

_NEWEST = json.loads(FORMATS.read_text())["golden"]
_NEXT = f"{int(migrating.REVISION) + 1:04}"
_AT = datetime(2026, 3, 2, tzinfo=UTC)
_NEXT_MONITOR = monitor_schema.VERSION + 1

#: What the next release does first: its expand step. It adds, with defaults, and says who may go on.
REGISTRY = f"""
ALTER TABLE versions ADD COLUMN tomorrow VARCHAR NOT NULL DEFAULT 'x';
ALTER TABLE loads ADD COLUMN tomorrow INTEGER NOT NULL DEFAULT 0;
CREATE TABLE inventions (name VARCHAR PRIMARY KEY);
UPDATE registry_revision SET version_num = '{_NEXT}', readable_from = '{migrating.READABLE_FROM}', release = '0.2.0';
"""
MONITOR = f"""
ALTER TABLE windows ADD COLUMN tomorrow VARCHAR NOT NULL DEFAULT 'x';
CREATE TABLE inventions (name VARCHAR PRIMARY KEY);
UPDATE meta SET value = '{_NEXT_MONITOR}' WHERE key = 'schema_version';
UPDATE meta SET value = '0.2.0' WHERE key = 'release';
"""

_THIS = "import sys; from featurestore.cli import main; sys.argv[0] = 'featurestore'; sys.exit(main())"
#: The next release says more of a load, and in the log.
_ITS = f"""
import json
import pyarrow as pa
from featurestore.offline.tables import table as tables
from featurestore.registry import migrating
from featurestore.serving import log

migrating.REVISION = {_NEXT!r}
said, log_table = tables.said, log.log_table
more = lambda text: json.dumps(json.loads(text) | {{"tomorrow": 1}})
tables.said = lambda load, change: {{key: more(text) for key, text in said(load, change).items()}}
def wider(*given, **named):
    rows = log_table(*given, **named)
    return rows.append_column("_tomorrow", pa.repeat("x", rows.num_rows))
log.log_table = wider
"""


@contextmanager
def server(repo: Path, program: str) -> Iterator[FeatureClient]:
    """Let a server of a release answer while the block runs; it ends in order."""
    command = [sys.executable, "-c", program, "serve", "--workers", "1", "--repo", str(repo)]
    with forking.Forked(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            address = process.stdout.readline().split(" at ")[1].split(",")[0]
            with FeatureClient(address) as client:
                yield client
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 0


def expand(file: Path, script: str) -> None:
    with closing(sqlite3.connect(file)) as database, database:
        database.executescript(script)


def test_servers_of_this_release_and_of_the_next_work_on_one_store(tmp_path: Path) -> None:
    expected = unpack(_NEWEST, tmp_path)
    before = {one.name for one in (tmp_path / "data/log/churn").glob("*.parquet")}
    with ExitStack() as running:
        this = running.enter_context(server(tmp_path, _THIS))
        expand(tmp_path / "data/registry.db", REGISTRY)
        expand(tmp_path / "data/monitor.db", MONITOR)
        following = running.enter_context(server(tmp_path, _ITS + _THIS))
        # The next one between, so that this one also reads and writes after it.
        for user, client in ((5, this), (6, following), (7, this)):
            rows = [{"user_id": 1, "amount": 5.0}]
            found = client.get_online_features(features="churn", entity_rows=rows).to_dict()
            assert {name: found[name][0] for name in expected["served"]} == expected["served"]
            client.push("clicks", [{"user_id": user, "count": user, "event_timestamp": _AT}])
            client.log_predictions("model", [{"prediction_id": f"of{user}", "number": 0.5}])
        for client in (this, following):  # each sees what all have pushed
            rows = [{"user_id": user, "amount": 5.0} for user in (5, 6, 7)]
            assert client.get_online_features(features="churn", entity_rows=rows).to_dict()["count"] == [5, 6, 7]

    files = [one for one in (tmp_path / "data/log/churn").glob("*.parquet") if one.name not in before]
    columns = {tuple(pq.read_schema(one).names) for one in files}
    golden = {tuple(pq.read_schema(tmp_path / "data/log/churn" / one).names) for one in before}
    assert golden | {(*next(iter(golden)), "_tomorrow")} == columns  # and this release logs what it has logged

    with FeatureStore(tmp_path) as store:  # of this release, which begins again meanwhile
        store.flush_pushes()
        loads = store.offline.loads(store.registry.feature_view("clicks").definition)
        assert sum(one.rows_written for one in loads) == 3 + expected["waiting"]["rows"] + 3
        assert store.predictions("model").num_rows == 20 + 3
        assert store.registry.verify_audit() == []
        assert store.reproduce_dataset("first").proved
    for arguments in (["monitor", "run-once"], ["monitor", "status"], ["upgrade", "--check"]):
        assert run([*arguments, "--repo", str(tmp_path)], debug=False) == 0
    newer = {one.store: one.found for one in look(tmp_path) if one.state is State.newer}
    assert newer == {"registry": _NEXT, "monitor": str(_NEXT_MONITOR)}
