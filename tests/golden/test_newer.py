"""What a newer release has written in a format of its own: refused in one sentence that says which one is needed."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import lmdb
import pytest

from featurestore import FeatureStore
from featurestore.doctor import State as Health
from featurestore.doctor import examine
from featurestore.errors import FeatureStoreError, MonitorError
from featurestore.online.lmdb_state import State as LmdbState
from featurestore.online.redis.state import State as RedisState
from featurestore.serving.workers import serve
from featurestore.upgrading import State, look
from monitor.detector.state import DetectorState
from monitor.history import History
from tests.golden.opened import FORMATS, unpack

_NEWEST = json.loads(FORMATS.read_text())["golden"]
_VIEW = "clicks"


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    unpack(_NEWEST, tmp_path)
    return tmp_path


def run_sql(file: Path, *statements: str) -> None:
    with closing(sqlite3.connect(file)) as database, database:
        for one in statements:
            database.execute(one)


def newer_registry(repo: Path) -> None:
    said = "UPDATE registry_revision SET version_num = '0009', readable_from = '0009', release = '9.0.0'"
    run_sql(repo / "data/registry.db", said)


def newer_monitor(repo: Path) -> None:
    values = {"schema_version": "99", "readable_from": "99", "release": "9.0.0"}
    said = "INSERT INTO meta VALUES ('{}', '{}') ON CONFLICT (key) DO UPDATE SET value = excluded.value"
    run_sql(repo / "data/monitor.db", *(said.format(*one) for one in values.items()))


def newer_online_store(repo: Path) -> None:
    with lmdb.open(str(repo / "data/online"), max_dbs=2) as env:
        about = env.open_db(b"state")
        with env.begin(about, write=True) as transaction:
            values = json.loads(transaction.get(b"state")) | {"format": 99, "release": "9.0.0"}
            transaction.put(b"state", json.dumps(values).encode())


def newer_table(repo: Path) -> None:
    (folder,) = (repo / "data/offline").glob("clicks-*")
    log = folder / "_delta_log"
    actions = [json.loads(line) for line in (log / f"{0:020}.json").read_text().splitlines()]
    (meta,) = (one for one in actions if "metaData" in one)
    meta["metaData"]["configuration"] |= {"featurestore.format": "99", "featurestore.release": "9.0.0"}
    (log / f"{len(list(log.glob('*.json'))):020}.json").write_text(json.dumps(meta) + "\n")


def newer_push_log(repo: Path) -> None:
    (file,) = (repo / "data/push").glob("*.wal")
    file.write_bytes(b"fspush99" + file.read_bytes()[8:])


def newer_folder(name: str) -> Callable[[Path], None]:
    def make(repo: Path) -> None:
        (repo / name / "format.json").write_text(json.dumps({"format": 99, "release": "9.0.0"}))

    return make


def open_all(repo: Path) -> None:
    FeatureStore(repo).close()


def flush(repo: Path) -> None:
    with FeatureStore(repo) as store:
        store.flush_pushes()


def look_up(repo: Path) -> None:
    with FeatureStore(repo) as store:
        store.get_online_features(features="churn", entity_rows=[{"user_id": 1, "amount": 1.0}])


def join(repo: Path) -> None:
    with FeatureStore(repo) as store:
        store.get_historical_features(
            entity_df=store.get_training_dataset("first").to_arrow().select(["user_id", "event_timestamp", "amount"]),
            features="churn",
        ).to_arrow()


def serve_now(repo: Path) -> None:
    with FeatureStore(repo) as store:
        config = store.config
    serve(config, announce=lambda _: None)


def open_monitor(repo: Path) -> None:
    History(f"sqlite:///{repo}/data/monitor.db").close()


@pytest.mark.parametrize(
    ("store", "make", "read"),
    [
        ("registry", newer_registry, look_up),
        ("registry", newer_registry, serve_now),
        ("monitor", newer_monitor, open_monitor),
        ("online store", newer_online_store, look_up),
        ("tables", newer_table, join),
        ("push log", newer_push_log, flush),
        ("serving log", newer_folder("data/log"), open_all),
        ("feedback log", newer_folder("data/feedback"), open_all),
        ("stream quarantine", newer_folder("data/streaming/quarantine"), open_all),
    ],
)
def test_a_store_of_a_newer_format_is_refused_by_whoever_reads_it(
    repo: Path, store: str, make: Callable[[Path], None], read: Callable[[Path], None]
) -> None:
    make(repo)
    before = {one: one.read_bytes() for one in repo.rglob("*") if one.is_file() and "lock" not in one.name}
    with pytest.raises(FeatureStoreError, match=r"of (release 9\.0\.0|a newer release); this one, ") as raised:
        read(repo)
    assert raised.value.hint.startswith("Upgrade the featurestore package here")
    found = {one.store: one for one in look(repo)}
    assert found[store].state is State.fault
    assert found[store].hint.startswith("Upgrade the featurestore package here")
    faults = [one for one in examine(repo) if one.state is Health.fault]
    assert any("newer" in one.what or "9.0.0" in one.what for one in faults)
    for file, content in before.items():  # nobody has written what he cannot read
        if file.suffix in (".wal", ".json", ".parquet"):
            assert file.read_bytes() == content


def test_a_state_of_the_online_store_keeps_what_a_neighbouring_release_says_beside() -> None:
    lmdb_state = LmdbState(b'{"format": 1, "clock": null, "tables": {}, "tomorrow": {"a": 1}}')
    lmdb_state.prefix("view")
    again = json.loads(lmdb_state.to_json())
    assert (again["tomorrow"], again["tables"]) == ({"a": 1}, {"view": [1, 1]})
    redis = RedisState.read(b"%016x" % 7 + b'{"format":1,"clock":null,"last":0,"tables":{},"tomorrow":[2]}')
    again = json.loads(redis.with_tables(["view"]).record[16:])
    assert (again["tomorrow"], list(again["tables"])) == ([2], ["view"])


def test_a_detector_does_not_begin_anew_over_the_state_of_a_newer_release() -> None:
    assert DetectorState.from_dict({"format": 1}).limits_id == ""  # an older one is of no use
    with pytest.raises(MonitorError, match="The state of a detector has format 99, of a newer release"):
        DetectorState.from_dict({"format": 99})
