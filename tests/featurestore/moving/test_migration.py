"""A whole store from one place to another, whatever is on the two sides."""

from __future__ import annotations

import json
import shutil
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from featurestore import FeatureStore
from featurestore import config as configuration
from featurestore.definitions import storage_id
from featurestore.errors import ConfigError, OfflineStoreError
from featurestore.moving import Move, MoveReport, State, files, migration
from featurestore.online import open_online_store
from featurestore.registry import Registry
from featurestore.settings.online import RedisConfig
from monitor.history import History
from tests.conftest import ObjectStorage
from tests.moved_shop import CLICKS, SPENDING, check_whole, clicked, fill, leave, lookups, offline_rows, spent


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("moving") / "shop"
    fill(folder)
    return folder


@pytest.fixture
def shop(filled: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "shop"
    shutil.copytree(filled, folder)
    return folder


@pytest.fixture
def other(tmp_path: Path) -> Path:
    return destination(tmp_path / "other")


def destination(folder: Path, text: str = "") -> Path:
    folder.mkdir()
    (folder / "featurestore.toml").write_text(f'project = "shop"\n{text}')
    return folder


def move(source: Path, target: Path, **more: Any) -> Move:
    configs = (configuration.load(one) for one in (source, target))
    return Move(source=next(configs), target=next(configs), names=(str(source), str(target)), **more)


def digests(report: MoveReport) -> dict[str, str]:
    return {one.part: one.there.digest for one in report.parts if one.part != "keys"}


def states(report: MoveReport) -> dict[str, State]:
    return {one.part: one.state for one in report.parts}


def test_everything_is_the_same_on_other_backends_and_back_again(
    shop: Path, tmp_path: Path, postgresql: str, object_storage: ObjectStorage, redis_settings: RedisConfig
) -> None:
    url = postgresql.replace("postgresql://", "postgresql+psycopg://")
    far = destination(
        tmp_path / "far",
        f'registry = "{url}"\n[monitor]\ndatabase = "{url}"\n'
        f'[online]\ntype = "redis"\naddresses = ["{redis_settings.addresses[0]}"]\n{object_storage.settings()}',
    )
    out = move(shop, far).run()
    assert out.equal
    assert not out.changed
    assert all(one.copied == one.here.items > 0 for one in out.parts), out.parts
    home = destination(tmp_path / "home")
    back = move(far, home).run()
    assert back.equal
    assert digests(back) == digests(out)
    answers = []
    for folder in (shop, far, home):
        with FeatureStore(folder) as store:
            answers.append(lookups(store))
            assert answers[-1] == answers[0]
            assert [one.load_id for one in store.loads("spending")][:3] == ["load-1", "load-2", "load-3"]
            if folder is far:
                store.restore("spending", to="load-1")
                assert len(store.registry.audit(action="restore")) == 3
                store.restore("spending", to="load-3")
            check_whole(store)
        with History(store.config.database_url(store.config.monitor.database)) as history, history.write() as writing:
            made = writing.exec_driver_sql("SELECT id FROM outbox").scalars().all()
            assert made == [1]
            assert _next_number(history, writing) == 3
    assert answers[0][1]["seen"] == 2


def _next_number(history: History, writing: Any) -> int:
    if history.path is not None:
        return int(writing.exec_driver_sql("SELECT seq FROM sqlite_sequence WHERE name = 'outbox'").scalar_one()) + 1
    return int(writing.exec_driver_sql("SELECT nextval('outbox_id_seq')").scalar_one())


def test_a_second_run_copies_nothing_and_a_third_only_what_was_written_since(
    shop: Path, other: Path, tmp_path: Path
) -> None:
    first = move(shop, other).run()
    assert json.loads(json.dumps(first.to_json()))["parts"][0]["here"]["counts"]["audit"] > 5
    again = move(shop, other).run()
    assert {one.copied for one in again.parts} == {0}
    assert states(again)["online"] is State.present
    assert digests(again) == digests(first)
    journal = next((other / "data" / "migrations").iterdir())
    journal.rename(tmp_path / "lost")
    assert [one.copied for one in move(shop, other, only=["registry", "tables"]).run().parts] == [0, 0]
    (tmp_path / "lost").replace(journal)
    with FeatureStore(shop) as store:
        store.ingest("spending", spent([1, 2], hours=8))
        store.push("clicks", clicked([9], hours=7))
    third = move(shop, other).run()
    assert third.equal
    copied = {one.part: one.copied for one in third.parts if one.state is State.copied}
    assert set(copied) == {"registry", "tables", "profiles"}  # the pushed rows were flushed as the store was closed
    assert 0 < copied["tables"] < 20
    with FeatureStore(other) as store:
        check_whole_but_pushes(store)
        assert offline_rows(store, CLICKS)[9, 10, clicked([9], hours=7)[0]["event_timestamp"]] == 1


def check_whole_but_pushes(store: FeatureStore) -> None:
    assert store.verify_audit().problems == ()
    assert store.reproduce_dataset("sales").proved


def test_what_is_written_while_it_runs_is_told_of_and_copied_by_the_next_run(shop: Path, other: Path) -> None:
    written: list[str] = []

    def write(part: str, _count: int) -> None:
        if part == "tables" and not written:
            written.append(part)
            with FeatureStore(shop) as store:
                store.ingest("spending", spent([3], hours=8))
                store.push("clicks", clicked([4], hours=7))
                store.flush_pushes()

    report = move(shop, other, progress=write).run()
    assert report.equal
    told = " ".join(report.changed)
    assert 'audit log of project "shop"' in told
    assert "commits more to the table spending" in told
    assert "log of pushed rows" in told
    again = move(shop, other).run()
    assert (again.equal, again.changed) == (True, ())
    with FeatureStore(shop) as here, FeatureStore(other) as there:
        here.materialize("spending")
        here.materialize("clicks")
        assert lookups(here) == lookups(there)
        assert offline_rows(here, CLICKS) == offline_rows(there, CLICKS)


@pytest.mark.parametrize("moved_before", [True, False])
@pytest.mark.parametrize("materialized", [True, False])
def test_pushed_rows_have_the_same_place_at_both_sides_once_they_are_flushed(
    shop: Path, other: Path, moved_before: bool, materialized: bool
) -> None:
    """Else a later load with the same instant would lose to them at one side, for good."""
    if moved_before:  # when they still waited, so they were put online there as rows that are in no table
        assert move(shop, other).run().equal
        assert any((other / "data" / "push").glob("*.*"))
    with FeatureStore(shop) as store:
        store.flush_pushes()
        if materialized:
            for view in ("spending", "clicks"):
                store.materialize(view)
    report = move(shop, other).run()
    (online,) = [one for one in report.parts if one.part == "online"]
    assert online.holds
    assert online.equal or not materialized
    answers = []
    for folder in (shop, other):
        with FeatureStore(folder) as store:
            store.ingest("clicks", [one | {"seen": 77} for one in clicked([1, 2, 3], hours=6)])
            for view in ("spending", "clicks"):
                store.materialize(view)
            answers.append(lookups(store))
    assert answers[0] == answers[1]
    assert [answers[0][one]["seen"] for one in (2, 3)] == [77, 77]


def test_rows_that_are_missing_online_are_told_also_where_another_view_is_behind(shop: Path, other: Path) -> None:
    with FeatureStore(shop) as store:
        store.flush_pushes()
        store.materialize("spending")
        store.ingest("clicks", clicked([5], hours=7))  # which is not online
    assert move(shop, other).run().equal
    spending, clicks = (storage_id(view) for view in (SPENDING, CLICKS))
    config = configuration.load(other)
    for names in ([spending], [clicks], [spending, clicks]):
        with closing(open_online_store(config.online_store(), config.root)) as online:
            gone = {name: next(iter(online.keys(name))) for name in names}
            before = {name: online.read([(name, [key])]).values[0] for name, key in gone.items()}
            for name, key in gone.items():
                online.delete(name, [key])
        report = move(shop, other).run()
        assert not report.equal
        (part,) = [one for one in report.parts if one.part == "online"]
        assert all(name in part.note.partition("other rows are online of ")[2] for name in names)
        with closing(open_online_store(config.online_store(), config.root)) as online:
            for name, key in gone.items():
                online.put_newest(name, [(key, value) for value in before[name] if value is not None])
        assert move(shop, other).run().equal


def test_a_file_that_goes_while_it_runs_has_the_copy_begin_anew(shop: Path, other: Path) -> None:
    retried: list[str] = []

    def retry(part: str, _count: int) -> None:
        if part == "tables" and not retried:
            retried.append(part)
            next((shop / "data/offline/quarantine").rglob("*.parquet")).unlink()

    report = move(shop, other, only=["registry", "tables", "quarantine"], progress=retry).run()
    assert (report.rounds, report.equal, states(report)["quarantine"]) == (2, True, State.nothing)


def test_a_load_that_is_under_way_at_the_point_comes_with_the_next_run(
    shop: Path, other: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with FeatureStore(shop) as store:
        monkeypatch.setattr(Registry, "record_load", lambda *_, **__: None)
        with pytest.raises(StopIteration):  # its writer finds no entry of it in the ledger
            store.ingest("spending", spent([1], hours=8), load_id="slow")
        monkeypatch.setattr(migration, "complete_ledger", lambda *_: None)
        report = move(shop, other, only=["registry", "tables"]).run()
        assert [one for one in report.changed if "under way" in one]
        monkeypatch.undo()
        assert [one.load_id for one in store.loads("spending")][-1] == "slow"
    assert not move(shop, other).run().changed
    with FeatureStore(other) as store:
        assert [one.load_id for one in store.loads("spending")][-1] == "slow"


def test_a_check_says_what_would_be_copied_and_changes_nothing(shop: Path, tmp_path: Path, postgresql: str) -> None:
    url = postgresql.replace("postgresql://", "postgresql+psycopg://")
    other = destination(tmp_path / "other", f'registry = "{url}"\n')
    report = move(shop, other).check()
    assert set(states(report).values()) == {State.planned}
    assert [one.name for one in other.iterdir()] == ["featurestore.toml"]
    assert {one.part: one.here.items for one in report.parts}["pushes"] == 4


def test_what_lies_in_one_place_stays_there(shop: Path) -> None:
    (shop / "other.toml").write_text('project = "shop"\nregistry = "sqlite:///data/second.db"\n')
    report = move(shop, shop / "other.toml").run()
    assert {part for part, state in states(report).items() if state is State.copied} == {"registry"}
    assert {part for part, state in states(report).items() if state is State.stays} >= {"tables", "pushes", "online"}


def test_only_the_parts_that_are_named_are_copied(shop: Path, other: Path) -> None:
    report = move(shop, other, only=["registry", "tables"]).run()
    assert list(states(report)) == ["registry", "tables"]
    assert not (other / "data" / "push").exists()
    with pytest.raises(ConfigError, match="no part"):
        move(shop, other, only=["tabels"]).check()


def used_registry(folder: Path) -> None:
    with FeatureStore(folder) as store:
        store.apply([CLICKS])


def used_tables(folder: Path) -> None:
    part = folder / "data/offline/clicks-000000000000/_delta_log/00000000000000000000.json"
    part.parent.mkdir(parents=True)
    part.write_text("{}")


def used_push_log(folder: Path) -> None:
    with FeatureStore(folder) as store:
        store.apply([CLICKS])
        store.push("clicks", clicked([1], hours=1))
        leave(store)
    (folder / "data/registry.db").unlink()
    shutil.rmtree(folder / "data/online")


def used_online(folder: Path) -> None:
    with FeatureStore(folder) as store:
        store.online.put_newest("elsewhere-000000000000", [(b"key", bytes(40))])


@pytest.mark.parametrize("use", [used_registry, used_tables, used_push_log, used_online])
def test_a_destination_with_other_data_is_refused_and_left_as_it_is(shop: Path, other: Path, use: Any) -> None:
    use(other)
    before = {str(one): one.stat().st_size for one in other.rglob("*") if one.suffix not in (".mdb", "", ".lock")}
    with pytest.raises(ConfigError, match="other data"):
        move(shop, other).run()
    after = {str(one): one.stat().st_size for one in other.rglob("*") if one.suffix not in (".mdb", "", ".lock")}
    assert {name: size for name, size in after.items() if "-shm" not in name and "-wal" not in name} == before


def test_a_destination_that_was_used_since_or_is_of_another_store_is_refused(
    shop: Path, other: Path, tmp_path: Path
) -> None:
    move(shop, other).run()
    shutil.copytree(shop, tmp_path / "twin")
    with pytest.raises(ConfigError, match="copy of another store"):
        move(tmp_path / "twin", other).run()
    with FeatureStore(other) as store:
        store.ingest("spending", spent([1], hours=8))
    with pytest.raises(ConfigError, match="other data"):
        move(shop, other).run()
    (other / "featurestore.toml").write_text('project = "another"\n')
    with pytest.raises(ConfigError, match='of project "another"'):
        move(shop, other).run()


def test_what_is_damaged_on_its_way_is_not_taken_for_copied(
    shop: Path, other: Path, monkeypatch: pytest.MonkeyPatch
) -> None:

    def damaged(pieces: Any, target: Path) -> str:
        digest = whole(pieces, target)
        if target.suffix == ".parquet":
            target.write_bytes(b"PAR1")
        return digest

    whole = files.write_synced
    monkeypatch.setattr(files, "write_synced", damaged)
    with pytest.raises(OfflineStoreError, match="not read back as it was"):
        move(shop, other, only=["quarantine"]).run()
    monkeypatch.undo()
    assert move(shop, other, only=["quarantine"]).run().equal
