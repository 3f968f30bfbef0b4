"""PostgreSQL under registry and monitor: changes are heard of at once, and a server that is killed costs time only."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from featurestore import Entity, FeatureService, FeatureStore, FeatureView, Field, MonitorPolicy
from featurestore.client import FeatureClient
from featurestore.errors import FeatureStoreError, ServerUnavailableError
from featurestore.registry import open_registry
from featurestore.types import Int64
from monitor.alerts.outbox import Courier
from monitor.daemon import Jobs
from monitor.history import History
from monitor.history.upserting import put
from monitor.metrics import MonitorMetrics
from monitor.schema import meta
from tests.conftest import Program
from tests.postgresql_servers import Cluster, cluster_of_its_own, wait_for

VIEW = FeatureView(name="counts", entities=[Entity(name="user", dtypes=[Int64])], schema=[Field(name="x", dtype=Int64)])
SERVICE = FeatureService(name="svc", features=[VIEW])
PROGRAM = """
import sys
from featurestore.config import load
from featurestore.logs import configure_logging
from featurestore.serving.workers import serve

if __name__ == "__main__":
    configure_logging()
    serve(load(sys.argv[1]), port=0)
"""


@pytest.fixture(scope="module")
def made(program: Program) -> Iterator[Cluster]:
    yield from cluster_of_its_own(program)


@pytest.fixture
def cluster(made: Cluster) -> Cluster:
    made.start()
    return made


@pytest.fixture
def repo(tmp_path: Path, cluster: Cluster) -> Path:
    with FeatureStore.init(tmp_path / "repo", project="shop") as store:
        pass
    settings = tmp_path / "repo" / "featurestore.toml"
    text = settings.read_text().replace('"sqlite:///data/registry.db"', f'"{cluster.url}"')
    settings.write_text(text.replace('"sqlite:///data/monitor.db"', f'"{cluster.url}"'))
    with FeatureStore(tmp_path / "repo") as store:
        store.apply([SERVICE])
        store.push("counts", [{"user": 1, "x": 7, "event_timestamp": datetime.now(UTC)}])
    return tmp_path / "repo"


def test_a_server_serves_on_while_its_registry_is_away_and_takes_a_change_in_once_it_is_back(
    repo: Path, cluster: Cluster, tmp_path: Path
) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    with subprocess.Popen([sys.executable, program, repo], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            found = re.search(rb" at (127\.0\.0\.1:\d+),", process.stdout.readline())
            assert found
            acknowledged, refused = _ask_while_it_is_killed(found[1].decode(), repo, cluster)
        finally:
            process.send_signal(signal.SIGTERM)
            _, errors = process.communicate(timeout=60)
    assert process.returncode == 0
    assert {type(one) for one in refused} == {ServerUnavailableError}
    assert all("The registry postgresql" in one.message and one.hint for one in refused), refused
    with FeatureStore(repo) as store:  # the server has brought what waited into the table when it ended
        rows = pa.concat_tables(pq.read_table(one) for one in store.offline.table(VIEW).files())
        values = rows.column("x").to_pylist()
    assert {*acknowledged} <= {*values}
    assert max(Counter(values).values()) == 1
    told = [json.loads(line) for line in errors.splitlines()]
    reasons = [one["error"] for one in told if one["event"] == "background task failed"]
    assert len(reasons) == len(set(reasons))  # each once: that the line broke, and that there is no server


def _ask_while_it_is_killed(address: str, repo: Path, cluster: Cluster) -> tuple[list[int], list[FeatureStoreError]]:
    """Look up and push while it is killed; return which pushes were acknowledged, and how others were refused."""
    answers, ending = [], threading.Event()
    acknowledged: list[int] = []
    refused: list[FeatureStoreError] = []

    def push() -> None:
        with FeatureClient(address) as client:
            number = 100
            while not ending.is_set():
                number += 1
                try:
                    client.push("counts", [{"user": 2, "x": number, "event_timestamp": datetime.now(UTC)}])
                except FeatureStoreError as error:
                    refused.append(error)
                    time.sleep(0.05)
                else:
                    acknowledged.append(number)

    def ask() -> None:
        with FeatureClient(address) as client:
            while not ending.is_set():
                answers.append(client.get_online_features("svc", {"user": [1]}).to_dict())

    def knows(service: str) -> bool:
        try:
            client.get_online_features(service, {"user": [1]})
        except FeatureStoreError:
            return False
        return True

    threads = [threading.Thread(target=ask), threading.Thread(target=push)]
    for one in threads:
        one.start()
    try:
        with FeatureClient(address) as client:
            cluster.kill()
            before, pushed = len(answers), len(acknowledged)
            time.sleep(2.5)  # two looks at the registry fail
            wait_for(lambda: len(answers) > before + 50)
            cluster.start()
            with FeatureStore(repo) as store:
                store.apply([FeatureService(name="later", features=[VIEW])])
            wait_for(lambda: knows("later"))
            wait_for(lambda: len(acknowledged) > pushed + 5)
    finally:
        ending.set()
        for one in threads:
            one.join()
    assert answers == [{"x": [7]}] * len(answers)
    return acknowledged, refused


def test_a_change_is_heard_of_when_it_is_committed_and_after_the_line_was_away(cluster: Cluster) -> None:
    heard: list[int] = []
    with open_registry(cluster.url, "ours") as registry, open_registry(cluster.url, "theirs") as other:
        listener = registry.follow(lambda: heard.append(1))
        assert listener is not None
        try:
            wait_for(lambda: len(heard) == 1)  # once it listens: what changed before is looked at
            other.apply([VIEW], who="tests")
            registry.apply([VIEW], who="tests")
            wait_for(lambda: len(heard) == 2)  # of ours; nothing looks here, so it was heard of
            cluster.kill()
            cluster.start()
            wait_for(lambda: len(heard) == 3)
        finally:
            listener.close()
        registry.apply([SERVICE], who="tests")  # and the pool has healed
    time.sleep(0.1)
    assert len(heard) == 3


def test_the_monitor_hears_what_a_command_has_written_and_not_what_it_writes_itself(cluster: Cluster) -> None:
    heard: list[int] = []
    with History(cluster.url) as monitor, History(cluster.url) as command:
        listener = monitor.follow(lambda: heard.append(1))
        assert listener is not None
        try:
            wait_for(lambda: len(heard) == 1)
            monitor.fence = lambda _: None  # as one has that leads
            for history in (monitor, command):
                with history.write() as connection:
                    put(connection, meta, {"key": "fact"}, {"value": "1"})
            wait_for(lambda: len(heard) == 2)
            time.sleep(0.1)
        finally:
            listener.close()
    assert len(heard) == 2


def test_the_monitor_takes_up_a_policy_at_once_and_goes_on_after_its_database_was_killed(
    repo: Path, cluster: Cluster
) -> None:
    """It polls every minute, as it does unless told otherwise: what is taken up sooner was heard of."""

    def counted(job: str, what: str) -> float:
        found = metrics.samples()
        return sum(one.values[0] for one in found if one.labels == (job,) and one.metric.name.endswith(what))

    def policy(name: str) -> MonitorPolicy:
        return MonitorPolicy(name=name, service=SERVICE)

    def ran(name: str) -> bool:
        return counted(f"policy {name}", "timestamp_seconds") + counted(f"policy {name}", "errors_total") > 0

    with FeatureStore(repo) as store, History(cluster.url) as history, Courier(history, {}) as courier:
        metrics = MonitorMetrics(history, "shop")
        at_work = Jobs(store, history, courier, metrics)
        try:
            wait_for(lambda: counted("registry", "timestamp_seconds") > 0)
            with FeatureStore(repo) as other:
                other.apply([policy("before")])
            wait_for(lambda: ran("before"))
            cluster.kill()
            time.sleep(2.5)  # the courier looks every second
            cluster.start()
            back = time.time()
            wait_for(lambda: counted("courier", "timestamp_seconds") > back)
            with FeatureStore(repo) as other:
                other.apply([policy("after")])
            wait_for(lambda: ran("after"))
        finally:
            at_work.finish()
