"""Tables as a whole: back to what they were, and rid of what nobody needs, offline and online."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from featurestore import Entity, FeatureService, FeatureStore, FeatureView, Field, FileSource
from featurestore.definitions import storage_id
from featurestore.errors import ObjectNotFoundError, OfflineStoreError, RegistryError, TimestampError
from featurestore.materialize import materialize
from featurestore.offline.tables.garbage import Garbage
from featurestore.settings.retention import RetentionConfig
from featurestore.settings.sections import OfflineConfig
from featurestore.types import Float64, Int64

NOON = datetime(2024, 1, 1, 12, tzinfo=UTC)
USER = Entity(name="user", join_keys=["user_id"], dtypes=[Int64])
VIEW = FeatureView(name="spending", entities=[USER], schema=[Field(name="total", dtype=Float64)])
SERVICE = FeatureService(name="scoring", features=[VIEW])
LATER = timedelta(days=40)
USERS = [1, 2, 3]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[FeatureStore]:
    with FeatureStore.init(tmp_path / "shop") as store:
        store.apply([VIEW, SERVICE])
        yield store


def load(store: FeatureStore, load_id: str, total: float, *users: int, hour: int = 0, view: str = "spending") -> None:
    at = NOON + timedelta(hours=hour)
    rows = [{"user_id": user, "total": total, "event_timestamp": at} for user in users]
    assert store.ingest(view, rows, load_id=load_id).written == len(rows)


def offline(store: FeatureStore, service: str = "scoring") -> list[float | None]:
    rows = [{"user_id": user, "event_timestamp": NOON + timedelta(days=30)} for user in USERS]
    found: list[float | None] = store.get_historical_features(rows, service).to_polars()["total"].to_list()
    return found


def online(store: FeatureStore, service: str = "scoring") -> list[float | None]:
    found: list[float | None] = store.get_online_features(service, [{"user_id": one} for one in USERS]).to_dict()[
        "total"
    ]
    return found


def states(store: FeatureStore) -> dict[str, bool]:
    return {one.load_id: one.withdrawn_at is None for one in store.loads("spending")}


def kept(store: FeatureStore, **retention: timedelta | None) -> None:
    config = store.config.model_copy(update={"retention": RetentionConfig(**retention)})
    store.close()
    store.config = config


def removed(found: tuple[Garbage, ...], kind: str) -> list[str]:
    return [one.what for one in found if one.kind == kind]


# Restore


def test_a_restore_takes_the_loads_since_out_offline_and_online(store: FeatureStore) -> None:
    load(store, "good", 1.0, 1, 2)
    load(store, "bad", 99.0, 1, 3, hour=1)
    store.materialize("spending")
    assert offline(store) == online(store) == [99.0, 1.0, 99.0]
    report = store.restore("spending", to="good", reason="a bug upstream")
    assert offline(store) == online(store) == [1.0, 1.0, None]
    assert (report.withdrawn, report.rows_before, report.rows_after, report.online) == (("bad",), 4, 2, 2)
    assert states(store) == {"good": True, "bad": False}
    (entry,) = store.registry.audit(action="restore")
    assert entry.details["reason"] == "a bug upstream"
    assert entry.details["withdrawn"] == ["bad"]
    assert store.status()["views"][0]["rows"] == 2


def test_a_withdrawn_load_may_be_ingested_again_under_its_id_and_is_the_newest_then(store: FeatureStore) -> None:
    load(store, "one", 1.0, 1)
    load(store, "two", 2.0, 1)
    load(store, "three", 3.0, 1)
    store.restore("spending", to="one")
    load(store, "three", 30.0, 1)
    load(store, "two", 20.0, 1)
    assert [(one.load_id, one.order) for one in store.loads("spending")] == [("one", 1), ("three", 4), ("two", 5)]
    assert offline(store)[0] == 20.0
    assert store.ingest("spending", [], load_id="two").skipped == 1


def test_a_restore_of_a_restore_brings_the_loads_back(store: FeatureStore) -> None:
    for number, load_id in enumerate(("one", "two", "three")):
        load(store, load_id, float(number), 1, hour=number)
    store.materialize("spending")
    store.restore("spending", to="one")
    assert online(store)[0] == 0.0
    report = store.restore("spending", to="three")
    assert set(report.reinstated) == {"two", "three"}
    assert offline(store)[0] == online(store)[0] == 2.0
    assert all(states(store).values())


def test_an_instant_leads_to_what_readers_saw_then(store: FeatureStore) -> None:
    load(store, "one", 1.0, 1)
    then = datetime.now(UTC)
    load(store, "two", 2.0, 1, hour=1)
    store.restore("spending", to=then)
    assert offline(store)[0] == 1.0
    store.restore("spending", to=datetime.now(UTC).isoformat())
    assert offline(store)[0] == 1.0
    with pytest.raises(ObjectNotFoundError, match="had no rows at 2020") as found:
        store.restore("spending", to="2020-01-01T00:00:00Z")
    assert "Its first load was published at" in found.value.hint


def test_a_restore_says_that_the_source_still_has_what_was_withdrawn(store: FeatureStore) -> None:
    """Else the ingest of the next night would undo it without a word."""
    (store.config.root / "orders").mkdir()
    good, bad = (store.config.root / "orders" / f"{name}.csv" for name in ("good", "bad"))
    sourced = replace(VIEW, name="sourced", source=FileSource(path="orders/*.csv"))
    store.apply([VIEW, SERVICE, sourced])
    good.write_text("user_id,total,event_timestamp\n1,1,2024-01-01T12:00:00Z\n")
    (first,) = store.ingest("sourced").loads
    bad.write_text("user_id,total,event_timestamp\n1,-1,2024-01-02T12:00:00Z\n")
    store.ingest("sourced")
    (note,) = store.restore("sourced", to=first.load_id).notes
    assert "are read again by the next featurestore ingest sourced: mend the source before it" in note
    bad.unlink()
    assert store.ingest("sourced").loads == ()
    assert store.restore("sourced", to=first.load_id).notes == ()
    load(store, "one", 1, 1)
    load(store, "two", 2, 1)
    assert store.restore("spending", to="one").notes == ()  # who passed the rows knows them


def test_what_cannot_be_restored_to_is_said(store: FeatureStore) -> None:
    with pytest.raises(ObjectNotFoundError, match="never ingested"):
        store.restore("spending", to="one")
    load(store, "one", 1.0, 1)
    with pytest.raises(ObjectNotFoundError, match='no load "oen"') as found:
        store.restore("spending", to="oen")
    assert 'Did you mean "one"?' in found.value.hint
    with pytest.raises(TimestampError, match="no time zone"):
        store.restore("spending", to="2024-01-01T00:00:00")
    with pytest.raises(ObjectNotFoundError):
        store.restore("nothing", to="one")


def test_restoring_what_is_there_changes_nothing(store: FeatureStore) -> None:
    load(store, "one", 1.0, 1)
    before = store.offline.table_version(VIEW)
    report = store.restore("spending", to="one")
    assert (report.withdrawn, report.reinstated) == ((), ())
    assert store.offline.table_version(VIEW) == before
    assert store.registry.audit(action="restore") == []


def test_a_restore_that_died_before_the_online_rows_is_finished_by_the_next_one(store: FeatureStore) -> None:
    load(store, "good", 1.0, 1)
    load(store, "bad", 99.0, 1, 3, hour=1)
    store.materialize("spending")
    store.offline.restore(VIEW, store.offline.find_state(VIEW, "good"), who="ada")
    assert online(store) == [99.0, None, 99.0]
    store.restore("spending", to="good")
    assert online(store) == [1.0, None, None]


def test_a_materialization_after_a_restore_leaves_no_row_that_was_taken_back(store: FeatureStore) -> None:
    load(store, "good", 1.0, 1)
    load(store, "bad", 99.0, 1, 3, hour=1)
    store.materialize("spending")
    store.offline.restore(VIEW, store.offline.find_state(VIEW, "good"), who="ada")
    store.materialize("spending")
    assert online(store) == [1.0, None, None]


def test_rows_of_a_materialization_that_died_are_taken_back_too(store: FeatureStore) -> None:
    load(store, "first", 1.0, 1, 2)
    load(store, "second", 5.0, 1, 3, hour=1)
    # It dies before it is entered.
    materialize(VIEW, store.offline, store.online, now=datetime.now(UTC))
    assert online(store) == [5.0, 1.0, 5.0]
    store.restore("spending", to="first")
    store.materialize("spending")
    assert online(store) == [1.0, 1.0, None]


def test_a_view_that_was_never_materialized_stays_so(store: FeatureStore) -> None:
    load(store, "one", 1.0, 1)
    load(store, "two", 2.0, 1)
    assert store.restore("spending", to="one").online is None
    assert online(store) == [None, None, None]


def test_a_restore_leads_back_beyond_a_compaction_and_after_its_files_are_gone(store: FeatureStore) -> None:
    for number, load_id in enumerate(("one", "two", "three")):
        load(store, load_id, float(number), 1, 2, hour=number)
    store.compact("spending")
    store.restore("spending", to="two")
    assert offline(store)[0] == 1.0
    store.compact("spending")
    store.gc(now=datetime.now(UTC) + LATER)
    store.restore("spending", to="one")  # only a compacted file has its rows by now
    assert offline(store)[0] == 0.0
    assert states(store) == {"one": True, "two": False, "three": False}
    store.gc(now=datetime.now(UTC) + LATER)
    with pytest.raises(OfflineStoreError, match="are gone") as found:
        store.restore("spending", to="three")
    assert "[retention] history" in found.value.hint
    assert offline(store)[0] == 0.0


def test_a_load_that_came_again_with_other_rows_does_not_stand_for_the_first(store: FeatureStore) -> None:
    load(store, "first", 1.0, 1)
    load(store, "second", 2.0, 2)
    then = datetime.now(UTC)
    store.restore("spending", to="first")
    load(store, "second", 3.0, 2)
    store.compact("spending")
    kept(store, history=timedelta())
    for file in store.offline.table(VIEW).path.glob("*.parquet"):
        os.utime(file, (0, 0))
    store.gc()
    with pytest.raises(OfflineStoreError, match="are gone"):
        store.restore("spending", to=then)
    assert offline(store) == [1.0, 3.0, None]
    store.restore("spending", to="first")
    (file,) = store.offline.table(VIEW).snapshot().files
    assert (file.rows, file.ordered) == (1, True)  # what is left of a compacted file is still


def test_pieces_of_the_source_that_were_withdrawn_are_read_again(store: FeatureStore) -> None:
    folder = store.config.root / "files"
    folder.mkdir()
    view = replace(VIEW, name="sourced", source=FileSource(path="files/*.csv"))
    store.apply([view, FeatureService(name="sourced_service", features=[view])])
    for number in range(2):
        (folder / f"{number}.csv").write_text(
            f"user_id,total,event_timestamp\n1,{number},2024-01-0{number + 1}T00:00:00Z\n"
        )
        assert store.ingest("sourced").written == 1
    assert offline(store, "sourced_service")[0] == 1.0
    store.restore("sourced", to=store.loads("sourced")[0].load_id)
    assert offline(store, "sourced_service")[0] == 0.0
    report = store.ingest("sourced")
    assert (report.written, report.skipped) == (1, 1)
    assert offline(store, "sourced_service")[0] == 1.0


def test_all_live_versions_go_back_together(store: FeatureStore) -> None:
    load(store, "one", 1.0, 1)
    store.promote("scoring@1", catch_up=True)
    wider = replace(VIEW, schema=[*VIEW.schema, Field(name="orders", dtype=Int64)])
    store.apply([wider, FeatureService(name="scoring", features=[wider])])
    at = NOON + timedelta(hours=1)
    for total in (2.0, 3.0):
        store.ingest("spending", [{"user_id": 1, "total": total, "orders": 1, "event_timestamp": at}])
        at += timedelta(hours=1)
    assert offline(store, "scoring@1")[0] == offline(store, "scoring@2")[0] == 3.0
    report = store.restore("spending", to=store.loads("spending")[1].load_id)
    assert [one.view for one in report.also] == ["spending@1"]
    assert offline(store, "scoring@1")[0] == offline(store, "scoring@2")[0] == 2.0


def test_a_view_of_another_project_is_its_owners(store: FeatureStore) -> None:
    for refused in (store.compact, store.loads):
        with pytest.raises(RegistryError, match='belongs to project "bank"'):
            refused("bank/spending")


@settings(max_examples=6, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(
    steps=st.lists(
        st.tuples(st.sampled_from(["load", "load", "restore", "compact", "reingest"]), st.integers(0, 9)), max_size=9
    )
)
def test_whatever_is_done_to_a_table_it_has_the_rows_of_the_loads_that_are_in_it(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, int]]
) -> None:
    with FeatureStore.init(tmp_path_factory.mktemp("shop") / "s") as store:
        store.apply([VIEW, SERVICE])
        inside: list[str] = []  # in the order of the table
        history: dict[str, list[str]] = {}  # what was inside after the newest time a load came
        made = 0
        for step, which in steps:
            withdrawn = sorted(history.keys() - set(inside))
            if step == "load" or (step == "reingest" and not withdrawn) or not history:
                load_id = f"load-{made}"
                made += 1
            elif step == "reingest":
                load_id = withdrawn[which % len(withdrawn)]
            elif step == "compact":
                store.compact("spending")
                continue
            else:
                target = sorted(history)[which % len(history)]
                store.restore("spending", to=target)
                inside = list(history[target])
                continue
            load(store, load_id, float(load_id.removeprefix("load-")), 1, 2)
            inside.append(load_id)
            history[load_id] = list(inside)
        assert {name for name, there in states(store).items() if there} == set(inside)
        rows = store.offline.table(VIEW).snapshot().rows if inside else 0
        assert rows == 2 * len(inside)
        for _ in range(2):
            order = {one.load_id: one.order for one in store.loads("spending")}
            newest = max(inside, key=lambda one: order[one], default=None)
            assert offline(store)[0] == (None if newest is None else float(newest.removeprefix("load-")))
            store.compact("spending")


# Garbage


def test_replaced_files_stay_as_long_as_the_history_and_no_longer(store: FeatureStore) -> None:
    for number in range(3):
        load(store, f"load-{number}", float(number), 1, hour=number)
    store.compact("spending")
    assert store.gc().removed == ()
    now = datetime.now(UTC) + LATER
    dry = store.gc(dry_run=True, now=now)
    (replaced,) = dry.removed
    assert (replaced.kind, replaced.what, len(replaced.paths)) == ("replaced", storage_id(VIEW), 3)
    assert dry.bytes == sum(one.stat().st_size for one in replaced.paths)
    done = store.gc(now=now, reason="tidy")
    assert not any(one.exists() for one in replaced.paths)
    assert done.bytes == dry.bytes
    assert offline(store)[0] == 2.0
    (entry,) = store.registry.audit(action="gc")
    assert entry.details["bytes"] == {"replaced": dry.bytes}
    assert store.gc(now=now).removed == ()


def test_what_an_erasure_wrote_anew_of_the_past_stays_as_long_as_the_history(store: FeatureStore) -> None:
    load(store, "first", 1.0, 1, 2, 3)
    load(store, "second", 2.0, 1)
    store.compact("spending")
    store.erase("user", {"user_id": 2}, request="R")
    soon = datetime.now(UTC) + timedelta(days=1)
    assert store.gc(now=soon).removed == ()
    store.restore("spending", to="first")
    assert offline(store) == [1.0, None, 1.0]
    store.restore("spending", to="second")
    assert offline(store) == [2.0, None, 1.0]
    assert removed(store.gc(now=soon + LATER).removed, "replaced")


def test_a_history_that_is_kept_for_ever_is(store: FeatureStore) -> None:
    kept(store, history=None)
    load(store, "one", 1.0, 1)
    load(store, "two", 1.0, 1)
    store.compact("spending")
    assert store.gc(now=datetime.now(UTC) + timedelta(days=9000)).removed == ()


def test_what_a_dataset_was_made_of_stays_and_gc_says_why(store: FeatureStore) -> None:
    load(store, "one", 1.0, 1)
    rows = [{"user_id": 1, "event_timestamp": NOON + timedelta(days=1)}]
    made = store.create_training_dataset("churn", entity_df=rows, features="scoring")
    load(store, "two", 2.0, 1)
    store.compact("spending")
    report = store.gc(now=datetime.now(UTC) + LATER)
    assert [(one.kind, one.kept_by) for one in report.kept] == [("replaced", "churn@1")]
    assert len(report.removed) == 1  # the second load's file, which no dataset names
    (pinned,) = made.manifest["views"]["spending"]["files"]
    assert (store.offline.table(VIEW).path / pinned).exists()


def test_old_datasets_go_unless_a_model_or_the_monitor_needs_them(store: FeatureStore) -> None:
    load(store, "one", 1.0, 1)
    for number in range(3):
        rows = [{"user_id": 1, "event_timestamp": NOON + timedelta(days=number)}]
        store.create_training_dataset("churn", entity_df=rows, features="scoring")
    store.log_model("scorer", service="scoring", dataset="churn@1")
    assert store.gc(now=datetime.now(UTC) + LATER).removed == ()
    kept(store, datasets=timedelta(days=30))
    now = datetime.now(UTC) + LATER
    report = store.gc(now=now, dry_run=True)
    assert removed(report.removed, "dataset") == ["churn@2"]
    assert {one.what: one.kept_by for one in report.kept} == {
        "churn@1": "model scorer@1",
        "churn@3": "the monitoring of scoring@1",
    }
    folder = store.config.path(store.registry.dataset("churn@2").manifest["path"]).parent
    store.gc(now=now)
    assert not folder.exists()
    assert [one.id for one in store.registry.datasets()] == ["churn@1", "churn@3"]
    assert store.registry.dataset("churn@2").removed_at is not None
    with pytest.raises(ObjectNotFoundError, match="were removed"):
        store.log_model("other", service="scoring", dataset="churn@2")


def test_a_dataset_that_goes_frees_its_files_in_the_same_run(store: FeatureStore) -> None:
    kept(store, datasets=timedelta(days=30))
    load(store, "one", 1.0, 1)
    for number in range(2):
        rows = [{"user_id": 1, "event_timestamp": NOON + timedelta(days=number)}]
        store.create_training_dataset("churn", entity_df=rows, features="scoring")
        load(store, f"more-{number}", 1.0, 1)
        store.compact("spending")
    now = datetime.now(UTC) + LATER
    dry = store.gc(now=now, dry_run=True)
    done = store.gc(now=now)
    assert {one.paths for one in dry.removed} == {one.paths for one in done.removed}
    assert offline(store)[0] == 1.0


def test_a_dataset_whose_removal_was_interrupted_is_removed_by_the_next_run(store: FeatureStore) -> None:
    load(store, "one", 1.0, 1)
    rows = [{"user_id": 1, "event_timestamp": NOON}]
    made = store.create_training_dataset("churn", entity_df=rows, features="scoring")
    folder = store.config.path(made.manifest["path"]).parent
    store.registry.remove_dataset("churn@1", who="ada")
    report = store.gc(now=datetime.now(UTC) + LATER)
    assert removed(report.removed, "dataset") == ["churn@1"]
    assert not folder.exists()


def test_rows_of_versions_that_are_not_live_go_when_their_time_has_come(store: FeatureStore) -> None:
    kept(store, retired_versions=timedelta(days=30))
    load(store, "one", 1.0, 1)
    store.materialize("spending")
    wider = replace(VIEW, schema=[*VIEW.schema, Field(name="orders", dtype=Int64)])
    store.apply([wider, FeatureService(name="scoring", features=[wider])])
    assert store.gc().removed == ()
    report = store.gc(now=datetime.now(UTC) + LATER)
    assert removed(report.removed, "retired version") == [storage_id(VIEW)]
    assert list(store.offline.table(VIEW).path.glob("*.parquet")) == []
    assert online(store, "scoring@1") == offline(store, "scoring@1") == [None, None, None]
    assert offline(store)[0] == 1.0
    assert store.gc(now=datetime.now(UTC) + LATER).removed == ()
    # Fed again, it has again what it is fed.
    load(store, "one", 5.0, 1, view="spending@1")
    assert offline(store, "scoring@1")[0] == 5.0


def test_a_retired_version_that_a_dataset_was_made_of_stays(store: FeatureStore) -> None:
    kept(store, retired_versions=timedelta(days=30))
    load(store, "one", 1.0, 1)
    store.create_training_dataset("churn", entity_df=[{"user_id": 1, "event_timestamp": NOON}], features="scoring")
    wider = replace(VIEW, schema=[*VIEW.schema, Field(name="orders", dtype=Int64)])
    store.apply([wider, FeatureService(name="scoring", features=[wider])])
    report = store.gc(now=datetime.now(UTC) + LATER)
    assert [(one.kind, one.kept_by) for one in report.kept] == [("retired version", "churn@1")]
    assert offline(store, "scoring@1")[0] == 1.0


def test_what_dead_processes_left_goes_and_what_is_being_written_stays(store: FeatureStore) -> None:
    load(store, "one", 1.0, 1)
    folder = store.config.path(store.config.offline.path)
    table = store.offline.table(VIEW).path
    left = [
        table / "part-00000000-0000-0000-0000-000000000000.parquet",
        folder / "quarantine" / storage_id(VIEW) / ".load.parquet.123",
        folder / "profiles" / storage_id(VIEW) / ".load.parquet.partial",
        folder / "datasets" / "churn" / ".0123-abc" / "data.parquet",
        folder / ".spill" / "duckdb_temp_storage-0.tmp",
        store.config.path(store.config.serving.log_path) / "scoring" / ".a-1.parquet",
    ]
    for one in left:
        one.parent.mkdir(parents=True, exist_ok=True)
        one.write_bytes(b"half")
    assert store.gc().removed == ()
    hours_ago = time.time() - 7200
    for one in left:
        for path in (one, one.parent) if one.name == "data.parquet" else (one,):
            os.utime(path, (hours_ago, hours_ago))
    report = store.gc()
    assert sum(len(one.paths) for one in report.removed) == len(left)
    assert {one.kind for one in report.removed} == {"leftover"}
    assert not any(one.exists() for one in left)
    assert offline(store)[0] == 1.0


@pytest.mark.parametrize("kind", ["quarantine", "log"])
def test_quarantine_and_log_go_by_their_age(store: FeatureStore, kind: str) -> None:
    store.ingest("spending", [{"user_id": 1, "total": 1.0, "event_timestamp": NOON + timedelta(days=90_000)}])
    log = store.config.path(store.config.serving.log_path) / "scoring" / "w-00000001.parquet"
    log.parent.mkdir(parents=True)
    shutil.copy(next((store.config.path(store.config.offline.path) / "quarantine").glob("*/*")), log)
    now = datetime.now(UTC) + LATER
    assert store.gc(now=now).removed == ()
    kept(store, **{kind: timedelta(days=30)})
    assert store.gc().removed == ()
    assert {one.kind for one in store.gc(now=now).removed} == {kind}
    assert (store.quarantine("spending") is None) == (kind == "quarantine")
    assert log.exists() == (kind == "quarantine")


def test_the_newest_profiles_stay_however_old(store: FeatureStore) -> None:
    kept(store, profiles=timedelta(days=1))
    folder = store.config.path(store.config.offline.path) / "profiles" / storage_id(VIEW)
    load(store, "one", 1.0, 1)
    (folder).mkdir(parents=True, exist_ok=True)
    for number in range(40):
        (folder / f"old-{number:02}.parquet").write_bytes(b"x")
        os.utime(folder / f"old-{number:02}.parquet", (1_000 + number, 1_000 + number))
    store.gc()
    left = sorted(one.name for one in folder.iterdir() if one.name.startswith("old"))
    assert left[-1] == "old-39.parquet"
    assert 25 <= len(left) <= 30


def test_status_says_where_the_disk_went(store: FeatureStore) -> None:
    load(store, "one", 1.0, 1, 2)
    load(store, "two", 2.0, 1)
    store.compact("spending")
    store.materialize("spending")
    found: dict[str, Any] = store.status()
    (view,) = found["views"]
    table = store.offline.table(VIEW)
    assert view["rows"] == 3
    assert view["bytes"]["table"] == sum(Path(one.path).stat().st_size for one in table.snapshot().files)
    there = sum(one.stat().st_size for one in table.path.glob("*.parquet"))
    assert view["bytes"]["table"] + view["bytes"]["replaced"] == there
    assert view["bytes"]["history"] > 0
    assert view["bytes"]["online"] > 0
    assert found["bytes"]["offline"] > there


def test_the_name_of_a_folder_above_is_nobodys_key(tmp_path: Path) -> None:
    # DuckDB takes a folder user_id=7 for the column of that name, unless it is told that it is none.
    with FeatureStore.init(tmp_path / "user_id=7" / "region=eu" / "shop") as store:
        store.apply([VIEW, SERVICE])
        load(store, "first", 1.0, 1, 2)
        load(store, "second", 2.0, 1)
        store.materialize("spending")
        assert offline(store) == online(store) == [2.0, 1.0, None]
        store.compact("spending")
        assert offline(store) == [2.0, 1.0, None]
        kept(store, history=timedelta())
        for file in store.offline.table(VIEW).path.glob("*.parquet"):
            os.utime(file, (0, 0))
        assert removed(store.gc().removed, "replaced")
        store.restore("spending", to="first")
        assert offline(store) == [1.0, 1.0, None]


def test_settings_of_the_engine_do_not_matter_to_a_compaction(store: FeatureStore) -> None:
    small = OfflineConfig(memory_limit="100MB", threads=1)
    config = store.config.model_copy(update={"offline": small})
    store.close()
    store.config = config
    for number in range(3):
        load(store, f"load-{number}", float(number), *USERS, hour=number)
    assert store.compact("spending").files_after == 1
    assert offline(store) == [2.0, 2.0, 2.0]
