"""A canary on a real server of two workers: moves are seen without a restart, and every worker sends a key one way."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from featurestore import Entity, FeatureClient, FeatureService, FeatureStore, FeatureView, Field
from featurestore.types import Int64
from tests import forking

PROGRAM = """
import sys
from featurestore.config import load
from featurestore.serving.workers import serve

if __name__ == "__main__":
    serve(load(sys.argv[1]), workers=2, port=0)
"""
VIEW = FeatureView(
    name="counts",
    entities=[Entity(name="user", dtypes=[Int64])],
    schema=[Field(name="x", dtype=Int64), Field(name="y", dtype=Int64)],
)
KEYS = [str(number) for number in range(60)]


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    """A store with two versions of a service, of which the first is production."""
    with FeatureStore.init(tmp_path / "repo") as store:
        service = FeatureService(name="svc", features=[VIEW[["x"]]])
        store.apply(service)
        store.apply(replace(service, features=[VIEW]))
        store.ingest("counts", [{"user": 1, "x": 7, "y": 8, "event_timestamp": datetime.now(UTC)}])
        store.materialize("counts")
        store.promote("svc@1")
    return tmp_path / "repo"


@pytest.fixture
def address(repo: Path, tmp_path: Path) -> Iterator[str]:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    process = forking.Forked([sys.executable, str(program), str(repo)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield process.stdout.readline().split(" at ")[1].split(",")[0]
    finally:
        process.terminate()
        process.wait(30)
        process.stdout.close()


def versions(address: str) -> list[str]:
    """Return which version answers each key, each asked for on a connection of its own: any worker may get it."""
    found = []
    for key in KEYS:
        with FeatureClient(address) as client:
            answer = client.get_online_features("svc", {"user": [1]}, routing_key=key)
        assert answer.to_dict() == ({"x": [7]} if answer.service == "svc@1" else {"x": [7], "y": [8]})
        found.append(answer.service)
    return found


def wait_until(holds: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_a_canary_begins_grows_and_ends_while_the_server_runs(repo: Path, address: str) -> None:
    assert set(versions(address)) == {"svc@1"}
    with FeatureStore(repo) as store:
        store.promote("svc@2", alias="canary", share=0.3)
        # In this process the canary is there at once, and the keys are those that the server will send there.
        expected = [store.get_online_features("svc", {"user": [1]}, routing_key=key).service for key in KEYS]
        assert set(expected) == {"svc@1", "svc@2"}
        wait_until(lambda: versions(address) == expected)
        assert versions(address) == versions(address) == expected
        with FeatureClient(address) as client:
            assert client.get_schema("svc").service == "svc@1"
            named = [client.get_online_features("svc@1", {"user": [1]}, routing_key=key).service for key in KEYS]
        assert set(named) == {"svc@1"}
        store.promote("svc@2", alias="canary", share=0.7)
        wait_until(lambda: versions(address).count("svc@2") > expected.count("svc@2"))
        grown = [store.get_online_features("svc", {"user": [1]}, routing_key=key).service for key in KEYS]
        wait_until(lambda: versions(address) == grown)
        kept = [new for old, new in zip(expected, grown, strict=True) if old == "svc@2"]
        assert set(kept) == {"svc@2"}
        store.rollback("svc", alias="canary")
        wait_until(lambda: set(versions(address)) == {"svc@1"})

    def logged() -> set[str]:
        files = (repo / "data/log/svc").glob("*.parquet")
        return {one for file in files for one in pq.read_table(file, columns=["service"])["service"].to_pylist()}

    wait_until(lambda: logged() == {"svc@1", "svc@2"})


def test_a_promotion_and_a_rollback_are_seen_within_two_seconds(repo: Path, address: str) -> None:
    with FeatureStore(repo) as store, FeatureClient(address) as client:

        def answers() -> str:
            return client.get_online_features("svc", {"user": [1]}).service

        for move, version in ((lambda: store.promote("svc@2"), "svc@2"), (lambda: store.rollback("svc"), "svc@1")):
            move()
            wait_until(lambda version=version: answers() == version)  # type: ignore[misc]
