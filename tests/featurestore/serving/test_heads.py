"""A server keeps signed heads of the audit log, at its start and when the registry changes, never for a request."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from featurestore import Entity, FeatureService, FeatureStore, FeatureView, Field
from featurestore.client import FeatureClient
from featurestore.registry import Head
from featurestore.serving.heads import HeadLog, logged_heads
from featurestore.serving.runtime import Runtime
from featurestore.types import Int64
from tests import forking

VIEW = FeatureView(name="counts", entities=[Entity(name="user", dtypes=[Int64])], schema=[Field(name="x", dtype=Int64)])


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    with FeatureStore.init(tmp_path / "repo") as store:
        store.apply([FeatureService(name="svc", features=[VIEW])])
    return tmp_path / "repo"


def lines(repo: Path) -> list[Head]:
    files = list((repo / "data/log/heads").glob("*.jsonl"))
    return [Head.from_json(json.loads(line), "log") for file in files for line in file.read_text().splitlines()]


def test_a_server_adds_a_head_when_it_starts_and_when_the_registry_changes(repo: Path) -> None:
    command = [sys.executable, "-m", "featurestore", "serve", "--port", "0", "-C", str(repo)]
    with forking.Forked(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            address = server.stdout.readline().partition(" at ")[2].partition(",")[0]
            assert [head.sequence for head in lines(repo)] == [3]
            with FeatureClient(address) as client, FeatureStore(repo) as store:
                for _ in range(20):
                    client.get_online_features("svc", {"user": [1]})
                store.apply([FeatureService(name="later", features=[VIEW])])
                deadline = time.monotonic() + 20
                while len(lines(repo)) < 2:
                    assert time.monotonic() < deadline
                    time.sleep(0.05)
        finally:
            server.send_signal(signal.SIGTERM)
        assert server.wait(30) == 0
    assert [head.sequence for head in lines(repo)] == [3, 4]
    assert all(head.is_authentic for head in lines(repo))
    with FeatureStore(repo) as store:
        report = store.verify_audit()
    assert (report.is_intact, report.heads, report.vouched) == (True, 2, 4)


def test_a_head_that_cannot_be_kept_is_told_of_and_ends_nothing(repo: Path, tmp_path: Path) -> None:
    with FeatureStore(repo) as store:
        config = store.config
    (tmp_path / "file").write_text("")
    runtime = Runtime(config)
    with capture_logs() as said:
        HeadLog(tmp_path / "file", runtime).add()
        (repo / "data/keys/audit.pem").write_text("no key")
        HeadLog(tmp_path / "log", runtime).add()
    runtime.close()
    assert [one["event"] for one in said] == ["head of the audit log cannot be kept"] * 2
    assert "private key" in said[1]["error"]
    assert logged_heads(tmp_path / "log") == ([], [])
