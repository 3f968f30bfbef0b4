"""A server with workers as Prometheus, a log shipper and a collector of traces see it."""

from __future__ import annotations

import itertools
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families

from featurestore import Entity, FeatureService, FeatureStore, FeatureView, Field
from featurestore.client import FeatureClient
from featurestore.errors import ObjectNotFoundError
from featurestore.types import Int64, String
from tests import forking

VIEW = FeatureView(
    name="counts",
    entities=[Entity(name="user", dtypes=[String])],
    schema=[Field(name="x", dtype=Int64), Field(name="secret", dtype=String, tags={"pii": "true"})],
    ttl=timedelta(days=1),
)
ANSWERED = "featurestore_request_duration_seconds_count"

Page = dict[tuple[str, ...], float]


def free_port() -> int:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        port: int = bound.getsockname()[1]
        return port


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    now = datetime.now(UTC)
    with FeatureStore.init(tmp_path / "repo", project="shop") as store:
        store.apply([FeatureService(name="svc", features=[VIEW])])
        store.ingest(
            "counts",
            [
                {"user": "ann-key", "x": 1, "secret": "ann-value", "event_timestamp": now - timedelta(hours=2)},
                {"user": "old-key", "x": 2, "secret": "old-value", "event_timestamp": now - timedelta(hours=23)},
            ],
        )
        store.materialize("counts")
    return tmp_path / "repo"


class Server:
    """A server process.

    Attributes:
        process: the parent of the workers.
        address: where lookups are answered.
        page_url: where metrics are shown.
    """

    def __init__(self, repo: Path, settings: str, workers: int, environment: dict[str, str]) -> None:
        port = free_port()
        file = repo / "featurestore.toml"
        text = re.sub(
            r"\[serving\]\n", f"[serving]\nmetrics_port = {port}\nworkers = {workers}\n{settings}", file.read_text()
        )
        file.write_text(text)
        self.process = forking.Forked(
            [sys.executable, "-m", "featurestore", "serve", "--port", "0", "-C", str(repo)],
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | environment,
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        found = re.search(r" at (127\.0\.0\.1:\d+),.* Metrics at (http://127\.0\.0\.1:\d+/metrics)\.$", line)
        assert found, line
        self.address, self.page_url = found.groups()

    def text(self) -> str:
        with urllib.request.urlopen(self.page_url, timeout=10) as answer:
            text: str = answer.read().decode()
            return text

    def page(self) -> Page:
        """Return the samples by name and values of labels, in the order of the labels' names."""
        return {
            (one.name, *(value for _, value in sorted(one.labels.items()))): one.value
            for family in text_string_to_metric_families(self.text())
            for one in family.samples
        }

    def page_when(self, holds: Callable[[Page], bool]) -> Page:
        deadline = time.monotonic() + 30
        while not holds(page := self.page()):
            assert time.monotonic() < deadline, page
            time.sleep(0.1)
        return page

    def workers(self) -> list[psutil.Process]:
        """Return the processes that listen at the port."""
        port = int(self.address.rpartition(":")[2])
        found = []
        for child in psutil.Process(self.process.pid).children():
            with suppress(psutil.Error):
                if any(one.laddr.port == port for one in child.net_connections() if one.status == "LISTEN"):
                    found.append(child)
        return found

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30)


@pytest.fixture
def start(repo: Path) -> Iterator[Callable[..., Server]]:
    servers: list[Server] = []

    def begin(settings: str = "", *, workers: int = 2, **environment: str) -> Server:
        servers.append(Server(repo, settings, workers, environment))
        return servers[-1]

    yield begin
    for server in servers:
        if server.process.poll() is None:
            server.process.kill()
        server.process.wait()
        assert server.process.stdout is not None
        server.process.stdout.close()


def look_up(address: str, times: int) -> None:
    """Look up four rows of three statuses, each time over a connection of its own, so that every worker has some."""
    for _ in range(times):
        with FeatureClient(address) as client:
            client.get_online_features("svc", {"user": ["ann-key", "old-key", "no-key", "no-key"]})


