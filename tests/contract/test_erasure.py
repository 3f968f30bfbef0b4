"""What every place that stores rows must do when a key is erased: one suite over all of them.

A place of a later issue joins by being added to what :func:`places` returns, and to what :func:`shop` fills.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib import import_module
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from featurestore import Entity, FeatureService, FeatureStore, FeatureView, Field, Model
from featurestore.erasure import Place, Task
from featurestore.erasure.running import places_of, run_erasure
from featurestore.erasure.scope import scope_of
from featurestore.offline.tables.rewriting import columns_of
from featurestore.online import open_online_store
from featurestore.serving import log_merging
from featurestore.serving.folder_lock import rewriting
from featurestore.serving.log import WATERMARKS
from featurestore.serving.log_files import Writes, log_files, name_of
from featurestore.serving.log_merging import LogMerger
from featurestore.streaming import quarantine_of
from featurestore.streaming.messages import Message, Poisoned
from featurestore.types import Float64, Int64, String
from monitor.alerts.base import Kind
from monitor.alerts.outbox import enqueue
from monitor.erasure import places as monitor_places
from monitor.history import History
from tests import backends
from tests.forking import Forked

pytestmark = [*backends.marks("offline", "disk"), *backends.marks("online", "lmdb")]

ROOT = Path(__file__).parent.parent.parent
#: Whoever is to be erased, and somebody whose name is much like it.
MARK, LIKE = "zq-marker-7741", "zq-marker-7742"
NAMES = (
    "online store",
    "messages in quarantine",
    "pushed rows",
    "offline tables",
    "quarantine",
    "training datasets",
    "predictions and outcomes",
    "serving log",
    "online stores of replays",
    "predictions and outcomes of replays",
    "serving logs of replays",
    "spilled files",
    "monitor's records",
)
LONG_AGO = time.time() - 86_400
#: No process has it: it is over what a system gives.
DEAD = 2**22 + 1


def rows(*users: str, hours: float = 1, total: float = 1.0) -> list[dict[str, Any]]:
    at = datetime.now(UTC) - timedelta(hours=hours)
    return [{"user_id": one, "total": total, "event_timestamp": at} for one in users]


def definitions() -> list[FeatureService]:
    item = Entity(name="item", join_keys=["item_id"], dtypes=[Int64])
    user = Entity(name="user", join_keys=["user_id"], dtypes=[String])
    spending = FeatureView(name="spending", entities=[user], schema=[Field(name="total", dtype=Float64, ge=0)])
    clicks = FeatureView(name="clicks", entities=[item, user], schema=[Field(name="seen", dtype=Int64)])
    friend = spending.with_join_key_map({"user_id": "friend_id"}, name="friend")
    return [FeatureService(name="scoring", features=[spending, clicks, friend])]


def place_named(store: FeatureStore, name: str) -> Place:
    return next(one for one in reversed(places(store)) if one.name == name)


def places(store: FeatureStore) -> list[Place]:
    found = places_of(store.config, store.online)
    # Where the package was installed before it named the monitor's places.
    return found if any(one.name == "monitor's records" for one in found) else [*found, *monitor_places(store.config)]


@dataclass
class Shop:
    """A store that has the marker everywhere."""

    store: FeatureStore
    folder: Path

    def task(self, *, dry_run: bool = False, key: str = MARK) -> Task:
        return Task(
            config=self.store.config,
            registry=self.store.registry,
            scope=scope_of(self.store.registry, "user", [{"user_id": key}]),
            request="GDPR-1",
            who="tests",
            dry_run=dry_run,
        )


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("erasure") / "shop"
    store = FeatureStore.init(folder, project="shop")
    store.apply(definitions())
    at = datetime.now(UTC) - timedelta(hours=3)
    for hours in (5, 4, 3):
        store.ingest("spending", rows(MARK, LIKE, "b", hours=hours))
    store.ingest("spending", rows(MARK, LIKE, total=-1.0))
    long = MARK.join("ab") * 40  # its key is kept as a hash
    clicked = [
        {"user_id": one, "item_id": number, "seen": 1, "event_timestamp": at}
        for one in (MARK, LIKE, long)
        for number in (1, 2)
    ]
    store.ingest("clicks", clicked)
    for view in ("spending", "clicks"):
        store.materialize(view)
    people = [(MARK, "b"), ("b", MARK), (LIKE, "b"), ("b", "b")]
    asked = [{"user_id": one, "friend_id": other, "item_id": 1} for one, other in people]
    now = datetime.now(UTC)
    entities = [{**one, "label": number, "event_timestamp": now} for number, one in enumerate(asked)]
    store.create_training_dataset("sales", entity_df=entities, features="scoring", label="label")
    store.compact("spending")  # so that files are there which only the past and the dataset name
    store.ingest("spending", rows(MARK, LIKE, hours=2))
    scored = store.get_batch_features("scoring", asked)
    predict(store, scored.request_id, asked)
    rehearse(folder, store)
    push(store)
    set_aside(store)
    leave_behind(folder)
    with History(store.config.database_url(store.config.monitor.database)) as history:
        tell(history)
    store.close()
    return folder


def set_aside(store: FeatureStore) -> None:
    """Messages of a stream that are no rows; some say not even whose they are."""
    said = [f'{{"user_id": "{one}", "totl": 1}}' for one in (MARK, LIKE, "b")] + [f"{MARK} {LIKE}x", LIKE]
    messages = [
        Message(topic="t", partition=0, offset=offset, timestamp=0, key=None, value=one.encode())
        for offset, one in enumerate(said)
    ]
    quarantine_of(store.config).add("s", "spending", [Poisoned(message=one, reason="no row") for one in messages])


def predict(store: FeatureStore, request_id: str, asked: list[dict[str, Any]]) -> None:
    """Log what a model predicted for whom, with outcomes; here the class is a name, so that it can be looked for."""
    store.registry.record_model(Model(name="taste", service="scoring@1", dataset="sales@1"), who="tests")
    made = [
        {"prediction_id": f"p-{row}", "request_id": request_id, "row": row, "label": f"likes-{one['user_id']}"}
        for row, one in enumerate(asked)
    ]
    store.log_predictions("taste", made)
    store.log_outcomes("taste", [{"prediction_id": one["prediction_id"], "label": one["label"]} for one in made])


def push(store: FeatureStore) -> None:
    """Leave what was pushed and is in no table yet, in a segment that is full and in the one that grows."""
    store.push("spending", rows(MARK, LIKE, "b", hours=0.5))
    store._pusher._log.seal()
    store.push("spending", rows("b", MARK, MARK, LIKE, hours=0.4))
    store.push("spending", rows(MARK, hours=0.3))
    store.push("clicks", [{"user_id": MARK, "item_id": 1, "seen": 2, "event_timestamp": datetime.now(UTC)}])
    pusher = store.__dict__.pop("_pusher")  # so that closing the store brings nothing into the tables
    pusher.flusher._end()
    killed = store.config.path(store.config.push.path) / ".0123456789abcdef"
    killed.write_bytes(MARK.encode())


def rehearse(folder: Path, store: FeatureStore) -> None:
    """Leave what a rehearsal leaves: an online store and a log."""
    config = store.config.for_replay("spring")
    online = open_online_store(config.online, config.root)
    held = FeatureStore(folder, replay="")
    held.__dict__["online"] = online
    held.materialize("spending")
    held.close()
    for kept in ("log", "feedback"):
        shutil.copytree(folder / "data" / kept, folder / "data" / "replays" / "spring" / kept)


def leave_behind(folder: Path) -> None:
    """Leave what processes leave that are killed: partial files, and files that nothing names."""
    offline = folder / "data" / "offline"
    table = next(offline.glob("spending-*"))
    whole = next(one for one in table.glob("*.parquet"))
    orphan = table / "part-00000000-0000-0000-0000-000000000000.parquet"
    shutil.copy(whole, orphan)
    half = table / "part-00000000-0000-0000-0000-000000000001.parquet"
    half.write_bytes(MARK.encode() * 9)
    spilled = offline / ".spill" / "duckdb_temp_storage_DEFAULT-0.tmp"
    spilled.parent.mkdir(exist_ok=True)
    spilled.write_bytes(MARK.encode())
    partial = next((offline / "datasets").glob("*/*")).with_name(".0123456789abcdef-0123")
    partial.mkdir()
    (partial / "data.parquet").write_bytes(MARK.encode())
    logged = folder / "data" / "log" / "scoring" / ".worker-00000001.parquet"
    logged.write_bytes(MARK.encode())
    for one in (orphan, half, spilled, partial / "data.parquet", partial, logged):
        os.utime(one, (LONG_AGO, LONG_AGO))
    aside = next((offline / "quarantine").glob("spending-*")) / f".load.parquet.{DEAD}"
    aside.write_bytes(MARK.encode())


def tell(history: History) -> None:
    """Send a message with examples, as an alert may have that is not as it should be."""
    examples = [{"keys": {"user_id": one}, "served": 1.0} for one in (MARK, LIKE)]
    with history.write() as connection:
        enqueue(
            connection,
            instance=history.instance,
            channel="ops",
            kind=Kind.FIRING,
            project="shop",
            service="scoring@1",
            incident="drift-1",
            sequence="1",
            severity="page",
            payload={"summary": "skew", "examples": examples},
            now=datetime.now(UTC),
        )


@pytest.fixture
def shop(filled: Path, tmp_path: Path) -> Iterator[Shop]:
    folder = tmp_path / "shop"
    shutil.copytree(filled, folder)
    with FeatureStore(folder) as store:
        yield Shop(store, folder)


def holding(folder: Path, mark: str) -> list[str]:
    """Return every file that has a text, in its bytes or in its rows once they are decoded."""
    found = []
    for file in sorted(one for one in folder.rglob("*") if one.is_file()):
        content = file.read_bytes()
        if mark.encode() in content or (content[:4] == b"PAR1" and mark in _decoded(file)):
            found.append(str(file.relative_to(folder)))
    return found


def _decoded(file: Path) -> str:
    try:
        return str(pq.read_table(file).to_pylist())
    except pa.ArrowInvalid:
        return ""


def state(folder: Path) -> dict[str, bytes]:
    # Opening SQLite and LMDB touches files beside the data.
    kept = (one for one in folder.rglob("*") if one.is_file() and one.suffix not in (".mdb", ".db-shm", ".db-wal"))
    return {str(one.relative_to(folder)): one.read_bytes() for one in kept}


def test_the_store_of_these_tests_has_the_marker_in_every_place(shop: Shop) -> None:
    held = holding(shop.folder / "data", MARK)
    for part in (
        "offline/spending",
        "offline/clicks",
        "quarantine",
        "datasets",
        ".spill",
        "online",
        "log",
        "feedback/predictions",
        "feedback/outcomes",
        "replays",
        "monitor.db",
    ):
        assert [one for one in held if part in one], part
    assert {one.name for one in places(shop.store)} == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_place_says_first_what_it_will_do_and_finds_nothing_afterwards(shop: Shop, name: str) -> None:
    before = state(shop.folder)
    told = place_named(shop.store, name).erase(shop.task(dry_run=True))
    assert state(shop.folder) == before
    assert told.files > 0
    assert told.waiting == 0
    done = place_named(shop.store, name).erase(shop.task())
    assert (done.rows, done.waiting) == (told.rows, 0)
    again = place_named(shop.store, name).erase(shop.task())
    assert (again.rows, again.files, again.waiting) == (0, 0, 0)


@pytest.mark.parametrize("name", [one for one in NAMES if one != "spilled files"])
def test_a_place_keeps_the_rows_of_others(shop: Shop, name: str) -> None:
    for orphan in shop.folder.glob("data/offline/*/part-00000000-*"):
        orphan.unlink()  # which goes as a whole
    mine = place_named(shop.store, name).erase(shop.task(dry_run=True, key=LIKE))
    assert mine.rows > 0
    place_named(shop.store, name).erase(shop.task())
    assert place_named(shop.store, name).erase(shop.task(dry_run=True, key=LIKE)).rows == mine.rows


def test_after_an_erasure_no_file_of_the_store_holds_the_key(shop: Shop) -> None:
    others = len(holding(shop.folder, LIKE))
    report = run_erasure(shop.task(), places(shop.store))
    assert report.finished
    assert report.suppressed == 1
    assert {one.place for one in report.places if one.files} == set(NAMES)
    left = [one for one in holding(shop.folder, MARK) if not _has_only_the_longer_key(shop.folder / one)]
    assert left == []
    assert others > 5
    assert len(holding(shop.folder, LIKE)) > 5


def _has_only_the_longer_key(file: Path) -> bool:
    """Return whether the marker stands there only within a key that has it as a part, and is somebody else's."""
    longer = MARK.join("ab").encode()
    rest = file.read_bytes().replace(longer, b"")
    return MARK.encode() not in rest and longer.decode() in (_decoded(file) + str(file.read_bytes()))


