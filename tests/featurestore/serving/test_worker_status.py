"""A server says what it runs, for as long as it runs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from featurestore import Entity, FeatureService, FeatureStore, FeatureView, Field
from featurestore.serving.log import DEAD_AFTER_SECONDS
from featurestore.serving.worker_status import STATUS, StatusFile, read_statuses, remove_dead_statuses
from featurestore.types import Int64
from tests import forking

VIEW = FeatureView(name="counts", entities=[Entity(name="user", dtypes=[Int64])], schema=[Field(name="x", dtype=Int64)])


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    with FeatureStore.init(tmp_path / "repo") as store:
        store.apply([FeatureService(name="svc", features=[VIEW])])
    return tmp_path / "repo"


def test_a_server_says_what_it_serves_follows_the_registry_and_is_silent_when_it_ends(repo: Path) -> None:
    log = repo / "data/log"
    command = [sys.executable, "-m", "featurestore", "serve", "--port", "0", "-C", str(repo)]
    with forking.Forked(command, stdout=subprocess.PIPE, text=True) as server, FeatureStore(repo) as store:
        try:
            assert server.stdout is not None
            server.stdout.readline()
            (said,) = read_statuses(log)
            registered = store.registry.service("svc")
            assert said.services == {"svc@1": registered.content_hash}
            assert said.names == {"svc": "svc@1"}
            assert said.revision == store.registry.revision()
            assert f"pid {server.pid} on" in said.worker
            assert {"python", "polars", "pyarrow", "protobuf"} <= said.libraries.keys()
            assert abs(datetime.now(UTC) - said.current_at) < timedelta(seconds=60)
            store.apply([FeatureService(name="later", features=[VIEW])])
            deadline = time.monotonic() + 20
            while "later@1" not in read_statuses(log)[0].services:
                assert time.monotonic() < deadline
                time.sleep(0.05)
            assert read_statuses(log)[0].revision == store.registry.revision()
        finally:
            server.send_signal(signal.SIGTERM)
    assert read_statuses(log) == []
    assert list((log / STATUS).iterdir()) == []


def test_a_worker_that_is_behind_keeps_the_instant_at_which_it_was_not(tmp_path: Path) -> None:
    status = StatusFile(tmp_path)
    status.current(3, {})
    (first,) = read_statuses(tmp_path)
    time.sleep(0.01)
    status.write()  # as every few seconds, also while the registry cannot be read
    assert read_statuses(tmp_path) == [first]
    status.current(3)
    status.write()
    assert read_statuses(tmp_path)[0].current_at > first.current_at
    status.close()
    status.write()
    assert read_statuses(tmp_path) == []


def test_dead_and_broken_files_are_no_workers_and_dead_ones_are_swept(tmp_path: Path) -> None:
    StatusFile(tmp_path).current(1, {})
    alive = StatusFile(tmp_path)
    alive.current(2, {})
    dead = next(file for file in (tmp_path / STATUS).iterdir() if json.loads(file.read_text())["revision"] == 1)
    long_ago = time.time() - DEAD_AFTER_SECONDS - 1
    os.utime(dead, (long_ago, long_ago))
    for number, text in enumerate(["", "[]", "{}", '{"format": 1}', '{"format": 99}']):
        (tmp_path / STATUS / f"broken{number}.json").write_text(text)
    with capture_logs() as logs:
        assert [one.revision for one in read_statuses(tmp_path)] == [2]
    assert {one["event"] for one in logs} == {"status of a server cannot be understood"}
    remove_dead_statuses(tmp_path)
    assert not dead.exists()
    assert read_statuses(tmp_path / "absent") == []


def test_a_disk_that_refuses_is_told_of_once_and_ends_nothing(tmp_path: Path) -> None:
    (tmp_path / STATUS).write_text("in the way")
    status = StatusFile(tmp_path)
    with capture_logs() as logs:
        status.current(1, {})
        status.write()
        status.close()
    assert [one["event"] for one in logs][:1] == ["status of this server cannot be written"]
    assert sum(one["event"].endswith("written") for one in logs) == 1