def test_metrics_of_two_workers_equal_the_calls_made_and_name_no_key_and_no_value(start: Callable[..., Server]) -> None:
    server = start()
    look_up(server.address, 20)
    with FeatureClient(server.address) as client, pytest.raises(ObjectNotFoundError):
        client.get_online_features("absent", {"user": ["ann-key"]})
    counted = (ANSWERED, "GetOnlineFeatures", "svc@1")
    page = server.page_when(lambda page: page.get(counted, 0) >= 20 and "_refused_" in str(page))
    page = server.page_when(lambda page: page["featurestore_log_rows_written_total",] == 80)
    assert page[counted] == 20
    assert page["featurestore_request_duration_seconds_bucket", "+Inf", "GetOnlineFeatures", "svc@1"] == 20
    assert page["featurestore_requests_refused_total", "NOT_FOUND", "GetServiceSchema"] == 1
    assert page["featurestore_entity_rows_total", "svc@1"] == 80
    by_status = {name[2]: value for name, value in page.items() if name[0] == "featurestore_row_status_total"}
    assert by_status == {"PRESENT": 40, "OUTSIDE_MAX_AGE": 0, "NOT_FOUND": 40}
    assert page["featurestore_feature_age_seconds_count", "svc@1", "counts"] == 40
    assert page["featurestore_feature_age_seconds_bucket", str(4 * 3600.0), "svc@1", "counts"] == 20
    assert page["featurestore_service_up", "svc", "svc@1"] == 1
    assert page["featurestore_workers",] == 2
    assert page["featurestore_online_rows", "1", "counts"] == 2
    assert page["featurestore_requests_under_way",] == 0
    text = server.text()
    assert not [word for word in ("ann-", "old-", "no-key", "-value") if word in text]
    assert server.stop() == 0


def test_a_worker_that_is_killed_takes_no_count_back(start: Callable[..., Server]) -> None:
    server = start()
    look_up(server.address, 20)
    counted = (ANSWERED, "GetOnlineFeatures", "svc@1")
    server.page_when(lambda page: page.get(counted, 0) == 20)
    server.workers()[0].kill()
    page = server.page_when(lambda page: page["featurestore_workers_died_total",] == 1)
    assert page[counted] == 20
    page = server.page_when(lambda page: page["featurestore_workers",] == 2)
    assert page[counted] == 20
    deadline = time.monotonic() + 30
    while len(server.workers()) < 2:  # the new one listens
        assert time.monotonic() < deadline
        time.sleep(0.1)
    look_up(server.address, 10)
    page = server.page_when(lambda page: page.get(counted, 0) == 30)
    assert server.stop() == 0


def test_metrics_of_one_worker_come_from_a_parent_too_and_calls_refused_at_the_door_count(
    start: Callable[..., Server],
) -> None:
    server = start("max_calls = 1\n", workers=1)
    with grpc.insecure_channel(server.address) as channel:
        stream = channel.stream_stream("/featurestore.v1.ServingService/StreamOnlineFeatures")
        ended = threading.Event()
        call = stream(itertools.chain([b""], iter(ended.wait, True)))
        next(call)
        with pytest.raises(grpc.RpcError) as caught:
            channel.unary_unary("/featurestore.v1.ServingService/GetServiceSchema")(b"", timeout=10)
        call.cancel()
        ended.set()
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    refused = ("featurestore_requests_refused_total", "RESOURCE_EXHAUSTED", "GetServiceSchema")
    page = server.page_when(lambda page: page.get(refused) == 1)
    assert page["featurestore_workers",] == 1
    assert server.stop() == 0


def test_every_call_has_a_line_in_the_access_log_with_no_key_and_no_value(
    start: Callable[..., Server], repo: Path
) -> None:
    server = start('access_log = "data/access.jsonl"\n')
    look_up(server.address, 5)
    with FeatureClient(server.address) as client, pytest.raises(ObjectNotFoundError):
        client.get_online_features("absent", {"user": ["ann-key"]})
    assert server.stop() == 0
    text = (repo / "data/access.jsonl").read_text()
    lines: list[dict[str, Any]] = [json.loads(line) for line in text.splitlines()]
    looked = [one for one in lines if one["method"] == "GetOnlineFeatures"]
    assert [(one["service"], one["rows"], one["code"]) for one in looked] == [("svc@1", 4, "OK")] * 5
    assert [one["method"] for one in lines if one["code"] == "NOT_FOUND"] == ["GetServiceSchema"]
    assert len({one["request_id"] for one in looked}) == 5
    assert all(one["peer"].startswith("ipv4:127.0.0.1:") for one in lines)
    assert not [word for word in ("ann-key", "no-key", "ann-value") if word in text]


def test_a_taken_port_for_metrics_is_said_at_the_start(repo: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        file = repo / "featurestore.toml"
        file.write_text(
            file.read_text().replace("[serving]\n", f"[serving]\nmetrics_port = {taken.getsockname()[1]}\n")
        )
        command = [sys.executable, "-m", "featurestore", "serve", "--port", "0", "-C", str(repo)]
        ran = forking.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 1
    assert "for metrics, is taken by another process" in ran.stderr
    assert "metrics_port" in ran.stderr
