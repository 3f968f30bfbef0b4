"""Rows are carried over while loads come in: none is there twice and none is lost, however the two interleave."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from featurestore.config import Config
from featurestore.definitions import Entity, FeatureView, Field, FileSource
from featurestore.errors import TableConflictError
from featurestore.offline.store import OfflineStore
from featurestore.offline.tables import carry_over, carrying
from featurestore.offline.tables.carrying import Carrying
from featurestore.offline.tables.delta_log import LoadMetadata
from featurestore.offline.tables.table import OfflineTable
from featurestore.registry import open_registry
from featurestore.settings.sections import OfflineConfig
from featurestore.types import Float64, Int64

START = datetime(2013, 1, 1, tzinfo=UTC)
Rows = Callable[..., list[dict[str, Any]]]


def looser(view: FeatureView) -> FeatureView:
    """Return a version that takes rows of the view and adds nothing to them."""
    return replace(view, schema=[replace(view.schema[0], ge=None, le=None), view.schema[1]])


def wider(view: FeatureView, name: str = "dewp") -> FeatureView:
    return replace(view, schema=[*view.schema, Field(name=name, dtype=Float64)])


def full(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return rows with the fields that wider versions add."""
    return [row | {"dewp": 30.0, "rain": 1.0} for row in rows]


def winds(store: OfflineStore, view: FeatureView) -> list[int]:
    """Return the column by which tests tell rows apart, of all rows in the table."""
    if not store.table(view).exists():
        return []
    found = [pq.read_table(file, columns=["wind"]) for file in store.table(view).files()]
    return sorted(pa.concat_tables(found)["wind"].to_pylist()) if found else []


@contextmanager
def between_computing_and_committing(monkeypatch: pytest.MonkeyPatch, *others: Callable[[], object]) -> Iterator[None]:
    """Let others act after a carry-over knows which rows are missing, each at one attempt."""
    query, waiting = carry_over.rows_to_carry, list(others)

    def hooked(*given: Any) -> str:
        if waiting:
            waiting.pop(0)()
        return query(*given)

    with monkeypatch.context() as patched:
        patched.setattr(carry_over, "rows_to_carry", hooked)
        yield
    assert not waiting


@contextmanager
def as_a_load_commits(monkeypatch: pytest.MonkeyPatch, load_id: str, other: Callable[[], object]) -> Iterator[None]:
    """Let another act when a load has opened its table, found that it is not there, and is about to commit."""
    commit, waiting = OfflineTable._commit, [other]

    def hooked(self: OfflineTable, *given: Any, load: LoadMetadata | None = None, **more: Any) -> None:
        if waiting and load is not None and load.load_id == load_id:
            waiting.pop()()
        commit(self, *given, load=load, **more)

    with monkeypatch.context() as patched:
        patched.setattr(OfflineTable, "_commit", hooked)
        yield
    assert not waiting


@pytest.mark.parametrize("change", [looser, wider])
def test_a_load_that_comes_while_rows_are_carried_over_is_there_once(
    store: OfflineStore,
    view: FeatureView,
    weather_rows: Rows,
    monkeypatch: pytest.MonkeyPatch,
    change: Callable[[FeatureView], FeatureView],
) -> None:
    newer = change(view)
    store.ingest(view, weather_rows([0]), who="ada", load_id="early")
    store.ingest(view, weather_rows([1]), who="ada", load_id="late")
    with between_computing_and_committing(
        monkeypatch, lambda: store.ingest(newer, full(weather_rows([1])), who="ada", load_id="late")
    ):
        report = store.carry_over(view, newer, who="ada")
    assert report is not None
    assert report.written == 1
    assert winds(store, newer) == [0, 1]
    assert store.missing_loads(view, newer) == []


