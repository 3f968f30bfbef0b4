"""Materialization: by arrival, in chunks, and whatever happens in between, the newest rows are online in the end."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from featurestore.config import Config
from featurestore.definitions import Entity, FeatureView, Field, PushSource, storage_id
from featurestore.errors import DataError, OfflineStoreError, OnlineStoreError
from featurestore.materialize import MaterializeReport, Mode, materialize
from featurestore.materialize.standing import filled, rows_left_out
from featurestore.offline.store import OfflineStore
from featurestore.offline.tables import newest
from featurestore.online import LmdbStore, MemoryStore, OnlineStore
from featurestore.online.base import ORDER_BYTES
from featurestore.online.keys import KeyLayout
from featurestore.online.rowcodec import RowCodec
from featurestore.online.upkeep import expire
from featurestore.registry import open_registry
from featurestore.settings.sections import OfflineConfig
from featurestore.types import Float64, Int64, String

NOW = datetime(2013, 1, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
VIEW = FeatureView(
    name="weather",
    entities=[Entity(name="airport", join_keys=["origin", "gate"], dtypes=[String, Int64])],
    ttl=3 * HOUR,
    schema=[Field(name="temp", dtype=Float64)],
)
LONGER = dataclasses.replace(VIEW, ttl=30 * HOUR)
FOREVER = dataclasses.replace(VIEW, ttl=None)


@pytest.fixture
def offline(tmp_path: Path) -> Iterator[OfflineStore]:
    config = Config(root=tmp_path, project="tests", offline=OfflineConfig(threads=1, memory_limit="500MB"))
    with open_registry(config.database_url("sqlite:///registry.db"), config.project) as registry:
        yield OfflineStore(config, registry)


@pytest.fixture
def online() -> MemoryStore:
    return MemoryStore()


def row(origin: str | None = "JFK", temp: float = 1.0, hours: float = 0, **values: Any) -> dict[str, Any]:
    return {"origin": origin, "gate": 1, "temp": temp, "event_timestamp": NOW + hours * HOUR} | values


def load(offline: OfflineStore, rows: Sequence[dict[str, Any]], load_id: str | None = None) -> None:
    offline.ingest(VIEW, list(rows), who="ada", load_id=load_id)


def run(offline: OfflineStore, online: OnlineStore, view: FeatureView = VIEW, **options: Any) -> MaterializeReport:
    report = materialize(view, offline, online, **({"now": NOW} | options))
    assert report.read == report.written + report.older + report.expired + report.rejected
    return report


def temperature(store: OnlineStore, origin: str) -> float | None:
    keys = KeyLayout(VIEW.keys).encode([[origin], [1]])
    (stored,) = store.read([(storage_id(VIEW), keys)]).values[0]
    if stored is None:
        return None
    found: float = RowCodec(VIEW.schema).decode([stored[ORDER_BYTES:]])["temp"].to_pylist()[0]
    return found


def counts(report: MaterializeReport) -> tuple[int, int, int, int, int]:
    return report.read, report.written, report.older, report.expired, report.rejected


def rows_of(store: OnlineStore) -> dict[bytes, bytes | None]:
    keys = sorted(store.keys(storage_id(VIEW)))
    return dict(zip(keys, store.read([(storage_id(VIEW), keys)]).values[0], strict=True))


# What is counted


def test_counts_add_up_and_rows_are_there(offline: OfflineStore, online: MemoryStore) -> None:
    load(
        offline,
        [
            row("JFK", 1.5),
            row("JFK", 0.5, -1),
            row("LGA", 2.5, -3),
            row("EWR", 3.5, -3.01),
        ],
    )
    seen: list[tuple[int, int]] = []
    report = run(offline, online, progress=lambda *numbers: seen.append(numbers))
    assert counts(report) == (4, 2, 1, 1, 0)
    assert (report.view, report.mode, report.resumed) == ("weather", Mode.full, False)
    assert seen == [(2, 2)]
    assert [temperature(online, origin) for origin in ("JFK", "LGA", "EWR")] == [1.5, 2.5, None]


def test_columns_may_be_called_as_the_query_calls_a_rows_place(offline: OfflineStore, online: MemoryStore) -> None:
    entity = Entity(name="airport", join_keys=["place"], dtypes=[String])
    view = FeatureView(name="weather", entities=[entity], schema=[Field(name="row", dtype=Int64)])
    rows = [{"place": place, "row": row, "event_timestamp": NOW + row * HOUR} for place in "ab" for row in (-1, -2)]
    offline.ingest(view, rows, who="ada")
    report = run(offline, online, view)
    assert (report.read, report.written) == (4, 2)


def test_a_view_that_was_never_ingested_gives_zeros_and_leaves_no_trace(
    offline: OfflineStore, online: MemoryStore
) -> None:
    assert counts(run(offline, online)) == (0, 0, 0, 0, 0)
    assert online.standing(storage_id(VIEW)).progress is None


def test_a_report_says_what_became_of_the_rows(offline: OfflineStore, online: MemoryStore) -> None:
    load(offline, [row(), row(hours=-1), row("LGA", hours=-9)])
    assert str(run(offline, online)) == ("weather: 1 of 3 rows written, 1 no newer than what is online, 1 past the TTL")
    assert str(run(offline, online)) == "weather: nothing new"


# By arrival


def test_only_what_was_loaded_since_is_read_however_late_it_comes(offline: OfflineStore, online: MemoryStore) -> None:
    load(offline, [row("JFK", 2.0), row("LGA", 2.0)])
    assert run(offline, online).mode is Mode.full
    assert counts(run(offline, online)) == (0, 0, 0, 0, 0)
    load(offline, [row("JFK", 1.0, -1), row("EWR", 1.0, -2)])
    late = run(offline, online)
    assert (late.mode, counts(late)) == (Mode.incremental, (2, 1, 1, 0, 0))
    assert [temperature(online, origin) for origin in ("JFK", "LGA", "EWR")] == [2.0, 2.0, 1.0]
    assert counts(run(offline, online, full=True)) == (4, 0, 4, 0, 0)


def test_a_row_from_the_near_future_is_online_once_it_is_true(offline: OfflineStore, online: MemoryStore) -> None:
    load(offline, [row("JFK", 1.0), row("JFK", 2.0, 0.5), row("LGA", 2.0, 2)])
    assert counts(run(offline, online)) == (1, 1, 0, 0, 0)
    load(offline, [row("EWR", 3.0)])
    later = run(offline, online, now=NOW + HOUR)
    assert (later.mode, counts(later)) == (Mode.incremental, (2, 2, 0, 0, 0))
    assert [temperature(online, origin) for origin in ("JFK", "LGA", "EWR")] == [2.0, None, 3.0]
    assert counts(run(offline, online, now=NOW + 2 * HOUR)) == (1, 1, 0, 0, 0)


def test_a_compaction_brings_nothing_new(offline: OfflineStore, online: MemoryStore) -> None:
    for number in range(3):
        load(offline, [row("JFK", float(number), number - 3), row("LGA", float(number), number - 3)])
    run(offline, online)
    load(offline, [row("JFK", 9.0)])
    offline.compact(VIEW, who="ada")
    assert counts(run(offline, online)) == (1, 1, 0, 0, 0)
    assert [temperature(online, origin) for origin in ("JFK", "LGA")] == [9.0, 2.0]
    load(offline, [row("JFK", 10.0)])
    run(offline, online)
    offline.compact(VIEW, who="ada")
    assert counts(run(offline, online)) == (0, 0, 0, 0, 0)


def test_ties_go_to_the_newest_created_then_load_then_row(tmp_path: Path) -> None:
    source = PushSource(name="stations", created_timestamp_column="loaded_at")
    view = dataclasses.replace(VIEW, source=source)
    tie = [
        [row(temp=1.0, loaded_at=None), row(temp=1.5, loaded_at=None)],
        [row(temp=3.0, loaded_at=NOW - HOUR)],
        [row(temp=2.0, loaded_at=NOW - 2 * HOUR)],
        [row(temp=4.0, loaded_at=NOW - HOUR), row(temp=5.0, loaded_at=NOW - HOUR)],
    ]
    config = Config(root=tmp_path, project="tests", offline=OfflineConfig(threads=1, memory_limit="500MB"))
    with open_registry(config.database_url("sqlite:///registry.db"), config.project) as registry:
        offline, online = OfflineStore(config, registry), MemoryStore()
        for rows, expected in zip(tie, (1.5, 3.0, 3.0, 5.0), strict=True):
            offline.ingest(view, rows, who="ada")
            run(offline, online, view)
            keys = list(online.keys(storage_id(view)))
            (stored,) = online.read([(storage_id(view), keys)]).values[0]
            assert stored is not None
            assert RowCodec(view.schema).decode([stored[ORDER_BYTES:]])["temp"].to_pylist() == [expected]
        whole = MemoryStore()
        assert counts(run(offline, whole, view)) == (6, 1, 5, 0, 0)
        assert whole.read([(storage_id(view), keys)]).values == [[stored]]


# When more has to be read


def test_an_online_store_that_was_emptied_or_replaced_is_filled_again(offline: OfflineStore, tmp_path: Path) -> None:
    load(offline, [row("JFK"), row("LGA")])
    for _ in range(2):
        online = LmdbStore(tmp_path / "online", durable=False)
        assert counts(run(offline, online)) == (2, 2, 0, 0, 0)
        online.clear()
        assert counts(run(offline, online)) == (2, 2, 0, 0, 0)
        online.close()
        (tmp_path / "online").rename(tmp_path / f"away-{_}")


def test_a_longer_ttl_brings_rows_that_were_left_out_and_those_that_expired(
    offline: OfflineStore, online: MemoryStore
) -> None:
    load(offline, [row("JFK", 1.0, -2), row("LGA", 2.0, -20)])
    assert counts(run(offline, online)) == (2, 1, 0, 1, 0)
    assert rows_left_out(VIEW, online, NOW) == 0
    assert rows_left_out(LONGER, online, NOW) == 1
    longer = run(offline, online, LONGER)
    assert (longer.mode, counts(longer)) == (Mode.full, (2, 1, 1, 0, 0))
    assert run(offline, online, FOREVER).mode is Mode.incremental, "nothing is missing"
    assert expire(online, {storage_id(VIEW): VIEW.ttl}, NOW + 2 * HOUR) == 2
    assert rows_left_out(LONGER, online, NOW + 2 * HOUR) == 2
    assert counts(run(offline, online, LONGER, now=NOW + 2 * HOUR)) == (2, 2, 0, 0, 0)
    assert rows_left_out(LONGER, online, NOW + 2 * HOUR) == 0
    assert run(offline, online, LONGER, now=NOW + 2 * HOUR).mode is Mode.incremental


def test_a_ttl_that_is_as_long_by_now_needs_no_second_look(offline: OfflineStore, online: MemoryStore) -> None:
    load(offline, [row("JFK", 1.0, -2), row("LGA", 2.0, -20)])
    run(offline, online)
    longer = dataclasses.replace(VIEW, ttl=4 * HOUR)
    assert run(offline, online, longer, now=NOW + 2 * HOUR).mode is Mode.incremental
    assert run(offline, online, longer, now=NOW + HOUR / 2).mode is Mode.full


def test_rows_that_were_taken_out_are_no_longer_online(offline: OfflineStore, online: MemoryStore) -> None:
    load(offline, [row("JFK", 1.0, -1)], "good")
    run(offline, online)
    load(offline, [row("JFK", 99.0), row("LGA", 99.0)], "bad")
    run(offline, online)
    offline.restore(VIEW, offline.find_state(VIEW, "good"), who="ada")
    back = run(offline, online)
    assert (back.mode, counts(back)) == (Mode.restored, (1, 1, 0, 0, 0))
    assert [temperature(online, origin) for origin in ("JFK", "LGA")] == [1.0, None]
    assert str(back).endswith("in the place of what the keys of loads that came or went had online")
    assert run(offline, online).mode is Mode.incremental


def test_only_keys_of_loads_that_came_or_went_are_looked_at_after_a_restore(
    offline: OfflineStore, online: MemoryStore
) -> None:
    """A bad load of few keys must not cost, nor keep pushes waiting for, a rebuild of the whole table."""
    load(offline, [row(f"k{number}", 1.0, -1) for number in range(50)], "good")
    run(offline, online)
    load(offline, [row("k7", 99.0), row("new", 99.0)], "bad")
    run(offline, online)
    load(offline, [row("late", 5.0, -1)], "came-later")
    offline.restore(VIEW, offline.find_state(VIEW, "good"), who="ada", keep=lambda one: one != "bad")
    back = run(offline, online)
    assert (back.mode, counts(back)) == (Mode.restored, (2, 2, 0, 0, 0))
    assert [temperature(online, one) for one in ("k7", "new", "late", "k1")] == [1.0, None, 5.0, 1.0]


def test_rows_of_the_future_then_are_not_forgotten_by_a_run_that_looks_at_some_keys(
    offline: OfflineStore, online: MemoryStore
) -> None:
    load(offline, [row("JFK", 1.0, -1), row("LGA", 2.0, 1)], "good")
    run(offline, online)
    load(offline, [row("JFK", 99.0)], "bad")
    run(offline, online)
    offline.restore(VIEW, offline.find_state(VIEW, "good"), who="ada")
    later = NOW + 2 * HOUR
    assert run(offline, online, now=later).mode is Mode.restored
    assert run(offline, online, now=later).mode is Mode.incremental
    assert temperature(online, "LGA") == 2.0


def test_another_run_that_went_on_is_not_written_over(offline: OfflineStore, online: MemoryStore) -> None:
    load(offline, [row("JFK", 1.0, -1)], "good")
    load(offline, [row("JFK", 99.0)], "bad")
    run(offline, online)
    offline.restore(VIEW, offline.find_state(VIEW, "good"), who="ada")

    @contextlib.contextmanager
    def somebody_else() -> Iterator[Any]:
        run(offline, online)
        yield ()

    with pytest.raises(OnlineStoreError, match="Another process"):
        run(offline, online, waiting=somebody_else)
    assert temperature(online, "JFK") == 1.0


def test_a_table_that_was_made_anew_puts_its_rows_in_the_place_of_the_old_ones(
    offline: OfflineStore, online: MemoryStore, tmp_path: Path
) -> None:
    load(offline, [row("JFK", 1.0), row("LGA", 1.0)])
    run(offline, online)
    config = Config(root=tmp_path / "anew", project="tests", offline=OfflineConfig(threads=1, memory_limit="500MB"))
    config.root.mkdir()
    with open_registry(config.database_url("sqlite:///registry.db"), config.project) as registry:
        other = OfflineStore(config, registry)
        load(other, [row("JFK", 2.0, -1)])
        anew = run(other, online)
        assert run(other, online).mode is Mode.incremental
    assert (anew.mode, counts(anew)) == (Mode.rebuild, (1, 1, 0, 0, 0))
    assert [temperature(online, origin) for origin in ("JFK", "LGA")] == [2.0, None]


# Ranges


def test_a_range_brings_its_rows_and_nothing_else_and_the_rest_comes_later(
    offline: OfflineStore, online: MemoryStore
) -> None:
    load(offline, [row("JFK", 1.0, -2), row("LGA", 2.0, -1), row("EWR", 3.0, -0.5), row("BOS", 4.0)])
    some = run(offline, online, start=NOW - 2 * HOUR, end=NOW - HOUR / 2)
    assert (some.mode, counts(some)) == (Mode.range, (2, 2, 0, 0, 0))
    assert [temperature(online, origin) for origin in ("JFK", "LGA", "EWR", "BOS")] == [1.0, 2.0, None, None]
    assert counts(run(offline, online, end=NOW - HOUR)) == (1, 0, 1, 0, 0)
    rest = run(offline, online)
    assert (rest.mode, counts(rest)) == (Mode.full, (4, 2, 2, 0, 0))
    assert counts(run(offline, online, start=NOW - 9 * HOUR)) == (4, 0, 4, 0, 0)
    assert run(offline, online).mode is Mode.incremental


def test_a_range_that_makes_no_sense_is_refused(offline: OfflineStore, online: MemoryStore) -> None:
    with pytest.raises(DataError, match="before it begins"):
        run(offline, online, start=NOW, end=NOW)
    with pytest.raises(DataError, match="in full, and in a range"):
        run(offline, online, start=NOW, full=True)


# Interruptions


class Interrupted(Exception):  # noqa: N818
    """What ends a run in these tests."""


def after(chunks: int) -> Callable[[int, int], None]:
    """Return a progress that interrupts after so many chunks."""
    left = [chunks]

    def progress(count: int, total: int) -> None:  # noqa: ARG001
        left[0] -= 1
        if left[0] <= 0:
            raise Interrupted

    return progress


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(newest, "CHUNK_ROWS", 2_048)  # as small as DuckDB hands them out


def many(number: int, hours: float = 0, first: int = 0) -> list[dict[str, Any]]:
    return [row(f"{key:05}", float(key), hours) for key in range(first, first + number)]


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("chunks", [1, 2, 4])
def test_a_run_that_was_interrupted_goes_on_after_its_last_chunk_and_counts_as_one(
    offline: OfflineStore, online: MemoryStore, chunks: int
) -> None:
    load(offline, [*many(10_000), row("old", hours=-9), *many(5, -1)])
    with pytest.raises(Interrupted):
        run(offline, online, progress=after(chunks))
    done = len(rows_of(online))
    assert 0 < done < 10_000
    load(offline, many(10, first=20_000))
    seen: list[tuple[int, int]] = []
    report = run(offline, online, progress=lambda *numbers: seen.append(numbers))
    assert report.resumed
    assert counts(report) == (10_016, 10_010, 5, 1, 0)
    assert seen[0] == (done, 10_000)
    assert str(report).endswith("gone on with after an interruption")
    assert len(rows_of(online)) == 10_010
    assert counts(run(offline, online)) == (0, 0, 0, 0, 0)


@pytest.mark.usefixtures("small_chunks")
def test_an_interrupted_run_gives_way_where_going_on_would_be_wrong(offline: OfflineStore, online: MemoryStore) -> None:
    load(offline, many(5_000, -1), "good")
    load(offline, many(5_000), "bad")
    with pytest.raises(Interrupted):
        run(offline, online, progress=after(1))
    offline.restore(VIEW, offline.find_state(VIEW, "good"), who="ada")
    report = run(offline, online)
    assert (report.mode, report.resumed, counts(report)) == (Mode.rebuild, False, (5_000, 5_000, 0, 0, 0))


@pytest.mark.usefixtures("small_chunks")
def test_an_interrupted_run_by_arrival_gives_way_to_a_full_one(offline: OfflineStore, online: MemoryStore) -> None:
    load(offline, [row()])
    run(offline, online)
    load(offline, many(5_000))
    with pytest.raises(Interrupted):
        run(offline, online, progress=after(1))
    report = run(offline, online, full=True)
    assert (report.resumed, report.read) == (False, 5_001)
    load(offline, many(5_000, first=9_000))
    with pytest.raises(Interrupted):
        run(offline, online, progress=after(1))
    report = run(offline, online, start=NOW - HOUR)
    assert (report.resumed, report.mode, report.read) == (True, Mode.range, 5_000 + 10_001)


@pytest.mark.usefixtures("small_chunks")
def test_a_range_that_was_interrupted_is_not_done_twice(offline: OfflineStore, online: MemoryStore) -> None:
    load(offline, many(5_000))
    asked = {"start": NOW - HOUR, "end": NOW + HOUR}
    with pytest.raises(Interrupted):
        run(offline, online, progress=after(1), **asked)
    assert counts(run(offline, online, **asked)) == (5_000, 5_000, 0, 0, 0)


@pytest.mark.usefixtures("small_chunks")
def test_of_two_that_run_at_once_one_ends_and_no_row_is_lost(offline: OfflineStore, online: MemoryStore) -> None:
    load(offline, many(8_000))
    others: list[MaterializeReport] = []

    def meanwhile(count: int, total: int) -> None:  # noqa: ARG001
        if not others:
            others.append(run(offline, online))

    with pytest.raises(OnlineStoreError, match="Another process has gone on") as caught:
        run(offline, online, progress=meanwhile)
    assert "weather" in caught.value.message
    assert (others[0].resumed, counts(others[0])) == (True, (8_000, 8_000, 0, 0, 0))


def test_a_record_of_a_later_release_is_refused(offline: OfflineStore, online: MemoryStore) -> None:
    load(offline, [row()])
    online.put_step(storage_id(VIEW), [], expected=None, progress=lambda _: b'{"format": 2}')
    with pytest.raises(OnlineStoreError, match="has format 2, of a newer release") as caught:
        run(offline, online)
    assert caught.value.hint == "Upgrade the featurestore package here."


def test_a_file_that_is_gone_is_named_and_nothing_counts_as_done(offline: OfflineStore, online: MemoryStore) -> None:
    load(offline, [row()])
    (file,) = offline.table(VIEW).path.glob("*.parquet")
    file.unlink()
    with pytest.raises(OfflineStoreError, match="weather"):
        run(offline, online)
    assert filled(online.standing(storage_id(VIEW)), VIEW) is None


# Against an oracle

EVENTS = st.lists(st.tuples(st.sampled_from(["a", "b", "c"]), st.integers(-6, 3)), min_size=1, max_size=6)
STEPS = st.lists(
    st.tuples(st.just("load"), EVENTS)
    | st.tuples(st.sampled_from(["materialize", "full", "compact", "interrupt", "expire", "restore"]), st.none()),
    min_size=1,
    max_size=8,
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
def test_after_any_history_the_store_holds_what_one_full_run_gives(tmp_path_factory: Any, steps: list[Any]) -> None:
    root = tmp_path_factory.mktemp("history")
    config = Config(root=root, project="tests", offline=OfflineConfig(threads=1, memory_limit="500MB"))
    with open_registry(config.database_url("sqlite:///registry.db"), config.project) as registry:
        offline, online, now, loads = OfflineStore(config, registry), MemoryStore(), NOW, 0
        for action, events in steps:
            now += HOUR / 2
            if action == "load":
                load(offline, [row(key, float(loads), hour) for key, hour in events], f"load-{loads}")
                loads += 1
            elif action == "compact":
                offline.compact(VIEW, who="ada")
            elif action == "expire":
                expire(online, {storage_id(VIEW): VIEW.ttl}, now)
            elif action == "restore" and loads > 1:
                offline.restore(VIEW, offline.find_state(VIEW, "load-0"), who="ada")
            elif action == "interrupt":
                with contextlib.suppress(Interrupted):
                    run(offline, online, now=now, progress=after(1))
            elif action != "restore":
                run(offline, online, now=now, full=action == "full")
        run(offline, online, now=now)
        whole = MemoryStore()
        run(offline, whole, now=now)
        for store in (online, whole):
            expire(store, {storage_id(VIEW): VIEW.ttl}, now)
        assert rows_of(online) == rows_of(whole)
