"""Rows out of a table: out of what it holds, and out of all that its past holds, against brute force over rows."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from featurestore.config import Config
from featurestore.definitions import FeatureView, storage_id
from featurestore.errors import OfflineStoreError
from featurestore.offline.erasure.erased_keys import ErasedKeys
from featurestore.offline.erasure.erasing import Erased, TableErasure, erase_since
from featurestore.offline.erasure.suppression import members, suppressed, suppression_secret
from featurestore.offline.store import OfflineStore
from featurestore.offline.tables import restoring
from featurestore.offline.tables import table as tables
from featurestore.offline.tables.rewriting import write_rest
from featurestore.offline.tables.table import OfflineTable
from featurestore.registry import Registry, present_name

Rows = Callable[..., list[dict[str, Any]]]


def erasure(table: OfflineTable, registry: Registry, *airports: str) -> TableErasure:
    keys = ErasedKeys(entity="airport", names=("origin",), rows=frozenset((one,) for one in airports))
    return TableErasure(
        table=table,
        columns=["origin"],
        matches=lambda batch: keys.mask([batch.column("origin")]),
        registry=registry,
        author="tests",
        request="R",
        project="tests",
    )


def origins(files: list[Path]) -> list[str]:
    return sorted(one for file in files for one in pq.read_table(file, columns=["origin"]).column(0).to_pylist())


def present(table: OfflineTable) -> list[Path]:
    return [Path(one) for one in table.files()]


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    loads=st.lists(st.lists(st.sampled_from(["JFK", "LGA", "EWR"]), min_size=1, max_size=4), min_size=1, max_size=4),
    compacted=st.booleans(),
    erased=st.lists(st.sampled_from(["JFK", "LGA", "EWR", "BOS"]), min_size=1, max_size=3),
)
def test_what_is_left_now_and_of_every_version_is_all_but_the_erased_rows(
    loads: list[list[str]],
    compacted: bool,
    erased: list[str],
    tmp_path_factory: pytest.TempPathFactory,
    registry: Registry,
    view: FeatureView,
) -> None:
    folder = tmp_path_factory.mktemp("erasing")
    store = OfflineStore(Config(root=folder, project=folder.name), Registry(registry._database, folder.name))
    now = datetime.now(UTC)
    for number, airports in enumerate(loads):
        at = now - timedelta(hours=number + 1)
        rows = [{"origin": one, "temp": 1.0, "wind": 1, "event_timestamp": at} for one in airports]
        store.ingest(view, rows, who="tests")
    if compacted:
        store.compact(view, who="tests")
    table = store.table(view)
    versions = range((table.version() or 0) + 1)
    before = {number: table.snapshot(number).files for number in versions}
    then = {number: origins([Path(one.path) for one in files]) for number, files in before.items()}
    plan = erasure(table, registry, *erased)
    told = plan.count()
    assert plan.run() == told
    assert plan.run() == Erased()
    rewritten = registry.rewritten_files(storage_id(view))
    for number, files in before.items():
        names = [present_name(one.name, rewritten)[0] for one in files]
        left = origins([table.path / one for one in names if one is not None])
        assert left == [one for one in then[number] if one not in erased]
    assert origins(present(table)) == [one for one in then[versions[-1]] if one not in erased]
    assert origins(sorted(table.path.glob("*.parquet"))) == sorted(
        one for file in table.path.glob("*.parquet") for one in origins([file]) if one not in erased
    )


def test_marks_and_statistics_of_a_file_hold_for_what_is_left(
    store: OfflineStore, view: FeatureView, weather_rows: Rows, registry: Registry
) -> None:
    store.ingest(view, [*weather_rows([0, 5], origin="LGA"), *weather_rows(range(1, 4))], who="tests")
    store.compact(view, who="tests")
    (before,) = store.table(view).snapshot().files
    erasure(store.table(view), registry, "LGA").run()
    (after,) = store.table(view).snapshot().files
    assert after.ordered
    assert after.rows == 3
    assert before.first < after.first < after.last < before.last
    (commit,) = [one for one in store.table(view).commits() if one.change and one.change.action == "erase"]
    assert commit.change is not None
    assert commit.change.details == {"request": "R", "rows": 2, "files": 1}


def test_a_load_that_began_before_the_erasure_is_gone_through_once_more(
    store: OfflineStore, view: FeatureView, weather_rows: Rows, registry: Registry, config: Config, tmp_path: Path
) -> None:
    (airport,) = view.entities
    before = suppressed(view, registry, config)
    secret = suppression_secret(config)
    registry.suppress(members(airport), [secret.digest(members(airport), ("JFK",))], request="R", who="tests")
    # The load has checked its rows against what was suppressed before, and is published now.
    registry.lift(members(airport), [secret.digest(members(airport), ("JFK",))], request="R", who="tests")
    store.ingest(view, [*weather_rows(), *weather_rows(origin="LGA")], who="tests")
    registry.suppress(members(airport), [secret.digest(members(airport), ("JFK",))], request="R", who="tests")
    aside = tmp_path / "aside.parquet"
    pq.write_table(pa.table({"origin": ["JFK", "LGA"], "reason": ["x", "y"]}), aside)
    erase_since(before, view, store.table(view), aside, registry, config, author="tests")
    assert set(origins(present(store.table(view)))) == {"LGA"}
    assert origins([aside]) == ["LGA"]


def two_loads_of_which_one_was_taken_back(store: OfflineStore, view: FeatureView, weather_rows: Rows) -> None:
    store.ingest(view, weather_rows(), who="tests", load_id="first")
    store.ingest(view, [*weather_rows([4], origin="LGA"), *weather_rows([5])], who="tests", load_id="second")
    store.restore(view, store.find_state(view, "first"), who="tests")


def test_what_a_restore_brings_back_while_the_past_is_erased_is_erased_and_nothing_else_is_lost(
    store: OfflineStore, view: FeatureView, weather_rows: Rows, registry: Registry
) -> None:
    two_loads_of_which_one_was_taken_back(store, view, weather_rows)
    plan = erasure(store.table(view), registry, "LGA")
    counted: list[bool] = []

    def matches(batch: pa.RecordBatch) -> pa.BooleanArray:
        found = plan.matches(batch)
        if any(found.to_pylist()) and not counted:
            counted.append(True)
            store.restore(view, store.find_state(view, "second"), who="tests")
        return found

    replace(plan, matches=matches).run()
    assert counted
    assert origins(present(store.table(view))) == ["JFK"] * 4
    assert origins(sorted(store.table(view).path.glob("*.parquet"))).count("LGA") == 0


@pytest.mark.parametrize("step", [(restoring, "_touch"), (tables, "_adding")])
def test_a_restore_brings_back_what_an_erasure_leaves_of_a_file_that_it_takes_away_meanwhile(
    step: tuple[ModuleType, str],
    store: OfflineStore,
    view: FeatureView,
    weather_rows: Rows,
    registry: Registry,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    two_loads_of_which_one_was_taken_back(store, view, weather_rows)
    doing = getattr(*step)

    def erased_meanwhile(*given: Any, **named: Any) -> Any:
        done = doing(*given, **named)
        monkeypatch.undo()
        assert erasure(store.table(view), registry, "LGA").run().rows == 1
        return done

    monkeypatch.setattr(*step, erased_meanwhile)
    store.restore(view, store.find_state(view, "second"), who="tests")
    assert origins(present(store.table(view))) == ["JFK"] * 4
    assert [one.load_id for one in store.loads(view)] == ["first", "second"]


def test_another_erasure_that_is_faster_is_no_fault(
    store: OfflineStore, view: FeatureView, weather_rows: Rows, registry: Registry
) -> None:
    store.ingest(view, [*weather_rows(), *weather_rows([4], origin="LGA")], who="tests")
    plan = erasure(store.table(view), registry, "LGA")
    others: list[Erased] = []

    def matches(batch: pa.RecordBatch) -> pa.BooleanArray:
        if not others:
            others.append(Erased())
            with ThreadPoolExecutor() as pool:  # by its thread an erasure knows what is its own
                others[0] = pool.submit(erasure(store.table(view), registry, "LGA").run).result()
        return plan.matches(batch)

    assert replace(plan, matches=matches).run().rows == 0
    assert others == [Erased(rows=1, files=1)]
    assert origins(present(store.table(view))) == ["JFK"] * 3


def test_another_erasure_that_is_faster_in_the_past_is_no_fault_either(
    store: OfflineStore, view: FeatureView, weather_rows: Rows, registry: Registry
) -> None:
    two_loads_of_which_one_was_taken_back(store, view, weather_rows)
    plan = erasure(store.table(view), registry, "LGA")
    others: list[Erased] = []

    def matches(batch: pa.RecordBatch) -> pa.BooleanArray:
        found = plan.matches(batch)
        if any(found.to_pylist()) and not others:
            with ThreadPoolExecutor() as pool:
                others.append(pool.submit(erasure(store.table(view), registry, "LGA").run).result())
        return found

    assert replace(plan, matches=matches).run() == Erased()
    assert others == [Erased(rows=1, files=1)]
    assert origins(sorted(store.table(view).path.glob("*.parquet"))).count("LGA") == 0


def test_what_a_load_at_work_has_staged_is_left_to_it_and_said(
    store: OfflineStore, view: FeatureView, weather_rows: Rows, registry: Registry
) -> None:
    store.ingest(view, weather_rows(), who="tests")
    table = store.table(view)
    staged = table.path / "part-00000000-0000-0000-0000-000000000000.parquet"
    pq.write_table(pq.read_table(present(table)[0]), staged)
    assert erasure(table, registry, "JFK").run() == Erased(rows=3, files=1, waiting=1)
    assert staged.exists()
    long_ago = time.time() - 86_400
    os.utime(staged, (long_ago, long_ago))
    assert erasure(table, registry, "JFK").run() == Erased(rows=3, files=1)
    assert not staged.exists()


def test_a_damaged_file_of_the_table_is_named_and_stops_the_erasure(
    store: OfflineStore, view: FeatureView, weather_rows: Rows, registry: Registry
) -> None:
    store.ingest(view, weather_rows(), who="tests")
    (file,) = present(store.table(view))
    file.write_bytes(b"not Parquet")
    with pytest.raises(OfflineStoreError, match=f"{file.name} cannot be read") as caught:
        erasure(store.table(view), registry, "JFK").run()
    assert "backup" in caught.value.hint


def test_a_file_keeps_its_types_order_and_metadata(tmp_path: Path) -> None:
    table = pa.table(
        {"k": pa.array([1, 2, 3]).dictionary_encode(), "list": [[1.0], None, []], "text": ["a", None, "b"]}
    ).replace_schema_metadata({"kept": "so"})
    pq.write_table(table, tmp_path / "old.parquet")
    rest = write_rest(
        tmp_path / "old.parquet",
        tmp_path / "new.parquet",
        lambda batch: pa.array([one == 2 for one in batch.column("k").to_pylist()]),
    )
    assert (rest.rows, rest.erased, rest.first) == (2, 1, None)
    again = pq.read_table(tmp_path / "new.parquet")
    assert again.schema.equals(pq.read_schema(tmp_path / "old.parquet"), check_metadata=True)
    assert again.to_pylist() == [one for one in table.to_pylist() if one["k"] != 2]
    assert sorted(one.name for one in tmp_path.iterdir()) == ["new.parquet", "old.parquet"]