def test_a_load_that_was_carried_over_before_it_comes_is_passed_over(
    store: OfflineStore, view: FeatureView, weather_rows: Rows
) -> None:
    newer = looser(view)
    store.ingest(view, weather_rows([0, 1]), who="ada", load_id="late")
    store.carry_over(view, newer, who="ada")
    report = store.ingest(newer, weather_rows([0, 1]), who="ada", load_id="late")
    assert (report.written, report.skipped) == (0, 1)
    assert winds(store, newer) == [0, 1]


@pytest.mark.parametrize("change", [looser, wider])
def test_a_load_that_is_carried_over_at_the_moment_of_its_commit_is_there_once(
    store: OfflineStore,
    view: FeatureView,
    weather_rows: Rows,
    monkeypatch: pytest.MonkeyPatch,
    change: Callable[[FeatureView], FeatureView],
) -> None:
    newer = change(view)
    store.ingest(view, weather_rows([0]), who="ada", load_id="early")
    store.ingest(view, weather_rows([1]), who="ada", load_id="late")
    with as_a_load_commits(monkeypatch, "late", lambda: store.carry_over(view, newer, who="ada")):
        store.ingest(newer, full(weather_rows([1])), who="ada", load_id="late")
    assert winds(store, newer) == [0, 1]
    assert store.missing_loads(view, newer) == []


