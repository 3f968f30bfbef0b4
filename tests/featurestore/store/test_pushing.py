"""Push: served at once, kept for training, whatever happens in between."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from featurestore import Entity, FeatureService, FeatureStore, FeatureView, Field, PushSource, SharedView
from featurestore.errors import (
    ConfigError,
    DataError,
    ObjectNotFoundError,
    OfflineStoreError,
    OnlineStoreError,
    PushRefusedError,
    RegistryError,
    SchemaError,
    TimestampError,
)
from featurestore.pushing.segments import HEADER
from featurestore.types import Array, Embedding, Int64, String
from tests import forking

USER = Entity(name="user", join_keys=["user_id"], dtypes=[Int64])
VIEW = FeatureView(name="clicks", entities=[USER], schema=[Field(name="seen", dtype=Int64, ge=0)])
SERVICE = FeatureService(name="scoring", features=[VIEW])
NOW = datetime.now(UTC) - timedelta(minutes=5)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[FeatureStore]:
    with FeatureStore.init(tmp_path / "shop") as store:
        store.apply([VIEW, SERVICE])
        yield store


def row(user: int, seen: int | None, *, at: datetime = NOW, **more: Any) -> dict[str, Any]:
    return {"user_id": user, "seen": seen, "event_timestamp": at, **more}


def online(store: FeatureStore, *users: int, service: str = "scoring") -> list[Any]:
    found = store.get_online_features(service, [{"user_id": one} for one in users])
    values: list[Any] = found.to_dict()["seen"]
    return values


def offline(store: FeatureStore, *users: int, service: str = "scoring") -> list[Any]:
    now = datetime.now(UTC)
    asked = [{"user_id": one, "event_timestamp": now} for one in users]
    values: list[Any] = store.get_historical_features(asked, service).to_polars()["seen"].to_list()
    return values


def segments(store: FeatureStore) -> list[Path]:
    """Return the segments that have rows."""
    files = sorted(store.config.path(store.config.push.path).glob("*.wal"))
    return [one for one in files if one.stat().st_size > len(HEADER)]


def test_a_pushed_row_is_served_at_once_and_joined_after_the_flush(store: FeatureStore) -> None:
    report = store.push("clicks", [row(1, 3), row(2, None)])
    assert (report.view, report.accepted, report.rejected) == ("clicks@1", 2, ())
    assert str(report) == "clicks@1: 2 rows pushed"
    assert online(store, 1, 2, 3) == [3, None, None]
    assert offline(store, 1) == [None]
    flushed = store.flush_pushes()
    assert (flushed.rows, len(flushed.loads)) == (2, 1)
    assert flushed.loads[0].load_id.startswith("push-")
    assert offline(store, 1) == [3]
    assert segments(store) == []
    assert store.flush_pushes().loads == ()


def test_rows_are_pushed_as_they_are_ingested(store: FeatureStore) -> None:
    table = pa.table({"user_id": [1], "seen": [1], "event_timestamp": pa.array([NOW], pa.timestamp("us", "UTC"))})
    frames = (table, table.to_batches()[0], table.to_reader(), pl.from_arrow(table), table.to_pandas(), [row(1, 1)])
    for number, frame in enumerate(frames, start=1):
        assert store.push("clicks", frame).accepted == 1
        assert store.status()["push"]["rows"] == number
    assert isinstance(frames[4], pd.DataFrame)
    assert store.push("clicks", []).accepted == 0
    assert store.push("clicks", table.slice(0, 0)).accepted == 0


def test_a_feature_that_is_left_out_is_null(store: FeatureStore) -> None:
    wider = replace(
        VIEW, schema=[*VIEW.schema, Field(name="tags", dtype=Array(String)), Field(name="e", dtype=Embedding(2))]
    )
    store.apply(replace(SERVICE, features=[wider]))
    report = store.push("clicks", [{"user_id": 1, "event_timestamp": NOW}])
    assert (report.accepted, report.rejected, report.notes) == (1, (), ())
    store.push("clicks", [{"user_id": 2, "event_timestamp": NOW, "tags": ["a"]}])
    for flushed in (False, True):
        if flushed:
            assert store.flush_pushes().rows >= 2
        found = store.get_online_features("scoring", [{"user_id": 1}, {"user_id": 2}])
        assert found.to_dict() | {"user_id": 0} == {
            "user_id": 0,
            "seen": [None] * 2,
            "tags": [None, ["a"]],
            "e": [None] * 2,
        }
        assert found.statuses["clicks"] == ["PRESENT"] * 2
    assert offline(store, 1, 2) == [None, None]


def test_the_newest_event_stays_and_of_equal_ones_the_later_push(store: FeatureStore) -> None:
    store.push("clicks", [row(1, 1), row(1, 2), row(2, 5)])
    store.push("clicks", [row(1, 3), row(2, 4, at=NOW - timedelta(seconds=1))])
    assert online(store, 1, 2) == [3, 5]
    store.flush_pushes()
    assert online(store, 1, 2) == offline(store, 1, 2) == [3, 5]


def test_bad_rows_are_told_and_kept_nowhere_and_the_others_are_served(store: FeatureStore) -> None:
    ahead = datetime.now(UTC) + timedelta(hours=1)
    nobody = {"user_id": None, "seen": 1, "event_timestamp": NOW}
    report = store.push("clicks", [row(1, -1), row(2, 2), row(3, 3, at=ahead), nobody, row(4, 4)])
    assert [(one.row, one.reason) for one in report.rejected] == [
        (0, "seen is under 0"),
        (2, "event_timestamp lies in the future"),
        (3, "user_id is null"),
    ]
    assert "2 rows pushed, 3 rejected" in str(report)
    store.flush_pushes()
    assert online(store, 1, 2, 3, 4) == offline(store, 1, 2, 3, 4) == [None, 2, None, 4]
    assert store.quarantine("clicks") is None


def test_a_view_that_rejects_refuses_the_whole_push(tmp_path: Path) -> None:
    with FeatureStore.init(tmp_path / "shop") as store:
        store.apply(FeatureService(name="scoring", features=[replace(VIEW, on_bad_rows="reject")]))
        with pytest.raises(PushRefusedError, match="bad row: row 1, where seen is under 0, and 1 more") as caught:
            store.push("clicks", [row(1, 1), row(2, -2), row(3, -3)])
        assert (caught.value.field, caught.value.row, len(caught.value.reasons)) == ("seen", 1, 2)
        assert online(store, 1) == [None]
        assert segments(store) == []


def test_a_view_that_warns_serves_rows_that_break_checks_of_values(tmp_path: Path) -> None:
    with FeatureStore.init(tmp_path / "shop") as store:
        store.apply(FeatureService(name="scoring", features=[replace(VIEW, on_bad_rows="warn")]))
        report = store.push("clicks", [row(1, -1), row(2, 2, at=datetime.now(UTC) + timedelta(hours=1))])
        assert dict(report.warned) == {"seen is under 0": 1}
        assert [one.row for one in report.rejected] == [1]
        store.flush_pushes()
        assert online(store, 1, 2) == offline(store, 1, 2) == [-1, None]


@pytest.mark.parametrize(
    ("rows", "error", "says"),
    [
        ([{"seen": 1, "event_timestamp": NOW}], SchemaError, 'no column "user_id"'),
        ([{"seen": 1, "user_id": 1}], SchemaError, 'no column "event_timestamp"'),
        ([row(1, 1, sen=2)], SchemaError, '"clicks" has no column "sen" to push to'),
        ([row(1, 1) | {"seen": "many"}], SchemaError, 'Column "seen"'),
        ([row(1, 1, at=NOW.replace(tzinfo=None))], TimestampError, "no time zone"),
        ("clicks.csv", DataError, "is not a table"),
    ],
)
def test_rows_that_cannot_be_taken_are_refused_and_nothing_is_kept(
    store: FeatureStore, rows: Any, error: type[DataError], says: str
) -> None:
    with pytest.raises(error, match=says):
        store.push("clicks", rows)
    assert segments(store) == []


def test_views_that_cannot_be_pushed_to_say_so(store: FeatureStore, tmp_path: Path) -> None:
    with pytest.raises(ObjectNotFoundError, match="clik"):
        store.push("clik", [row(1, 1)])
    store.apply(replace(VIEW, name="codes", schema=[Field(name="seen", dtype=Int64, unique_within="table")]))
    with pytest.raises(DataError, match='"seen" may not repeat within the table') as caught:
        store.push("codes", [row(1, 1)])
    assert "featurestore ingest codes" in caught.value.hint
    (tmp_path / "shop" / "data" / "replays" / "july").mkdir(parents=True)
    with FeatureStore(tmp_path / "shop", replay="july") as replay, pytest.raises(ConfigError, match="takes no pushes"):
        replay.push("clicks", [row(1, 1)])


def test_a_view_of_another_project_is_pushed_to_by_its_owner_only(tmp_path: Path) -> None:
    shared = f'registry = "sqlite:///{tmp_path}/registry.db"\nonline = "lmdb://{tmp_path}/online"\n'
    shared += f'[offline]\npath = "{tmp_path}/offline"\n'
    for name in ("sales", "ads"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "featurestore.toml").write_text(f'project = "{name}"\n{shared}')
    with FeatureStore(tmp_path / "sales") as sales, FeatureStore(tmp_path / "ads") as ads:
        sales.apply(VIEW)
        sales.share("clicks", with_project="ads")
        ads.apply(FeatureService(name="campaign", features=[SharedView("sales/clicks")]))
        for name in ("sales/clicks", "clicks"):
            with pytest.raises(RegistryError, match='belongs to project "sales"'):
                ads.push(name, [row(1, 1)])
        sales.push("sales/clicks", [row(1, 1)])
        assert online(ads, 1, service="campaign") == [1]


def test_values_may_not_repeat_within_a_push_where_they_may_not_within_a_load(tmp_path: Path) -> None:
    with FeatureStore.init(tmp_path / "shop") as store:
        strict = Field(name="seen", dtype=Int64, unique_within="load", max_null_rate=0.1, not_null=True)
        store.apply(FeatureService(name="scoring", features=[replace(VIEW, schema=[strict])]))
        report = store.push("clicks", [row(1, 1), row(2, 1)])
        assert [(one.row, one.reason) for one in report.rejected] == [(1, "seen repeats within the load")]
        store.push("clicks", [row(3, 1)])
        assert store.flush_pushes().rows == 2
        assert offline(store, 1, 2, 3) == [1, None, 1]


def test_no_gate_refuses_rows_that_were_acknowledged(tmp_path: Path) -> None:
    with FeatureStore.init(tmp_path / "shop") as store:
        careful = Field(name="seen", dtype=Int64, max_null_rate=0.1)
        store.apply(FeatureService(name="scoring", features=[replace(VIEW, schema=[careful], on_bad_rows="reject")]))
        store.push("clicks", [row(1, None), row(2, None), row(3, 3)])
        assert store.flush_pushes().rows == 3
        assert offline(store, 3) == [3]


def test_all_live_versions_get_the_rows_and_a_named_one_alone(store: FeatureStore) -> None:
    store.promote("scoring@1")
    wider = replace(VIEW, schema=[*VIEW.schema, Field(name="plan", dtype=String)])
    store.apply(replace(SERVICE, features=[wider]))
    report = store.push("clicks", [row(1, 1, plan="basic")])
    assert report.view == "clicks@2"
    store.push("clicks@1", [row(2, 2)])
    store.flush_pushes()
    for look in (online, offline):
        assert look(store, 1, 2, service="scoring@1") == [1, 2]
        assert look(store, 1, 2, service="scoring@2") == [1, None]


def test_a_version_that_is_applied_between_push_and_flush_gets_the_rows(store: FeatureStore) -> None:
    store.promote("scoring@1")
    store.push("clicks", [row(1, 1)])
    wider = replace(VIEW, schema=[*VIEW.schema, Field(name="plan", dtype=String)])
    store.apply(replace(SERVICE, features=[wider]))
    store.flush_pushes()
    for look in (online, offline):
        assert look(store, 1, service="scoring@1") == look(store, 1, service="scoring@2") == [1]


def test_the_version_that_took_a_row_keeps_it_though_it_is_live_no_more(store: FeatureStore) -> None:
    store.push("clicks", [row(1, 1)])
    other = replace(VIEW, schema=[Field(name="seen", dtype=String)])
    store.apply(replace(SERVICE, features=[other]), allow_breaking=True)
    report = store.flush_pushes()
    assert ["clicks@2 is live too, and could not take rows of clicks@1" in one for one in report.notes] == [True]
    assert offline(store, 1, service="scoring@1") == [1]


def test_a_live_version_that_cannot_take_the_rows_is_told(store: FeatureStore) -> None:
    store.promote("scoring@1")
    store.apply(
        replace(SERVICE, features=[replace(VIEW, schema=[Field(name="seen", dtype=String)])]), allow_breaking=True
    )
    report = store.push("clicks", [{"user_id": 1, "seen": "many", "event_timestamp": NOW}])
    assert "clicks@1 is live too, and could not take these rows" in report.notes[0]
    assert online(store, 1) == [None]


def test_arrays_embeddings_and_a_source_of_its_own_go_through(tmp_path: Path) -> None:
    source = PushSource(name="app", timestamp_field="at", created_timestamp_column="sent_at")
    schema = [Field(name="seen", dtype=Array(Int64)), Field(name="e", dtype=Embedding(2))]
    view = FeatureView(name="clicks", entities=[USER], schema=schema, source=source)
    with FeatureStore.init(tmp_path / "shop") as store:
        store.apply(FeatureService(name="scoring", features=[view]))
        first = {"user_id": 1, "seen": [1, None], "e": [0.5, 1.5], "at": NOW, "sent_at": NOW}
        report = store.push("clicks", [first, {**first, "user_id": 2, "e": [0.5]}, {**first, "sent_at": None}])
        assert [(one.row, one.reason) for one in report.rejected] == [
            (1, "e has an embedding of another length, or with a null in it")
        ]
        assert online(store, 1) == [[1, None]]
        store.flush_pushes()
        assert online(store, 1) == offline(store, 1) == [[1, None]]


def test_rows_of_erased_keys_are_dropped_and_counted(store: FeatureStore) -> None:
    store.push("clicks", [row(1, 1), row(2, 2)])
    store.erase("user", {"user_id": 1}, request="GDPR-1")
    assert online(store, 1, 2) == [None, 2]
    report = store.push("clicks", [row(1, 1), row(3, 3)])
    assert (report.accepted, report.suppressed) == (1, 1)
    assert "1 of erased keys dropped" in str(report)
    assert store.push("clicks", [row(1, 1)]).accepted == 0
    store.flush_pushes()
    assert online(store, 1, 2, 3) == offline(store, 1, 2, 3) == [None, 2, 3]
    store.lift_erasure("user", {"user_id": 1}, request="GDPR-1")
    assert store.push("clicks", [row(1, 1)]).accepted == 1


def test_what_waits_is_in_the_status(store: FeatureStore) -> None:
    assert store.status()["push"] == {"rows": 0, "oldest": None, "damage": None}
    before = datetime.now(UTC)
    store.push("clicks", [row(1, 1), row(2, 1)])
    found = store.status()["push"]
    assert found["rows"] == 2
    assert before <= datetime.fromisoformat(found["oldest"]) <= datetime.now(UTC)


def test_a_store_that_is_closed_has_brought_its_rows_into_the_offline_store(store: FeatureStore) -> None:
    store.push("clicks", [row(1, 1)])
    store.close()
    assert segments(store) == []
    assert offline(store, 1) == [1]


def test_the_background_flushes_by_age_and_by_rows(tmp_path: Path) -> None:
    FeatureStore.init(tmp_path / "shop").close()
    settings = tmp_path / "shop" / "featurestore.toml"
    text = settings.read_text()
    for limits in ("flush_seconds = 0.2", "flush_rows = 2"):
        settings.write_text(f"{text}\n[push]\n{limits}\n")
        with FeatureStore(tmp_path / "shop") as store:
            store.apply([VIEW, SERVICE])
            store.push("clicks", [row(1, 1), row(2, 1)])
            deadline = time.monotonic() + 30
            while segments(store) and time.monotonic() < deadline:
                time.sleep(0.05)
            assert segments(store) == []


def test_a_program_that_ends_without_closing_its_store_ends_quietly_and_loses_nothing(store: FeatureStore) -> None:
    settings = store.config.root / "featurestore.toml"
    settings.write_text(f"{settings.read_text()}\n[push]\nflush_seconds = 0.05\n")
    program = """