def test_the_rest_of_a_dataset_is_proved_and_the_request_is_named(shop: Shop) -> None:
    run_erasure(shop.task(), places(shop.store))
    proof = shop.store.reproduce_dataset("sales")
    assert proof.proved, proof
    assert proof.rows == 2  # of four, one was the user and one the friend
    assert proof.erased == {"GDPR-1": 2}


def test_the_receipt_holds_counts_and_neither_key_nor_hash(shop: Shop) -> None:
    run_erasure(shop.task(), places(shop.store))
    entries = shop.store.registry.audit(action="erase")
    assert [one.details["change"] for one in entries] == ["suppress", "erase"]
    assert set(entries[-1].details["places"]) == set(NAMES)
    (digests,) = shop.store.registry.suppressions(["user(user_id)"]).values()
    said = json.dumps([[one.object, dict(one.details)] for one in entries])
    assert not [one for one in (MARK, *digests) if one in said]
    assert shop.store.verify_audit().problems == ()


def test_loads_bring_nobody_back_until_the_erasure_is_lifted(shop: Shop) -> None:
    run_erasure(shop.task(), places(shop.store))
    report = shop.store.ingest("spending", rows(MARK, LIKE))
    assert (report.read, report.written, report.suppressed) == (2, 1, 1)
    assert "1 of erased keys dropped" in str(report)
    assert shop.store.ingest("spending", rows(MARK, total=-1)).quarantined == 0
    assert shop.store.lift_erasure("user", {"user_id": MARK}, request="CRM-8") == 1
    assert shop.store.lift_erasure("user", {"user_id": MARK}, request="CRM-8") == 0
    assert shop.store.ingest("spending", rows(MARK)).written == 1


