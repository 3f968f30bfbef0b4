"""What every online store must do."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from featurestore.errors import ConfigError, OnlineStoreError
from featurestore.online import LmdbStore, MemoryStore, OnlineStore, open_online_store
from featurestore.online import lmdb as lmdb_store
from featurestore.online.base import ORDER_BYTES, event_time, oldest_order, order_prefix, placed
from featurestore.online.lmdb_reading import SnapshotReader
from featurestore.online.lmdb_state import State
from featurestore.online.redis.store import RedisStore
from featurestore.settings.online import RedisConfig
from tests import backends, forking
from tests.redis_servers import emptied

Order = tuple[int, int | None, int, int]


def value(order: Order, content: bytes = b"") -> bytes:
    event, created, load, row = order
    prefix = order_prefix(
        np.array([event]), np.array([created or 0]), np.array([created is None]), np.array([load]), np.array([row])
    )
    return prefix.tobytes() + content


def at(event: int, content: bytes = b"") -> bytes:
    return value((event, None, 1, 0), content)


#: A cluster has no clock: rehearsals have a store of their own.
OF_A_CLOCK = {
    "test_clearing_removes_rows_generations_and_clock",
    "test_a_reader_sees_two_tables_at_one_instant",
    "test_forgetting_changes_nothing_that_readers_see",
}
#: Some thousand writes, each to a few of many buckets: a minute. Others ask a cluster for the same with fewer.
LONG_ON_A_CLUSTER = {
    "test_expiry_in_steps_looks_at_every_row_once",
    "test_the_newest_row_wins_whatever_the_order_of_writes",
}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "store" in metafunc.fixturenames:
        kinds = ["memory", "lmdb", "redis", "valkey"]
        if metafunc.function.__name__ not in OF_A_CLOCK | LONG_ON_A_CLUSTER:
            kinds.append("cluster")
        metafunc.parametrize("store", backends.params("online", *kinds), indirect=True)


@pytest.fixture
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[OnlineStore]:
    where: str | RedisConfig = {"memory": "memory://"}.get(request.param, "lmdb://online")
    if request.param == "redis":
        where = emptied(request.getfixturevalue("redis_server"))
    elif request.param == "valkey":
        where = emptied(request.getfixturevalue("valkey_server"))
    elif request.param == "cluster":
        where = emptied(*request.getfixturevalue("redis_cluster"))
    opened = open_online_store(where, tmp_path, durable=False)
    yield opened
    opened.close()


def is_cluster(store: OnlineStore) -> bool:
    """Return whether a store has many buckets, each of which is as one server is."""
    return isinstance(store, RedisStore) and store.layout.many


def get(store: OnlineStore, table: str, *keys: bytes | None) -> list[bytes | None]:
    return store.read([(table, keys)]).values[0]


def test_an_empty_store_finds_nothing(store: OnlineStore) -> None:
    found = store.read([("a-1", [b"k", None])])
    assert found.values == [[None, None]]
    assert found.generations == [0]
    assert found.clock is None


def test_a_row_comes_back_as_it_was_put(store: OnlineStore) -> None:
    assert store.put_newest("a-1", [(b"k", at(5, b"row"))]) == (1, 0)
    assert get(store, "a-1", b"k", b"other", None) == [at(5, b"row"), None, None]


def test_tables_do_not_share_keys(store: OnlineStore) -> None:
    store.put_newest("a-1", [(b"k", at(1, b"a"))])
    store.put_newest("a-2", [(b"k", at(1, b"b"))])
    assert store.read([("a-2", [b"k"]), ("a-1", [b"k"])]).values == [[at(1, b"b")], [at(1, b"a")]]


ORDERS = st.tuples(
    st.integers(-2, 2) | st.sampled_from([-(2**62), 2**62]),
    st.none() | st.integers(-1, 1),
    st.integers(0, 2),
    st.integers(0, 2),
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(orders=st.lists(ORDERS, min_size=1, max_size=8, unique=True))
def test_the_newest_row_wins_whatever_the_order_of_writes(store: OnlineStore, orders: list[Order]) -> None:
    store.clear()
    for order in orders:
        store.put_newest("a-1", [(b"k", value(order, repr(order).encode()))])
    newest = max(orders, key=lambda one: (one[0], one[1] is not None, one[1] or 0, one[2], one[3]))
    (found,) = get(store, "a-1", b"k")
    assert found is not None
    assert found[ORDER_BYTES:] == repr(newest).encode()


def test_counts_tell_written_from_older(store: OnlineStore) -> None:
    assert store.put_newest("a-1", [(b"k", at(5)), (b"k", at(7)), (b"j", at(1))]) == (3, 0)
    assert store.put_newest("a-1", [(b"k", at(6)), (b"k", at(7)), (b"j", at(2))]) == (1, 2)


def test_rows_of_several_tables_are_put_at_once_and_newest_wins_in_each(store: OnlineStore) -> None:
    store.put_newest("a-1", [(b"k", at(5))])
    assert store.put_all({"a-1": [(b"k", at(4)), (b"j", at(1))], "b-1": [(b"k", at(3))]}) == (2, 1)
    found = store.read([("a-1", [b"k", b"j"]), ("b-1", [b"k"])])
    assert found.values == [[at(5), at(1)], [at(3)]]
    assert found.generations == [1, 1]


def test_settling_lowers_a_value_that_is_still_the_provisional_one(store: OnlineStore) -> None:
    store.put_newest("a-1", [(b"k", value((5, None, 1 << 62, 7), b"row"))])
    settled = (b"k", value((5, None, 1 << 62, 7), b"row"), value((5, None, 3, 7), b"row"))
    assert store.settle("a-1", [settled]) == 1
    assert get(store, "a-1", b"k") == [value((5, None, 3, 7), b"row")]
    assert store.settle("a-1", [settled]) == 0
    assert store.put_newest("a-1", [(b"k", value((5, None, 4, 0)))]) == (1, 0)


def test_settling_leaves_a_newer_value_and_writes_one_that_is_missing_or_older(store: OnlineStore) -> None:
    provisional, final = value((5, None, 1 << 62, 0)), value((5, None, 3, 0))
    newer, older = value((5, None, 1 << 62, 1)), value((5, None, 2, 9))
    store.put_newest("a-1", [(b"newer", newer), (b"older", older)])
    rows = [(key, provisional, final) for key in (b"newer", b"older", b"missing")]
    assert store.settle("a-1", rows) == 2
    assert get(store, "a-1", b"newer", b"older", b"missing") == [newer, final, final]
    assert store.settle("never-1", [(b"k", provisional, final)]) == 1
    assert get(store, "never-1", b"k") == [final]


def test_a_settlement_that_fails_changes_nothing(store: OnlineStore) -> None:
    store.put_newest("a-1", [(b"k", value((5, None, 9, 0)))])

    def broken() -> Iterator[tuple[bytes, bytes, bytes]]:
        yield b"k", value((5, None, 9, 0)), value((5, None, 1, 0))
        raise RuntimeError("the source broke")

    with pytest.raises(RuntimeError):
        store.settle("a-1", broken())
    assert get(store, "a-1", b"k") == [value((5, None, 9, 0))]


@given(ORDERS, st.integers(0, 2**62), st.integers(0, 2**40))
def test_a_value_is_put_at_another_place_of_another_load_and_stays_what_it_was(
    order: Order, load: int, row: int
) -> None:
    event, created, _, _ = order
    assert placed(value(order, b"row"), load, row) == value((event, created, load, row), b"row")


def test_replacing_leaves_only_the_new_rows_in_a_new_generation(store: OnlineStore) -> None:
    store.put_newest("a-1", [(b"k", at(9)), (b"gone", at(9))])
    store.put_newest("b-1", [(b"k", at(3))])
    before = store.read([("a-1", [b"k"])]).generations[0]
    generation = store.replace("a-1", [(b"k", at(5, b"restored"))])
    found = store.read([("a-1", [b"k", b"gone"]), ("b-1", [b"k"])])
    assert found.values == [[at(5, b"restored"), None], [at(3)]]
    assert found.generations[0] == generation == before + 1
    assert store.status()["a-1"].rows == 1


def noted(store: OnlineStore, table: str, progress: bytes) -> None:
    store.put_step(table, [], expected=store.standing(table).progress, progress=lambda _: progress)


def test_rows_of_some_keys_give_way_to_older_ones_and_the_others_stay(store: OnlineStore) -> None:
    store.put_newest("a-1", [(b"back", at(9)), (b"gone", at(9)), (b"other", at(4))])
    noted(store, "a-1", b"before")
    rows = [(b"back", at(5)), (b"back", at(6)), (b"other", at(3)), (b"new", at(1))]
    done = store.replace_keys(
        "a-1", iter([b"back", b"gone", b"unknown"]), iter(rows), expected=b"before", progress=b"p"
    )
    assert done == (3, 1)
    found = store.read([("a-1", [b"back", b"gone", b"other", b"new"])])
    assert found.values == [[at(6), None, at(4), at(1)]]
    assert found.generations == [1]
    assert found.writes == [found.snapshot]
    assert store.standing("a-1").progress == b"p"


def test_rows_of_keys_are_left_if_somebody_went_on_or_their_source_fails(store: OnlineStore) -> None:
    store.put_newest("a-1", [(b"k", at(9))])
    noted(store, "a-1", b"mine")
    assert store.replace_keys("a-1", [b"k"], [(b"k", at(5))], expected=b"another's", progress=b"p") is None

    def broken() -> Iterator[tuple[bytes, bytes]]:
        yield b"k", at(5)
        raise RuntimeError("the source broke")

    with pytest.raises(RuntimeError):
        store.replace_keys("a-1", [b"k"], broken(), expected=b"mine", progress=b"p")
    assert get(store, "a-1", b"k") == [at(9)]
    assert store.standing("a-1").progress == b"mine"


@pytest.mark.parametrize("all_keys", [True, False])
def test_a_row_that_is_put_while_others_are_replaced_is_put_after_them_and_readers_do_not_wait(
    store: OnlineStore, all_keys: bool
) -> None:
    store.put_newest("a-1", [(b"k", at(9))])
    seen: list[list[bytes | None]] = []
    threads: list[threading.Thread] = []

    def rows() -> Iterator[tuple[bytes, bytes]]:
        yield b"k", at(5)
        threads.append(threading.Thread(target=store.put_newest, args=("a-1", [(b"k", at(7)), (b"new", at(1))])))
        threads[0].start()
        threads[0].join(0.2)
        assert threads[0].is_alive()
        reader = threading.Thread(target=lambda: seen.append(get(store, "a-1", b"k", b"new")))
        reader.start()
        reader.join(10)

    if all_keys:
        store.replace("a-1", rows())
    else:
        store.replace_keys("a-1", [b"k"], rows(), expected=None, progress=b"p")
    threads[0].join(10)
    assert seen == [[at(9), None]]
    assert get(store, "a-1", b"k", b"new") == [at(7), at(1)]


def test_a_replacement_that_fails_changes_nothing(store: OnlineStore) -> None:
    store.put_newest("a-1", [(b"k", at(9))])

    def broken() -> Iterator[tuple[bytes, bytes]]:
        yield b"k", at(10)
        raise RuntimeError("the source broke")

    for write in (store.replace, store.put_newest):
        with pytest.raises(RuntimeError):
            write("a-1", broken())
    assert get(store, "a-1", b"k") == [at(9)]


def test_rows_and_clock_move_together_and_only_from_where_the_clock_stands(store: OnlineStore) -> None:
    if is_cluster(store):  # rehearsals, which need this, have their stores on the disk
        with pytest.raises(OnlineStoreError, match="no clock of a rehearsal"):
            store.advance(None, 10, {})
        return
    assert store.advance(None, 10, {"a-1": [(b"k", at(9))]}) == (1, 0)
    assert store.advance(None, 20, {"a-1": [(b"k", at(19))]}) is None
    assert store.advance(9, 20, {"a-1": [(b"k", at(19))]}) is None
    assert store.read([("a-1", [b"k"])])[:3] == (10, [1], [[at(9)]])
    assert store.advance(10, 20, {"a-1": [(b"k", at(19))], "b-1": [(b"j", at(20))]}) == (2, 0)
    assert store.clock() == 20
    assert store.read([("a-1", [b"k"]), ("b-1", [b"j"])]).values == [[at(19)], [at(20)]]


def test_every_write_makes_a_greater_snapshot_and_names_the_tables_that_it_wrote(store: OnlineStore) -> None:
    writes: list[Callable[[], object]] = [
        lambda: store.put_newest("a-1", [(b"k", at(1))]),
        lambda: store.put_newest("b-1", [(b"k", at(1))]),
        lambda: store.put_newest("a-1", [(b"j", at(2))]),
        lambda: store.replace("a-1", [(b"k", at(3))]),
        lambda: store.put_step("a-1", [(b"k", at(6))], expected=None, progress=lambda _: b"1"),
        lambda: store.expire("a-1", 7),
        lambda: store.put_newest("a-1", [(b"k", at(8))]),
        lambda: store.delete("a-1", [b"k"]),
        store.forget,
        lambda: store.put_newest("a-1", [(b"k", at(4))]),
        store.clear,
        lambda: store.put_newest("a-1", [(b"k", at(5))]),
    ]
    if not is_cluster(store):
        writes += [lambda: store.advance(None, 10, {"a-1": [(b"k", at(9))]}), lambda: store.advance(10, 11, {})]
    tables = [("a-1", [b"k", b"j"]), ("b-1", [b"k"])]
    before = store.read(tables)
    assert before.writes == [0, 0]
    for number, write in enumerate(writes):
        write()
        found = store.read(tables)
        assert found.snapshot >= before.snapshot, number
        assert found.snapshot == store.read([] if not is_cluster(store) else tables).snapshot
        if found[:3] != before[:3]:
            assert found.snapshot > before.snapshot, number
        for place in range(2):
            if found.values[place] != before.values[place]:
                assert found.writes[place] != before.writes[place], number
        before = found
    assert before.values in ([[at(9), None], [None]], [[at(5), None], [None]])


def test_the_present_snapshot_is_that_of_the_next_read_or_not_known(store: OnlineStore) -> None:
    store.put_newest("a-1", [(b"k", at(1))])
    for event in range(2, 30):
        read = store.read([("a-1", [b"k"])]).snapshot
        assert store.snapshot() == (None if isinstance(store, RedisStore) else read), "who can tell it once it was read"
        store.put_newest("a-1", [(b"k", at(event))])
        assert store.snapshot() != read
        assert store.read([("a-1", [b"k"])]).snapshot > read
    if isinstance(store, LmdbStore):
        store.read([])
        before = store.snapshot()
        LmdbStore(store._folder).forget()
        assert store.snapshot() != before


def test_clearing_removes_rows_generations_and_clock(store: OnlineStore) -> None:
    store.advance(None, 10, {"a-1": [(b"k", at(9))]})
    store.clear()
    assert store.read([("a-1", [b"k"])])[:3] == (None, [0], [[None]])
    assert store.status() == {}


def test_status_counts_rows_and_bytes(store: OnlineStore) -> None:
    store.put_newest("a-1", [(b"k", at(1, b"12345")), (b"key", at(1))])
    store.put_newest("b-1", [])
    found = store.status()
    assert (found["a-1"].rows, found["a-1"].bytes) == (2, 1 + 3 + 2 * ORDER_BYTES + 5)
    assert found["b-1"].rows == 0


def test_status_tells_the_latest_event_time_of_a_table(store: OnlineStore) -> None:
    store.put_newest("a-1", [(b"z", at(1)), (b"k", at(7)), (b"b", at(-3))])
    store.put_newest("b-1", [(b"k", at(-3))])
    store.put_newest("c-1", [])
    assert {name: one.newest for name, one in store.status().items()} == {"a-1": 7, "b-1": -3, "c-1": None}


def test_a_reader_sees_two_tables_at_one_instant(store: OnlineStore) -> None:
    """A writer moves both tables and the clock together; no read may see one moved and the other not."""
    store.advance(None, 0, {"a-1": [(b"k", at(0))], "b-1": [(b"k", at(0))]})
    torn: list[object] = []
    done = threading.Event()

    def watch() -> None:
        while not done.is_set():
            clock, _, ((one,), (other,)), *_ = store.read([("a-1", [b"k"]), ("b-1", [b"k"])])
            if one != other or one is None or event_time(one) != clock:
                torn.append((clock, one, other))

    reader = threading.Thread(target=watch)
    reader.start()
    for now in range(1, 300):
        store.advance(now - 1, now, {"a-1": [(b"k", at(now))], "b-1": [(b"k", at(now))]})
    done.set()
    reader.join()
    assert torn == []


@given(st.integers(-(2**62), 2**62), st.integers(-(2**62), 2**62))
def test_age_is_judged_on_bytes_as_on_numbers(event: int, oldest: int) -> None:
    assert event_time(at(event)) == event
    assert (at(event) >= oldest_order(oldest)) == (event >= oldest)
    assert at(event) >= oldest_order(event)


def test_processes_see_each_others_writes_and_generations(tmp_path: Path) -> None:
    ours = LmdbStore(tmp_path)
    ours.put_newest("a-1", [(b"k", at(1))])
    theirs = f"""