def test_what_was_missing_before_a_load_came_is_carried_after_it(
    store: OfflineStore, view: FeatureView, weather_rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The newer version is fed again at that moment; what it missed before is not to be forgotten for that."""
    newer = looser(view)
    for one in (view, newer):
        store.ingest(one, weather_rows([0]), who="ada", load_id="both")
    store.ingest(view, weather_rows([1]), who="ada", load_id="missed")
    store.ingest(view, weather_rows([2]), who="ada", load_id="late")
    with between_computing_and_committing(
        monkeypatch, lambda: store.ingest(newer, weather_rows([2]), who="ada", load_id="late")
    ):
        store.carry_over(view, newer, who="ada")
    assert winds(store, newer) == [0, 1, 2]


def test_what_comes_while_a_version_catches_up_is_missing_still(
    store: OfflineStore, view: FeatureView, weather_rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    newer = looser(view)
    for one in (view, newer):
        store.ingest(one, weather_rows([0]), who="ada", load_id="both")
    store.ingest(view, weather_rows([1]), who="ada", load_id="missed")
    with between_computing_and_committing(
        monkeypatch, lambda: store.ingest(view, weather_rows([2]), who="ada", load_id="meanwhile")
    ):
        store.carry_over(view, newer, who="ada")
    assert winds(store, newer) == [0, 1]
    store.ingest(view, weather_rows([3]), who="ada", load_id="again")
    store.ingest(newer, weather_rows([3]), who="ada", load_id="again")
    assert [load.load_id for load in store.missing_loads(view, newer)] == ["meanwhile"]
    store.carry_over(view, newer, who="ada")
    assert winds(store, newer) == [0, 1, 2, 3]


def test_what_came_around_a_carry_over_from_another_version_is_missing(
    store: OfflineStore, view: FeatureView, weather_rows: Rows
) -> None:
    second, third = looser(view), wider(view)
    for one in (view, third):
        store.ingest(one, full(weather_rows([0])), who="ada", load_id="both")
    store.ingest(view, weather_rows([1]), who="ada", load_id="missed")
    store.ingest(second, weather_rows([2]), who="ada", load_id="elsewhere")
    store.carry_over(second, third, who="ada")
    for one in (view, third):
        store.ingest(one, full(weather_rows([3])), who="ada", load_id="both-again")
    assert [load.load_id for load in store.missing_loads(view, third)] == ["missed"]
    store.carry_over(view, third, who="ada")
    assert winds(store, third) == [0, 1, 2, 3]


def test_two_carry_overs_of_the_same_rows_at_once_bring_them_once(
    store: OfflineStore, view: FeatureView, weather_rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of them adds a field, so that neither says that the load is in."""
    newer, middle = wider(looser(view)), looser(view)
    store.ingest(view, weather_rows([0]), who="ada", load_id="first")
    store.carry_over(view, middle, who="ada")
    store.ingest(middle, weather_rows([1]), who="ada", load_id="second")
    with between_computing_and_committing(monkeypatch, lambda: store.carry_over(view, newer, who="ada")):
        report = store.carry_over(middle, newer, who="ada")
    assert report is not None
    assert report.written == 1
    assert winds(store, newer) == [0, 1]


def test_whoever_loses_each_time_is_told_so(
    store: OfflineStore, view: FeatureView, weather_rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    newer = looser(view)
    for number in range(12):
        store.ingest(view, weather_rows([number]), who="ada", load_id=f"load-{number}")
    others = [
        lambda number=number: store.ingest(newer, weather_rows([number]), who="ada", load_id=f"load-{number}")
        for number in range(10)
    ]
    with between_computing_and_committing(monkeypatch, *others), pytest.raises(TableConflictError, match="each time"):
        store.carry_over(view, newer, who="ada")
    assert winds(store, newer) == list(range(10))
    # Nothing is left of what was staged in vain.
    assert {str(one) for one in store.table(newer).path.glob("*.parquet")} == set(store.table(newer).files())
    store.carry_over(view, newer, who="ada")
    assert winds(store, newer) == list(range(12))


def test_rows_that_a_restore_withdraws_while_they_are_carried_over_are_not_brought(
    store: OfflineStore, view: FeatureView, weather_rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    newer = looser(view)
    store.ingest(view, weather_rows([0]), who="ada", load_id="good")
    store.ingest(view, weather_rows([1]), who="ada", load_id="bad")
    missing = Carrying._missing

    def withdrawn(self: Carrying, *given: Any) -> Any:
        found = missing(self, *given)
        if any(load.load_id == "bad" for load in store.loads(view)):
            store.restore(view, store.find_state(view, "good"), who="ada")
        return found

    with monkeypatch.context() as patched:
        patched.setattr(Carrying, "_missing", withdrawn)
        store.carry_over(view, newer, who="ada")
    assert winds(store, newer) == [0]
    store.ingest(view, weather_rows([2]), who="ada", load_id="bad")
    report = store.ingest(newer, weather_rows([2]), who="ada", load_id="bad")
    assert report.written == 1
    assert winds(store, newer) == [0, 2]


def test_rows_are_those_of_the_state_in_which_they_were_found_missing(
    store: OfflineStore, view: FeatureView, weather_rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A restore of the older table that comes later than that is one that came after the carry-over."""
    newer = looser(view)
    store.ingest(view, weather_rows([0]), who="ada", load_id="good")
    store.ingest(view, weather_rows([1]), who="ada", load_id="bad")
    arrivals = carrying.arrivals

    def overtaken(*given: Any) -> Any:
        store.restore(view, store.find_state(view, "good"), who="ada")
        return arrivals(*given)

    with monkeypatch.context() as patched:
        patched.setattr(carrying, "arrivals", overtaken)
        store.carry_over(view, newer, who="ada")
    assert (winds(store, view), winds(store, newer)) == ([0], [0, 1])


def test_a_load_that_comes_as_the_missing_ones_are_looked_for_is_left_to_the_next(
    store: OfflineStore, view: FeatureView, weather_rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    newer = looser(view)
    store.ingest(view, weather_rows([0]), who="ada", load_id="early")
    missing = Carrying._missing

    def overtaken(self: Carrying, *given: Any) -> Any:
        store.ingest(view, weather_rows([1]), who="ada", load_id="late")
        return missing(self, *given)

    with monkeypatch.context() as patched:
        patched.setattr(Carrying, "_missing", overtaken)
        store.carry_over(view, newer, who="ada")
    assert winds(store, newer) == [0]
    store.carry_over(view, newer, who="ada")
    assert winds(store, newer) == [0, 1]


def test_the_same_carry_over_twice_at_once_is_one(
    store: OfflineStore, view: FeatureView, weather_rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    newer = wider(view)
    store.ingest(view, weather_rows([0]), who="ada")
    with between_computing_and_committing(monkeypatch, lambda: store.carry_over(view, newer, who="ada")):
        assert store.carry_over(view, newer, who="ada") is None
    assert winds(store, newer) == [0]
    store.ingest(view, weather_rows([1]), who="ada")
    name = carry_over.load_id(view, 2)
    with as_a_load_commits(monkeypatch, name, lambda: store.carry_over(view, newer, who="ada")):
        assert store.carry_over(view, newer, who="ada") is None
    assert winds(store, newer) == [0, 1]


def test_where_nothing_is_taken_over_only_what_came_since_is_lacking(
    store: OfflineStore, view: FeatureView, weather_rows: Rows
) -> None:
    other = replace(view, source=FileSource(path="other.csv"))
    store.ingest(view, weather_rows([0]), who="ada", load_id="before")
    store.ingest(other, weather_rows([1]), who="ada")
    assert store.missing_loads(view, other) == []
    store.ingest(view, weather_rows([2]), who="ada", load_id="since")
    assert [load.load_id for load in store.missing_loads(view, other)] == ["since"]


def test_what_a_restore_withdrew_does_not_come_back_from_where_it_had_gone(
    store: OfflineStore, view: FeatureView, weather_rows: Rows
) -> None:
    newer = looser(view)
    store.ingest(view, weather_rows([0]), who="ada", load_id="good")
    store.ingest(view, weather_rows([1]), who="ada", load_id="bad")
    store.carry_over(view, newer, who="ada")
    store.restore(view, store.find_state(view, "good"), who="ada")
    assert store.carry_over(newer, view, who="ada") is None
    assert winds(store, view) == [0]


def test_going_back_to_a_version_two_changes_ago_brings_only_what_came_since(
    store: OfflineStore, view: FeatureView, weather_rows: Rows
) -> None:
    second, third = looser(view), wider(view)
    store.ingest(view, weather_rows([0, 1]), who="ada", load_id="a")
    store.carry_over(view, second, who="ada")
    store.ingest(second, weather_rows([2]), who="ada", load_id="b")
    store.carry_over(second, third, who="ada")
    store.ingest(third, full(weather_rows([3])), who="ada", load_id="c")
    assert winds(store, third) == [0, 1, 2, 3]
    assert [(load.rows_written) for load in store.missing_loads(third, view)] == [1, 1]
    store.carry_over(third, view, who="ada")
    assert winds(store, view) == [0, 1, 2, 3]
    assert store.missing_loads(third, view) == []


def test_rows_that_came_by_two_ways_are_there_once(store: OfflineStore, view: FeatureView, weather_rows: Rows) -> None:
    second, third = looser(view), wider(view)
    store.ingest(view, weather_rows([0]), who="ada", load_id="a")
    store.carry_over(view, second, who="ada")
    store.carry_over(second, third, who="ada")
    assert store.missing_loads(view, third) == []
    store.ingest(view, weather_rows([1]), who="ada", load_id="b")
    store.carry_over(view, second, who="ada")
    store.ingest(third, full(weather_rows([1])), who="ada", load_id="b")
    for old in (view, second):
        assert store.carry_over(old, third, who="ada") is None
    assert winds(store, third) == [0, 1]


def test_some_rows_of_a_carried_load_may_be_missing(store: OfflineStore, view: FeatureView, weather_rows: Rows) -> None:
    second, third = looser(view), wider(view)
    for number, name in enumerate(("a", "b", "c")):
        store.ingest(view, weather_rows([2 * number, 2 * number + 1]), who="ada", load_id=name)
    store.ingest(third, full(weather_rows([2, 3])), who="ada", load_id="b")
    store.carry_over(view, second, who="ada")
    assert [load.rows_written for load in store.missing_loads(second, third)] == [4]
    store.carry_over(second, third, who="ada")
    assert winds(store, third) == list(range(6))


@pytest.mark.parametrize("change", [looser, wider])
def test_a_load_of_which_no_row_passed_was_brought_all_the_same(
    store: OfflineStore, view: FeatureView, weather_rows: Rows, change: Callable[[FeatureView], FeatureView]
) -> None:
    changed = change(view)
    strict = replace(changed, schema=[replace(view.schema[0], le=41), *changed.schema[1:]])
    store.ingest(view, weather_rows([0]), who="ada", load_id="passes")
    store.ingest(view, weather_rows([5]), who="ada", load_id="too-warm")
    store.ingest(view, weather_rows([1]), who="ada", load_id="passes-too")
    store.carry_over(view, strict, who="ada")
    assert winds(store, strict) == [0, 1]
    assert store.missing_loads(view, strict) == []
    assert store.carry_over(view, strict, who="ada") is None
    further = wider(strict, "rain")
    store.carry_over(strict, further, who="ada")
    assert winds(store, further) == [0, 1]
    assert store.missing_loads(view, further) == []
    (said,) = [load for _, load in store.table(further).loads_since(None)]
    assert [tuple(run) for run in said.origins] == [(0, "passes"), (1, "too-warm"), (1, "passes-too")]


def test_a_restore_gives_back_what_a_carry_over_covered(
    store: OfflineStore, view: FeatureView, weather_rows: Rows
) -> None:
    newer = looser(view)
    store.ingest(newer, weather_rows([9]), who="ada", load_id="own")
    for number in range(2):
        store.ingest(view, weather_rows([number]), who="ada", load_id=f"load-{number}")
    store.carry_over(view, newer, who="ada")
    after_carrying = store.loads(newer)[-1].load_id
    store.restore(newer, store.find_state(newer, "own"), who="ada")
    assert winds(store, newer) == [9]
    assert not store.table(newer).having(["load-0", "load-1"])
    # One comes by itself, the other is carried over again.
    assert store.ingest(newer, weather_rows([0]), who="ada", load_id="load-0").written == 1
    store.carry_over(view, newer, who="ada")
    assert winds(store, newer) == [0, 1, 9]
    # To what the first carry-over had made of the table, and on to where one stood by itself.
    store.restore(newer, store.find_state(newer, after_carrying), who="ada")
    assert winds(store, newer) == [0, 1, 9]
    assert store.ingest(newer, weather_rows([0]), who="ada", load_id="load-0").skipped == 1
    store.restore(newer, store.find_state(newer, "load-0"), who="ada")
    assert winds(store, newer) == [0, 9]
    assert [load.load_id for load in store.loads(newer)] == ["own", "load-0"]
    store.carry_over(view, newer, who="ada")
    assert winds(store, newer) == [0, 1, 9]


def test_a_load_that_was_carried_after_it_was_withdrawn_comes_back_by_itself(
    store: OfflineStore, view: FeatureView, weather_rows: Rows
) -> None:
    newer = looser(view)
    for one in (view, newer):
        store.ingest(one, weather_rows([0]), who="ada", load_id="first")
        store.ingest(one, weather_rows([1]), who="ada", load_id="second")
    store.restore(newer, store.find_state(newer, "first"), who="ada")
    store.carry_over(view, newer, who="ada")
    assert winds(store, newer) == [0, 1]
    store.restore(newer, store.find_state(newer, "second"), who="ada")
    assert [load.load_id for load in store.loads(newer)] == ["first", "second"]
    assert store.carry_over(view, newer, who="ada") is None
    assert winds(store, newer) == [0, 1]


def test_a_table_that_was_emptied_takes_over_all_of_it_again(
    store: OfflineStore, view: FeatureView, weather_rows: Rows
) -> None:
    second, third = looser(view), wider(view)
    store.ingest(view, weather_rows([0]), who="ada", load_id="a")
    store.carry_over(view, second, who="ada")
    store.carry_over(second, third, who="ada")
    store._empty(store.table(view), "ada", "retired")
    store.carry_over(third, view, who="ada")
    assert winds(store, view) == [0]


@pytest.mark.parametrize("change", [looser, wider])
def test_a_piece_of_the_source_that_was_quarantined_in_part_or_lacks_a_field_is_read_again(
    store: OfflineStore,
    view: FeatureView,
    weather_rows: Rows,
    tmp_path: Path,
    change: Callable[[FeatureView], FeatureView],
) -> None:
    rows = full(weather_rows([0, 1])) + ([] if change is wider else full(weather_rows([2], temp=500.0)))
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "weather.parquet")
    sourced = replace(view, source=FileSource(path="weather.parquet"))
    store.ingest_source(sourced, who="ada")
    newer = change(sourced)
    store.carry_over(sourced, newer, who="ada")
    (piece,) = [load.load_id for load in store.loads(sourced)]
    assert not store.table(newer).has_load(piece)
    assert store.missing_loads(sourced, newer) == []
    assert store.ingest_source(newer, who="ada").written == len(rows)


def test_a_piece_of_the_source_that_is_carried_over_while_it_is_read_is_read_once(
    store: OfflineStore, view: FeatureView, weather_rows: Rows, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pq.write_table(pa.Table.from_pylist(weather_rows([0, 1])), tmp_path / "weather.parquet")
    sourced = replace(view, source=FileSource(path="weather.parquet"))
    newer = looser(sourced)
    store.ingest_source(sourced, who="ada")
    with between_computing_and_committing(monkeypatch, lambda: store.ingest_source(newer, who="ada")):
        assert store.carry_over(sourced, newer, who="ada") is None
    assert winds(store, newer) == [0, 1]


def test_what_an_earlier_release_carried_over_is_known_by_its_order(
    store: OfflineStore, view: FeatureView, weather_rows: Rows
) -> None:
    second, third = looser(view), wider(view)
    store.ingest(view, weather_rows([0]), who="ada", load_id="a")
    store.carry_over(view, second, who="ada")
    forget_origins(store, second)
    assert store.missing_loads(view, second) == []
    store.ingest(view, weather_rows([1]), who="ada", load_id="b")
    store.carry_over(view, second, who="ada")
    assert winds(store, second) == [0, 1]
    store.carry_over(second, third, who="ada")
    # Neither goes back to where it came from, nor comes once more from there.
    assert store.carry_over(third, view, who="ada") is None
    assert store.carry_over(view, third, who="ada") is None
    assert (winds(store, view), winds(store, third)) == ([0, 1], [0, 1])


def test_a_piece_of_the_source_that_an_earlier_release_carried_over_is_known_however_it_came(
    store: OfflineStore, view: FeatureView, weather_rows: Rows, tmp_path: Path
) -> None:
    pq.write_table(pa.Table.from_pylist(full(weather_rows([0]))), tmp_path / "weather.parquet")
    first = replace(view, source=FileSource(path="weather.parquet"))
    second, third = looser(first), replace(looser(first), schema=[replace(view.schema[0], ge=-1), view.schema[1]])
    store.ingest_source(first, who="ada")
    store.carry_over(first, second, who="ada")
    store.carry_over(second, third, who="ada")
    for one in (second, third):
        forget_origins(store, one)
    assert store.missing_loads(first, third) == []
    assert store.ingest_source(third, who="ada").skipped == 1


def forget_origins(store: OfflineStore, view: FeatureView) -> None:
    """Let the log of a table say what one of an earlier release said."""
    for file in (store.table(view).path / "_delta_log").glob("*.json"):
        lines = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
        for line in lines:
            info = line.get("commitInfo", {})
            if "featurestore.load" in info:
                said = json.loads(info["featurestore.load"])
                del said["origins"]
                said["carried"] = [one for one in said["carried"] if one.startswith("source-")]
                info["featurestore.load"] = json.dumps(said)
        file.write_text("\n".join(map(json.dumps, lines)) + "\n", encoding="utf-8")


def test_a_commit_names_each_load_once_however_many_rows_it_has(
    store: OfflineStore, view: FeatureView, weather_rows: Rows
) -> None:
    for number in range(3):
        store.ingest(view, weather_rows(range(50 * number, 50 * number + 50)), who="ada", load_id=f"load-{number}")
    newer, newest = looser(view), wider(view)
    store.carry_over(view, newer, who="ada")
    store.carry_over(newer, newest, who="ada")
    for one in (newer, newest):
        (said,) = [load for _, load in store.table(one).loads_since(None)]
        assert [tuple(run) for run in said.origins] == [(0, "load-0"), (50, "load-1"), (100, "load-2")]


#: Three versions: the second takes all that the first says, the third adds a field.
VIEW = FeatureView(
    name="weather",
    entities=[Entity(name="airport", join_keys=["origin"])],
    schema=[Field(name="temp", dtype=Float64, le=140), Field(name="wind", dtype=Int64)],
)
VERSIONS = (VIEW, looser(VIEW), wider(VIEW))
#: What happens next: a version becomes current; a load reaches some of those that are live, others, or all of them,
#: before, while or after rows are carried over.
STEPS = st.one_of(
    st.tuples(st.just("apply"), st.integers(0, 2), st.integers(0, 2)),
    st.tuples(st.just("ingest"), st.integers(0, 2), st.integers(1, 3)),
)


def interleaved(
    store: OfflineStore, old: FeatureView, new: FeatureView, number: int, load: Callable[[], None], how: int
) -> None:
    """Carry rows over while a load that the older version has comes into the newer one too."""
    carry = partial(store.carry_over, old, new, who="ada")
    with pytest.MonkeyPatch.context() as patched:
        if how == 0:  # it comes when all is done
            carry()
            load()
        elif how == 1:  # it comes when it is known to be missing
            with between_computing_and_committing(patched, load):
                carry()
        else:  # it is about to come
            with as_a_load_commits(patched, f"load-{number}", carry):
                load()


@settings(max_examples=25, deadline=None)
@given(steps=st.lists(STEPS, min_size=2, max_size=9))
def test_each_row_is_once_in_the_table_of_the_current_version(
    steps: list[tuple[str, int, int]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """An apply carries rows over, and a load may be in one table and not yet in the next while it does."""
    root = tmp_path_factory.mktemp("versions")
    config = Config(root=root, project="tests", offline=OfflineConfig(threads=1, memory_limit="500MB"))
    with open_registry(config.database_url("sqlite:///registry.db"), config.project) as registry:
        store, current, live, number = OfflineStore(config, registry), 0, {0}, 0

        def load(version: int, name: int) -> None:
            rows = [
                {
                    "origin": "JFK",
                    "temp": 1.0,
                    "dewp": 2.0,
                    "wind": name,
                    "event_timestamp": START + timedelta(hours=name),
                }
            ]
            store.ingest(VERSIONS[version], rows, who="ada", load_id=f"load-{name}")

        for what, which, how in steps:
            if what == "apply" and which != current:
                number += 1
                load(current, number)
                interleaved(store, VERSIONS[current], VERSIONS[which], number, partial(load, which, number), how)
                for other in live - {current, which}:
                    load(other, number)
                store.carry_over(VERSIONS[current], VERSIONS[which], who="ada")
                live = {which, current} if how else {which}
                current = which
            elif what == "ingest":
                for _ in range(how):
                    number += 1
                    for version in sorted(live, key=lambda one: (one != current, one)):
                        load(version, number)
            found = Counter(winds(store, VERSIONS[current]))
            assert found == Counter(range(1, number + 1))
            for version in live:
                twice = {row: seen for row, seen in Counter(winds(store, VERSIONS[version])).items() if seen > 1}
                assert not twice
