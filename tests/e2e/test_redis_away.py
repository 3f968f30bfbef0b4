"""The online store's server is killed under a server of features that has a copy: answers go on, and say of when."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NoReturn

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from featurestore import Entity, FeatureService, FeatureStore, FeatureView, Field
from featurestore.cli.app import run
from featurestore.client import FeatureClient, OnlineFeatures
from featurestore.definitions import storage_id
from featurestore.errors import FeatureStoreError
from featurestore.online.local_copy import LocalCopy
from featurestore.serving.log import COMPLETE_TO
from featurestore.types import Int64
from tests.forking import Forked
from tests.postgresql_servers import wait_for
from tests.redis_servers import RedisServer, redis_program

VIEW = FeatureView(name="counts", entities=[Entity(name="user", dtypes=[Int64])], schema=[Field(name="x", dtype=Int64)])
PROGRAM = """
import sys
from featurestore.config import load
from featurestore.logs import configure_logging
from featurestore.serving.workers import serve

if __name__ == "__main__":
    configure_logging()
    serve(load(sys.argv[1]), port=0)
"""


@pytest.fixture
def server(lacking: Callable[[str], NoReturn]) -> Iterator[RedisServer]:
    one = RedisServer(redis_program(lacking), "--save", "", "--appendonly", "yes", "--appendfsync", "always")
    one.start()
    yield one
    one.remove()


def test_a_server_answers_from_its_copy_while_the_store_is_away_and_from_the_store_when_it_is_back(
    server: RedisServer, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    repo, program = tmp_path / "repo", tmp_path / "program.py"
    program.write_text(PROGRAM)
    FeatureStore.init(repo).close()
    file = repo / "featurestore.toml"
    section = f'[online]\ntype = "redis"\naddresses = ["{server.address}"]\nfallback = "copy"\nfallback_seconds = 0.3'
    file.write_text(file.read_text().replace('online = "lmdb://data/online"\n', "") + f"\n{section}\n")
    with FeatureStore(repo) as store:
        store.apply([FeatureService(name="svc", features=[VIEW])])
        store.push("counts", [{"user": 1, "x": 7, "event_timestamp": datetime.now(UTC)}])
    pushed = datetime.now(UTC)
    copy = LocalCopy(repo / "copy", max_age=timedelta(hours=1))
    command = [sys.executable, str(program), str(repo)]
    process = Forked(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        found = re.search(r" at (127\.0\.0\.1:\d+),", process.stdout.readline())
        assert found
        with FeatureClient(found[1]) as client:

            def ask() -> OnlineFeatures:
                return client.get_online_features("svc", {"user": [1]})

            def copied() -> bool:
                complete_to = copy.complete_to([storage_id(VIEW)])
                return complete_to is not None and complete_to > pushed.timestamp() * 1e6

            assert not ask().stale
            wait_for(copied)
            server.kill()
            stale = ask()
            assert stale.stale
            assert stale.complete_to is not None
            assert pushed < stale.complete_to < datetime.now(UTC)
            assert stale.to_dict() == {"x": [7]}
            capsys.readouterr()
            assert run(["get", "svc", "user=1", "--server", found[1]], debug=False) == 0
            title, *_, last = capsys.readouterr().out.splitlines()
            assert re.fullmatch(r" *svc@1 at [0-9: -]+ UTC *", title)
            assert re.fullmatch(r"STALE: the store is away; its copy is complete to [0-9: -]+ UTC", last)
            assert len(last) <= 80
            with pytest.raises(FeatureStoreError, match="is away"):
                client.push("counts", [{"user": 1, "x": 8, "event_timestamp": datetime.now(UTC)}])
            time.sleep(0.5)  # a copy that cannot be made leaves this one
            again = ask()
            assert again.complete_to is not None
            assert again.complete_to - stale.complete_to < timedelta(seconds=60)
            server.start()
            wait_for(lambda: not ask().stale)
            client.push("counts", [{"user": 1, "x": 9, "event_timestamp": datetime.now(UTC)}])

            def is_back() -> bool:
                answer = ask()
                assert answer.stale or answer.to_dict() == {"x": [9]}
                return not answer.stale

            wait_for(is_back)
    finally:
        copy.close()
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "Traceback" not in errors
    told = [json.loads(line) for line in errors.splitlines()]
    assert [one for one in told if one["event"] == "online store is away"]
    logged = pa.concat_tables(pq.read_table(one) for one in (repo / "data" / "log" / "svc").glob("*.parquet"))
    marked = [one for one in logged.column(COMPLETE_TO).to_pylist() if one is not None]
    assert stale.complete_to in marked
    assert 0 < len(marked) < len(logged)