from pathlib import Path
from featurestore.online import LmdbStore
store = LmdbStore(Path({str(tmp_path)!r}))
store.put_newest("a-1", [(b"k", {at(7, b"theirs")!r})])
store.replace("a-1", [(b"k", {at(8, b"theirs")!r})])
store.close()
"""
    forking.run([sys.executable, "-c", theirs], check=True, timeout=60)
    assert ours.read([("a-1", [b"k"])])[:3] == (None, [2], [[at(8, b"theirs")]])
    ours.close()


def test_rows_of_old_generations_leave_the_file(tmp_path: Path) -> None:
    store = LmdbStore(tmp_path, durable=False)
    for _ in range(30):
        store.replace("a-1", [(b"%04d" % key, at(1, bytes(200))) for key in range(500)])
    store.close()
    assert (tmp_path / "data.mdb").stat().st_size < 10 * 500 * 250


def test_a_process_may_open_one_folder_twice(tmp_path: Path) -> None:
    one, other = LmdbStore(tmp_path), LmdbStore(tmp_path)
    one.put_newest("a-1", [(b"k", at(1))])
    one.close()
    assert get(other, "a-1", b"k") == [at(1)]
    other.close()
    again = LmdbStore(tmp_path)
    assert get(again, "a-1", b"k") == [at(1)]
    again.close()


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OnlineStoreError, match="cannot be opened") as caught:
        LmdbStore(tmp_path / "file")
    assert "featurestore.toml" in caught.value.hint


def test_a_store_of_an_unknown_kind_is_refused(tmp_path: Path) -> None:
    assert isinstance(open_online_store("memory://", tmp_path), MemoryStore)
    for url in ("mysql://x", "lmdb://", "lmdb"):
        with pytest.raises(ConfigError, match="no online store"):
            open_online_store(url, tmp_path)


def test_threads_that_see_different_snapshots_do_not_mix_their_states() -> None:
    reader = SnapshotReader()
    older = State(None)
    older.clock = 1
    newer = State(None)
    newer.clock = 2

    class Interrupted(bytes):
        """A record during whose comparison another thread reads a newer one."""

        def __ne__(self, other: object) -> bool:
            reader._state(newer.to_json())
            return super().__ne__(other)

        __hash__ = bytes.__hash__

    reader._state(older.to_json())
    assert reader._state(Interrupted(older.to_json())).clock == 1


def test_keys_of_a_table_are_listed_and_of_no_other(store: OnlineStore) -> None:
    store.put_newest("a-1", [(b"k", at(1)), (b"j", at(1))])
    store.put_newest("b-1", [(b"other", at(1))])
    assert sorted(store.keys("a-1")) == [b"j", b"k"]
    assert list(store.keys("never-1")) == []


def test_deleted_rows_are_gone_at_once_and_the_others_stay(store: OnlineStore) -> None:
    store.put_newest("a-1", [(b"k", at(9)), (b"stays", at(9))])
    store.put_newest("b-1", [(b"k", at(3))])
    assert store.delete("a-1", [b"k", b"unknown"]) == 1
    assert store.delete("a-1", [b"k"]) == 0
    assert store.delete("never-1", [b"k"]) == 0
    assert store.read([("a-1", [b"k", b"stays"]), ("b-1", [b"k"])])[:3] == (None, [1, 1], [[None, at(9)], [at(3)]])


def test_forgetting_changes_nothing_that_readers_see(store: OnlineStore) -> None:
    store.advance(None, 10, {"a-1": [(b"k", at(9)), (b"gone", at(9))], "b-1": [(b"k", at(3))]})
    store.delete("a-1", [b"gone"])
    before = store.read([("a-1", [b"k", b"gone"]), ("b-1", [b"k"])])
    for _ in range(3):
        store.forget()
        assert store.read([("a-1", [b"k", b"gone"]), ("b-1", [b"k"])])[:3] == before[:3]
    assert store.put_newest("a-1", [(b"k", at(10))]) == (1, 0)
    assert store.advance(10, 11, {"c-1": [(b"k", at(11))]}) == (1, 0)
    assert {name: one.rows for name, one in store.status().items()} == {"a-1": 1, "b-1": 1, "c-1": 1}
    assert store.replace("a-1", [(b"k", at(5))]) == 2


# How far a table is filled


def note(text: bytes) -> Callable[[object], bytes]:
    return lambda _: text


def test_rows_and_progress_go_together_and_only_from_where_it_stands(store: OnlineStore) -> None:
    assert store.standing("a-1") == (None, None, 0)
    told: list[object] = []

    def first(counts: object) -> bytes:
        told.append(counts)
        return b"one"

    assert store.put_step("a-1", [(b"k", at(5)), (b"j", at(5))], expected=None, progress=first) == (2, 0)
    assert told == [(2, 0)]
    assert store.put_step("a-1", [(b"k", at(9))], expected=None, progress=note(b"other")) is None
    assert store.put_step("a-1", [(b"k", at(9))], expected=b"two", progress=note(b"other")) is None
    assert (get(store, "a-1", b"k"), store.standing("a-1").progress) == ([at(5)], b"one")
    assert store.put_step("a-1", [(b"k", at(4)), (b"i", at(1))], expected=b"one", progress=note(b"two")) == (1, 1)
    assert store.standing("a-1") == (b"two", None, 0)
    assert store.standing("b-1") == (None, None, 0)


def test_other_writes_leave_the_progress_alone_but_a_replacement_begins_anew(store: OnlineStore) -> None:
    store.put_step("a-1", [(b"k", at(5)), (b"old", at(1))], expected=None, progress=note(b"one"))
    store.put_newest("a-1", [(b"j", at(5))])
    store.delete("a-1", [b"j"])
    store.expire("a-1", 3)
    store.forget()
    assert store.standing("a-1") == (b"one", 3, 1)
    store.replace("a-1", [(b"k", at(2))], progress=b"two")
    assert store.standing("a-1") == (b"two", None, 0)
    store.replace("a-1", [])
    assert store.standing("a-1") == (None, None, 0)


def test_a_store_that_is_emptied_has_no_progress_either(store: OnlineStore) -> None:
    store.put_step("a-1", [(b"k", at(5))], expected=None, progress=note(b"one"))
    store.expire("a-1", 9)
    store.clear()
    assert store.standing("a-1") == (None, None, 0)


# Expiry


def test_rows_before_an_instant_expire_and_no_other(store: OnlineStore) -> None:
    store.put_newest("a-1", [(b"before", at(9)), (b"then", at(10)), (b"after", at(11)), (b"long ago", at(-(2**62)))])
    store.put_newest("b-1", [(b"before", at(9))])
    assert store.expire("a-1", 10) == (2, None)
    assert get(store, "a-1", b"before", b"then", b"after", b"long ago") == [None, at(10), at(11), None]
    assert get(store, "b-1", b"before") == [at(9)]
    assert store.standing("a-1") == (None, 10, 2)
    assert store.expire("a-1", 5) == (0, None)
    assert store.expire("never-1", 5) == (0, None)
    assert store.standing("a-1") == (None, 10, 2)
    assert store.expire("a-1", 11) == (1, None)
    assert store.standing("a-1") == (None, 11, 3)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40, deadline=None)
@given(
    events=st.dictionaries(st.binary(max_size=3), st.integers(0, 20), max_size=12),
    before=st.integers(0, 20),
    limit=st.integers(1, 5),
)
def test_expiry_in_steps_looks_at_every_row_once(
    store: OnlineStore, events: dict[bytes, int], before: int, limit: int
) -> None:
    store.clear()
    store.put_newest("a-1", [(key, at(event)) for key, event in events.items()])
    store.put_newest("a-2", [(b"", at(0))])
    removed, last, steps = 0, None, 0
    while True:
        step = store.expire("a-1", before, after=last, limit=limit)
        removed, last, steps = removed + step.removed, step.last, steps + 1
        if last is None:
            break
    kept = {key for key, event in events.items() if event >= before}
    assert set(store.keys("a-1")) == kept
    assert removed == len(events) - len(kept)
    if not isinstance(store, RedisStore):  # whose server counts names of any table, and about
        assert steps == len(events) // limit + 1
    assert list(store.keys("a-2")) == [b""]


def test_a_row_that_is_refreshed_while_old_rows_expire_is_not_lost(store: OnlineStore) -> None:
    """A writer makes rows young; expiry removes what is old; in the end every row that was made young is there."""
    keys = [b"%04d" % number for number in range(400)]
    store.put_newest("a-1", [(key, at(number % 7)) for number, key in enumerate(keys)])
    done = threading.Event()
    removed = []

    def expire() -> None:
        last = None
        while not (done.is_set() and last is None):
            step = store.expire("a-1", 50, after=last, limit=23)
            removed.append(step.removed)
            last = step.last

    other = threading.Thread(target=expire)
    other.start()
    for time in (10, 49, 50, 60):
        for first in range(0, len(keys), 20):
            store.put_newest("a-1", [(key, at(time)) for key in keys[first : first + 20]])
    done.set()
    other.join()
    assert get(store, "a-1", *keys) == [at(60)] * len(keys)
    assert sum(removed) == store.standing("a-1").expired > 0


def test_a_row_that_is_refreshed_between_the_look_and_the_lock_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = LmdbStore(tmp_path, durable=False)
    store.put_newest("a-1", [(b"k", at(1)), (b"old", at(1))])
    look = lmdb_store.look_for_older

    def looked(*given: Any) -> Any:
        found = look(*given)
        store.put_newest("a-1", [(b"k", at(9))])
        return found

    monkeypatch.setattr(lmdb_store, "look_for_older", looked)
    assert store.expire("a-1", 5) == (1, None)
    assert get(store, "a-1", b"k", b"old") == [at(9), None]
    assert store.standing("a-1") == (None, 5, 1)
    store.close()


def test_space_that_rows_leave_is_counted_as_free_until_the_file_is_written_anew(tmp_path: Path) -> None:
    assert MemoryStore().space() == (0, 0)
    store = LmdbStore(tmp_path, durable=False)
    store.put_newest("a-1", [(b"%05d" % number, at(number % 2, bytes(400))) for number in range(4_000)])
    full = store.space()
    assert full.free < full.total / 5
    store.expire("a-1", 1)
    store.delete("a-1", list(store.keys("a-1"))[100:])
    store.put_newest("a-1", [])  # pages are free once no transaction needs them
    emptied = store.space()
    assert emptied.total >= full.total
    assert emptied.free > emptied.total / 2
    store.forget()
    assert store.space().total < full.total / 5
    assert store.status()["a-1"].rows == 100
    store.close()


def test_a_store_of_a_later_release_is_refused_with_what_to_do(tmp_path: Path) -> None:
    store = LmdbStore(tmp_path)
    store.put_newest("a-1", [(b"k", at(1))])
    with store._shared.env.begin(store._shared.state, write=True) as transaction:
        transaction.put(b"state", b'{"format": 2, "clock": null, "tables": {}}')
    for use in (
        lambda: get(store, "a-1", b"k"),
        lambda: store.put_newest("a-1", []),
        lambda: store.expire("a-1", 1),
        lambda: store.standing("a-1"),
    ):
        with pytest.raises(OnlineStoreError, match="format 2, of a newer release; this one, ") as caught:
            use()
        assert "Or materialize into a new store" in caught.value.hint
    store.close()