import sys, threading, time
from featurestore import FeatureStore
from test_pushing import row
store = FeatureStore(sys.argv[1])
store.push("clicks", [row(1, 1)])
threading.Thread(target=lambda: (time.sleep(1), store.push("clicks", [row(2, 2)]), time.sleep(0.5))).start()
"""
    path = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})"
    command = [sys.executable, "-c", path + program, str(store.config.root)]
    done = forking.run(command, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    store.flush_pushes()
    assert online(store, 1, 2) == offline(store, 1, 2) == [1, 2]


def test_pushes_go_on_while_the_offline_store_is_away(store: FeatureStore, tmp_path: Path) -> None:
    store.push("clicks", [row(1, 1)])
    folder = tmp_path / "shop" / "data" / "offline"
    folder.parent.mkdir(exist_ok=True)
    folder.write_text("a file in its place")
    with pytest.raises(OfflineStoreError):
        store.flush_pushes()
    store.push("clicks", [row(2, 2)])
    assert online(store, 1, 2) == [1, 2]
    folder.unlink()
    assert store.flush_pushes().rows == 2
    assert offline(store, 1, 2) == [1, 2]


def test_a_segment_that_is_damaged_stays_is_told_and_holds_up_no_other(
    store: FeatureStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:  # three segments wait
        patch.setattr(store.offline, "load_pushed", refuses)
        for user in (1, 2, 3):
            store.push("clicks", [row(user, user)])
            with pytest.raises(OfflineStoreError, match="away"):
                store.flush_pushes()
    first, *_ = segments(store)
    content = bytearray(first.read_bytes())
    first.write_bytes(content[:-1])
    for rows in (2, 0):
        with pytest.raises(OfflineStoreError, match=f"{first} is damaged") as caught:
            store.flush_pushes()
        assert (f"Of the other segments: {rows} pushed rows" in caught.value.hint) == bool(rows)
        assert segments(store) == [first]
    assert offline(store, 1, 2, 3) == [None, 2, 3]
    assert online(store, 1, 2, 3) == [1, 2, 3]
    first.write_bytes(content)
    assert store.flush_pushes().rows == 1
    assert offline(store, 1, 2, 3) == [1, 2, 3]


def test_a_damaged_segment_that_grows_refuses_pushes_and_holds_up_no_other(
    store: FeatureStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(store.offline, "load_pushed", refuses)
        store.push("clicks", [row(1, 1)])
        with pytest.raises(OfflineStoreError, match="away"):
            store.flush_pushes()
    store.push("clicks", [row(2, 2)])
    newest = segments(store)[-1]
    newest.write_bytes(newest.read_bytes()[:-1])
    with pytest.raises(OfflineStoreError, match="is damaged"):
        store.push("clicks", [row(3, 3)])
    with pytest.raises(OfflineStoreError, match="is damaged"):
        store.flush_pushes()
    assert segments(store) == [newest]
    assert (offline(store, 1), online(store, 1, 2, 3)) == ([1], [1, 2, None])


def refuses(*_: object, **__: object) -> None:
    raise OfflineStoreError("away")


def test_a_push_that_the_online_store_refuses_leaves_nothing(
    store: FeatureStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.push("clicks", [row(1, 1)])

    def full(*_: object) -> None:
        raise OnlineStoreError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(store.online, "put_all", full)
        with pytest.raises(OnlineStoreError, match="full"):
            store.push("clicks", [row(2, 2)])
    store.push("clicks", [row(3, 3)])
    assert store.flush_pushes().rows == 2
    assert offline(store, 1, 2, 3) == [1, None, 3]


def test_a_row_that_was_written_down_when_its_process_died_is_served_after_the_flush(store: FeatureStore) -> None:
    program = """