def test_a_new_version_takes_over_nothing_of_an_erased_key(shop: Shop) -> None:
    run_erasure(shop.task(), places(shop.store))
    (service,) = definitions()
    spending = service.features[0]
    assert isinstance(spending, FeatureView)
    more = FeatureView(
        name="spending", entities=spending.entities, schema=[*spending.schema, Field(name="orders", dtype=Int64)]
    )
    shop.store.apply(more)
    assert shop.store.ingest("spending", [one | {"orders": 1} for one in rows(MARK)]).suppressed >= 1
    assert run_erasure(shop.task(dry_run=True), places(shop.store)).rows == 0


def test_a_lost_secret_stops_loads_rather_than_bring_people_back(shop: Shop) -> None:
    run_erasure(shop.task(), places(shop.store))
    secret = shop.folder / "data" / "keys" / "erasure.key"
    text = secret.read_text()
    assert secret.stat().st_mode & 0o077 == 0
    for wrong in (None, "another secret of twenty letters"):
        secret.unlink()
        if wrong is not None:
            secret.write_text(wrong)
        with pytest.raises(Exception, match="were erased, and the secret"):
            shop.store.ingest("spending", rows("b"))
        secret.write_text(text)
    assert shop.store.ingest("spending", rows("b")).written == 1


#: A program that erases, or loads while others erase.
ERASE = """
import sys
from featurestore import FeatureStore
from featurestore.erasure.running import places_of
with FeatureStore(sys.argv[1]) as store:
    print("ready", flush=True)
    store.erase("user", {"user_id": sys.argv[2]}, request="GDPR-1")
"""
#: It goes on until a file is there, and then once more.
LOAD = """
import itertools, sys, time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from featurestore import FeatureStore
with FeatureStore(sys.argv[1]) as store:
    print("ready", flush=True)
    for turn in itertools.count():
        last = Path(sys.argv[3]).exists()
        at = datetime.now(UTC) - timedelta(minutes=turn + 1)
        users = [sys.argv[2], f"user-{turn}"]
        store.ingest("spending", [{"user_id": one, "total": 1.0, "event_timestamp": at} for one in users])
        if turn % 3 == 0:
            store.materialize("spending")
        print("loaded", flush=True)
        if last:
            break
        time.sleep(0.05)
"""
#: The same.
PUSH = """
import itertools, sys, time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from featurestore import FeatureStore
with FeatureStore(sys.argv[1]) as store:
    print("ready", flush=True)
    for turn in itertools.count():
        last = Path(sys.argv[3]).exists()
        at = datetime.now(UTC) - timedelta(minutes=turn % 7 + 1)
        users = [sys.argv[2], f"user-{turn}"]
        done = store.push("spending", [{"user_id": one, "total": 1.0, "event_timestamp": at} for one in users])
        print(done.suppressed, flush=True)
        if turn % 10 == 0:
            store.flush_pushes(wait=False)
        if last:
            break
        time.sleep(0.005)
"""


Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def started() -> Iterator[Start]:
    running = []

    def start(program: str, *arguments: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", program, *arguments]
        process = Forked(command, stdout=subprocess.PIPE, text=True)
        running.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        return process

    yield start
    for process in running:
        if process.poll() is None:
            process.kill()
            process.communicate()


def test_an_erasure_that_is_killed_anywhere_is_finished_by_the_next(shop: Shop, started: Start) -> None:
    shop.store.close()
    for _ in range(2):
        process = started(ERASE, str(shop.folder), MARK)
        time.sleep(random.uniform(0.02, 1.0))
        process.send_signal(signal.SIGKILL)
        process.communicate()
    with FeatureStore(shop.folder) as store:
        again = Shop(store, shop.folder)
        assert store.get_batch_features("scoring", [{"user_id": "b", "friend_id": "b", "item_id": 1}], log=False)
        assert run_erasure(again.task(), places(store)).finished
        assert store.reproduce_dataset("sales").proved
        assert sum(store.reproduce_dataset("sales").erased.values()) == 2
    assert [one for one in holding(shop.folder, MARK) if not _has_only_the_longer_key(shop.folder / one)] == []


def test_loads_and_materializations_that_run_meanwhile_bring_nobody_back(
    shop: Shop, started: Start, tmp_path: Path
) -> None:
    process = started(LOAD, str(shop.folder), MARK, str(tmp_path / "over"))
    assert process.stdout is not None
    assert [process.stdout.readline() for _ in range(2)] == ["loaded\n"] * 2
    run_erasure(shop.task(), places(shop.store))
    (tmp_path / "over").touch()
    process.communicate(timeout=120)
    assert process.returncode == 0
    left = [one for one in holding(shop.folder, MARK) if not _has_only_the_longer_key(shop.folder / one)]
    assert left == []
    loads = shop.store.offline.loads(shop.store.registry.feature_view("spending").definition)
    assert all(one.rows_read == one.rows_written + one.rows_quarantined + one.rows_suppressed for one in loads)
    assert [one for one in loads if one.rows_suppressed]


def test_pushes_and_flushes_that_run_meanwhile_bring_nobody_back(shop: Shop, started: Start, tmp_path: Path) -> None:
    process = started(PUSH, str(shop.folder), MARK, str(tmp_path / "over"))
    assert process.stdout is not None
    before = [process.stdout.readline() for _ in range(5)]
    run_erasure(shop.task(), places(shop.store))
    (tmp_path / "over").touch()
    after, _ = process.communicate(timeout=120)
    assert process.returncode == 0
    assert set(before) == {"0\n"}
    assert after.splitlines()[-1] == "1"
    left = [one for one in holding(shop.folder, MARK) if not _has_only_the_longer_key(shop.folder / one)]
    assert left == []


def test_rows_of_the_log_are_erased_from_what_was_merged_too_and_counted_once(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_merging, "FAN", 2)
    log = shop.folder / "data" / "log"
    (whole,) = (log / "scoring").glob("[!.]*.parquet")
    table = pq.read_table(whole)
    for number, (start, rows) in enumerate(((0, 1), (1, 1), (2, 2)), start=1):
        write = log / "scoring" / name_of(Writes("abc", "1", number, number))
        pq.write_table(table.slice(start, rows), write)
        os.utime(write, (LONG_AGO, LONG_AGO))
    whole.unlink()
    assert LogMerger(log).turn().into == 1
    (merged,) = log_files(log / "scoring")
    before, logs = merged.stat(), place_named(shop.store, "serving log")
    with monkeypatch.context() as patched:

        def reads(file: Path) -> list[str]:
            assert file == merged, "the others may go while somebody looks who holds nothing"
            return columns_of(file)

        patched.setattr("featurestore.erasure.log_files.columns_of", reads)
        told = logs.erase(shop.task(dry_run=True))
    assert (told.rows, told.files) == (2, 2), "a file that counts, and what a killed worker left"
    with ThreadPoolExecutor() as threads:
        with rewriting(log / "scoring", wait=True):
            erasing = threads.submit(logs.erase, shop.task())
            time.sleep(0.3)
            assert not erasing.done(), "a merge that goes on would bring the rows back"
            assert holding(log, MARK)
        done = erasing.result()
    assert (done.rows, done.files) == (2, 2)
    assert holding(log, MARK) == []
    assert pq.read_table(merged).num_rows == 2
    assert merged.stat().st_mtime == pytest.approx(before.st_mtime + 1, abs=0.01), "retention goes by it"


def test_a_worker_that_logs_no_more_is_reported_and_not_waited_for_for_ever(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("featurestore.erasure.log_files._PATIENCE_SECONDS", 0.3)
    mark = shop.folder / "data" / "log" / WATERMARKS / "stuck.json"
    mark.write_text(json.dumps({"watermark": 1, "closed": False}))
    report = run_erasure(shop.task(), places(shop.store))
    assert not report.finished
    assert {one.place: one.waiting for one in report.places if one.waiting} == {
        "predictions and outcomes": 1,
        "serving log": 1,
    }


def test_the_places_of_the_monitor_are_declared_where_the_command_looks() -> None:
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]
    module, _, name = groups["featurestore.erasers"]["monitor"].partition(":")
    declared: Callable[..., Any] = getattr(import_module(module), name)
    assert declared is monitor_places