import os, sys
from featurestore import FeatureStore
from test_pushing import row
store = FeatureStore(sys.argv[1])
store.online.put_all = lambda rows: os._exit(9)
store.push("clicks", [row(1, 1)])
"""
    path = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})"
    done = forking.run([sys.executable, "-c", path + program, str(store.config.root)], timeout=60)
    assert done.returncode == 9
    assert online(store, 1) == [None]
    store.flush_pushes()
    assert online(store, 1) == offline(store, 1) == [1]


def test_a_flush_that_dies_anywhere_is_finished_by_the_next_without_doubling(
    store: FeatureStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = [("online", "settle"), ("offline", "load_pushed")]
    for number, (part, step) in enumerate(steps, start=1):
        store.push("clicks", [row(number, 7)])
        with monkeypatch.context() as patch:

            def dies(*_: object, **__: object) -> None:
                raise OfflineStoreError("died")

            patch.setattr(getattr(store, part), step, dies)
            with pytest.raises(OfflineStoreError, match="died"):
                store.flush_pushes()
        store.flush_pushes()
    store.flush_pushes()
    assert [load.rows_written for load in store.loads("clicks")] == [1, 1]
    assert online(store, 1, 2) == offline(store, 1, 2) == [7, 7]


def test_a_row_of_the_same_instant_that_is_loaded_after_a_flush_that_died_is_not_lost(
    store: FeatureStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.push("clicks", [row(1, 1)])
    with monkeypatch.context() as patch:

        def dies(*_: object) -> None:
            raise OfflineStoreError("died")

        patch.setattr(store.online, "settle", dies)
        with pytest.raises(OfflineStoreError):
            store.flush_pushes()
    store.ingest("clicks", [row(1, 2)])
    store.materialize("clicks")
    assert online(store, 1) == offline(store, 1) == [2]


def test_a_flush_waits_for_a_materialization_and_a_push_does_not(
    store: FeatureStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go = threading.Event(), threading.Event()

    def slow(*_: object, **__: object) -> Any:
        begun.set()
        assert go.wait(30)
        raise OfflineStoreError("enough")

    monkeypatch.setattr("featurestore.store.lookups.materialize", slow)

    def run() -> None:
        with pytest.raises(OfflineStoreError):
            store.materialize("clicks")

    thread = threading.Thread(target=run)
    thread.start()
    assert begun.wait(30)
    store.push("clicks", [row(1, 1)])
    assert store.flush_pushes(wait=False).busy
    assert online(store, 1) == [1]
    go.set()
    thread.join()
    assert store.flush_pushes().rows == 1


def test_a_restore_keeps_what_was_pushed_and_is_in_no_table_yet(store: FeatureStore) -> None:
    store.ingest("clicks", [row(1, 1)], load_id="good")
    store.ingest("clicks", [row(2, 2)], load_id="bad")
    store.materialize("clicks")
    store.push("clicks", [row(3, 3)])
    store.restore("clicks", to="good")
    assert online(store, 1, 2, 3) == offline(store, 1, 2, 3) == [1, None, 3]


def test_a_restore_that_is_to_takes_pushes_back_whether_they_are_in_the_table_or_not(store: FeatureStore) -> None:
    store.ingest("clicks", [row(1, 1)], load_id="good")
    store.materialize("clicks")
    store.push("clicks", [row(1, 2)])
    store.flush_pushes()
    store.push("clicks", [row(2, 2)])
    store.restore("clicks", to="good", pushes=True)
    store.flush_pushes()
    assert online(store, 1, 2) == offline(store, 1, 2) == [1, None]


def test_a_service_whose_rows_were_pushed_is_not_behind(store: FeatureStore) -> None:
    store.push("clicks", [row(1, 1)])
    store.flush_pushes()
    assert store.promote("scoring@1") is not None


def test_many_threads_push_and_each_is_served_what_it_was_acknowledged(store: FeatureStore) -> None:
    wrong: list[object] = []

    def work(user: int) -> None:
        for seen in range(15):
            store.push("clicks", [row(user, seen, at=NOW + timedelta(seconds=seen))])
            if online(store, user) != [seen]:
                wrong.append((user, seen))

    threads = [threading.Thread(target=work, args=(user,)) for user in range(8)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert wrong == []
    assert store.flush_pushes().rows == 8 * 15
    assert offline(store, *range(8)) == [14] * 8


def test_a_version_that_comes_to_serve_has_what_was_pushed_before_it_was_live(store: FeatureStore) -> None:
    wider = replace(VIEW, schema=[*VIEW.schema, Field(name="plan", dtype=String)])
    store.promote("scoring@1")
    store.push("clicks", [row(1, 1)])
    store.apply([wider, replace(SERVICE, features=[wider])])
    store.promote("scoring@2")
    assert online(store, 1) == [1]
    store.flush_pushes()
    assert online(store, 1) == offline(store, 1) == [1]


def test_a_version_that_was_not_fed_serves_what_was_pushed_meanwhile_when_it_is_back(tmp_path: Path) -> None:
    wider = replace(VIEW, schema=[*VIEW.schema, Field(name="plan", dtype=String)])
    with FeatureStore.init(tmp_path / "shop") as store:
        store.apply([VIEW, SERVICE])
        store.apply([wider, replace(SERVICE, features=[wider])])
        store.promote("scoring@2")
        store.push("clicks", [row(1, 1, plan="basic")])
        assert online(store, 1, service="scoring@1") == [None]
        store.promote("scoring@1", alias="canary", share=0.5)
        assert online(store, 1, service="scoring@1") == [1]
        store.flush_pushes()
        assert online(store, 1, service="scoring@1") == offline(store, 1, service="scoring@1") == [1]


def test_a_push_reaches_a_version_that_comes_to_serve_while_the_push_is_under_way(
    store: FeatureStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    wider = replace(VIEW, schema=[*VIEW.schema, Field(name="plan", dtype=String)])
    store.promote("scoring@1")
    commit = store._pusher._commit

    def after_a_promotion(push: Any) -> None:
        with FeatureStore(store.config.root) as other:
            other.apply([wider, replace(SERVICE, features=[wider])])
            other.promote("scoring@2", catch_up=True)
        commit(push)

    monkeypatch.setattr(store._pusher, "_commit", after_a_promotion)
    assert store.push("clicks", [row(1, 1)]).view == "clicks@1"
    assert online(store, 1, service="scoring@2") == online(store, 1, service="scoring@1") == [1]
    store.flush_pushes()
    for version in ("scoring@1", "scoring@2"):
        assert online(store, 1, service=version) == offline(store, 1, service=version) == [1]
