"""A bad load taken back while the store works: offline and online together, and no pushed row lost."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from featurestore import Entity, FeatureService, FeatureStore, FeatureView, Field
from featurestore.definitions import storage_id
from featurestore.errors import ConfigError, OfflineStoreError
from featurestore.materialize import materialize
from featurestore.online import MemoryStore
from featurestore.types import Int64, String
from tests import forking

NOW = datetime.now(UTC) - timedelta(hours=1)
USER = Entity(name="user", join_keys=["user_id"], dtypes=[Int64])
VIEW = FeatureView(name="clicks", entities=[USER], schema=[Field(name="seen", dtype=Int64)], ttl=timedelta(days=5))
SERVICE = FeatureService(name="scoring", features=[VIEW])
USERS = range(5)


@pytest.fixture(params=["lmdb://data/online", "memory://"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[FeatureStore]:
    with opened(tmp_path / "shop", request.param) as store:
        yield store


def opened(folder: Path, online: str = "lmdb://data/online") -> FeatureStore:
    store = FeatureStore.init(folder)
    # Nothing is flushed behind the test's back.
    push = store.config.push.model_copy(update={"flush_seconds": 1e6})
    store.config = store.config.model_copy(update={"online": online, "push": push})
    store.apply([VIEW, SERVICE])
    return store


def row(user: int, seen: int, minutes: int = 0) -> dict[str, Any]:
    return {"user_id": user, "seen": seen, "event_timestamp": NOW + timedelta(minutes=minutes)}


def served(store: FeatureStore, service: str = "scoring") -> list[int | None]:
    found = store.get_online_features(service, [{"user_id": one} for one in USERS])
    values: list[int | None] = found.to_dict()["seen"]
    return values


def rows_of(online: Any, table: str) -> dict[bytes, bytes]:
    keys = list(online.keys(table))
    return dict(zip(keys, online.read([(table, keys)]).values[0], strict=True))


def a_bad_load(store: FeatureStore) -> None:
    store.ingest("clicks", [row(user, 1) for user in USERS[:4]], load_id="good")
    store.materialize("clicks")
    store.ingest("clicks", [row(user, -1, 10) for user in USERS], load_id="bad")
    store.materialize("clicks")


def test_pushes_since_stay_whether_a_table_has_them_or_not(store: FeatureStore) -> None:
    a_bad_load(store)
    store.push("clicks", [row(0, 20, 20), row(1, 5, 5)])  # the second is older than the bad row
    store.flush_pushes()
    store.push("clicks", [row(2, 30, 30)])
    assert served(store) == [20, -1, 30, -1, -1]
    report = store.restore("clicks", to="good")
    assert served(store) == [20, 5, 30, 1, None]
    assert (report.withdrawn, len(report.stayed), report.online) == (("bad",), 1, 4)
    assert report.notes == ("1 load(s) of rows that were pushed since stay; --pushes takes them back too",)
    store.flush_pushes()
    asked = [{"user_id": one, "event_timestamp": datetime.now(UTC)} for one in USERS]
    assert store.get_historical_features(asked, "scoring").to_polars()["seen"].to_list() == served(store)


def test_loads_are_brought_back_with_all_that_came_since(store: FeatureStore) -> None:
    a_bad_load(store)
    store.restore("clicks", to="good")
    store.push("clicks", [row(0, 20, 20)])
    store.flush_pushes()
    store.ingest("clicks", [row(3, 40, 40)], load_id="later")
    store.materialize("clicks")
    assert served(store) == [20, 1, 1, 40, None]
    report = store.reinstate("clicks", ["bad"], reason="it was right")
    assert report is not None
    assert (report.reinstated, report.withdrawn, set(report.stayed) >= {"later"}) == (("bad",), (), True)
    assert served(store) == [20, -1, -1, 40, -1]
    assert store.reinstate("clicks", ["bad"]) is None
    assert [one.withdrawn_at for one in store.loads("clicks")] == [None] * 4


def test_single_loads_are_taken_out_and_whatever_else_came_stays(store: FeatureStore) -> None:
    a_bad_load(store)
    store.ingest("clicks", [row(3, 40, 40)], load_id="later")
    store.push("clicks", [row(0, 20, 20)])
    store.flush_pushes()
    store.compact("clicks")
    report = store.withdraw("clicks", ["bad", "unknown"], reason="no values")
    assert report is not None
    assert (report.withdrawn, report.reinstated, report.online) == (("bad",), (), 4)
    assert (report.rows_before, report.rows_after) == (11, 6)
    assert served(store) == [20, 1, 1, 40, None]
    assert store.registry.audit(action="restore")[-1].details["withdrawn"] == ["bad"]
    assert store.withdraw("clicks", ["bad"]) is None
    assert store.ingest("clicks", [row(1, 7, 50)], load_id="bad").written == 1
    store.reinstate("clicks", ["bad"])  # which is in: with other rows
    store.materialize("clicks")
    assert served(store) == [20, 7, 1, 40, None]


def test_a_withdrawal_that_died_before_the_online_rows_is_finished_by_the_next(store: FeatureStore) -> None:
    a_bad_load(store)
    assert store.offline.withdraw(VIEW, ["bad"], who="ada") is not None
    assert served(store) == [-1] * 5
    assert store.withdraw("clicks", ["bad"]) is None
    assert served(store) == [1, 1, 1, 1, None]
    assert store.offline.reinstate(VIEW, ["bad"], who="ada") is not None
    assert store.reinstate("clicks", ["bad"]) is None
    assert served(store) == [-1] * 5


def test_a_version_that_never_had_the_loads_is_left_and_said(store: FeatureStore) -> None:
    store.ingest("clicks", [row(0, 1)], load_id="good")
    store.materialize("clicks")
    store.promote("scoring@1")
    other = replace(VIEW, schema=[Field(name="seen", dtype=String)])
    store.apply([other, replace(SERVICE, features=[other])], allow_breaking=True)
    store.ingest("clicks@1", [row(0, -1, 10)], load_id="bad")
    report = store.withdraw("clicks", ["bad"])
    assert report is not None
    assert report.withdrawn == ("bad",)
    assert report.notes == ("clicks@2 never had these loads, and is left as it is",)


def test_loads_come_back_out_of_files_that_were_compacted_since(store: FeatureStore) -> None:
    a_bad_load(store)
    store.push("clicks", [row(0, 20, 20)])
    store.flush_pushes()
    store.compact("clicks")
    store.restore("clicks", to="good")
    assert served(store) == [20, 1, 1, 1, None]
    store.compact("clicks")
    store.reinstate("clicks", ["bad"])
    assert served(store) == [20, -1, -1, -1, -1]
    assert store.offline.table(VIEW).snapshot().rows == 10


def test_loads_do_not_come_back_where_others_would_too(store: FeatureStore) -> None:
    a_bad_load(store)
    store.ingest("clicks", [row(0, 50, 50)], load_id="worse")
    store.restore("clicks", to="bad")
    store.restore("clicks", to="good")
    with pytest.raises(OfflineStoreError, match="not withdrawn together"):
        store.reinstate("clicks", ["bad", "worse"])
    assert store.reinstate("clicks", ["bad"]) is not None
    store.restore("clicks", to="worse")
    store.restore("clicks", to="good")
    with pytest.raises(OfflineStoreError, match="others would come back that were withdrawn: worse"):
        store.reinstate("clicks", ["bad"])


def test_every_live_version_goes_back_and_comes_back(store: FeatureStore) -> None:
    a_bad_load(store)
    store.promote("scoring@1")
    wider = replace(VIEW, schema=[*VIEW.schema, Field(name="plan", dtype=String)])
    store.apply([wider, replace(SERVICE, features=[wider])])
    store.materialize("clicks")
    store.ingest("clicks", [row(user, -2, 20) | {"plan": "a"} for user in USERS], load_id="worse")
    store.materialize("clicks")
    store.push("clicks", [row(0, 30, 30)])
    assert served(store, "scoring@1") == served(store, "scoring@2") == [30, -2, -2, -2, -2]
    store.restore("clicks", to=store.loads("clicks")[0].load_id)
    assert served(store, "scoring@1") == served(store, "scoring@2") == [30, -1, -1, -1, -1]
    report = store.reinstate("clicks", ["worse"])
    assert report is not None
    assert [one.view for one in (report, *report.also)] == ["clicks", "clicks@1"]
    assert served(store, "scoring@1") == served(store, "scoring@2") == [30, -2, -2, -2, -2]


def test_pushed_rows_that_are_taken_back_leave_a_view_that_nobody_materialized(store: FeatureStore) -> None:
    store.push("clicks", [row(0, 1)])
    store.flush_pushes()
    store.push("clicks", [row(0, 2, 10), row(1, 2, 10)])
    store.restore("clicks", to=store.loads("clicks")[0].load_id, pushes=True)
    assert served(store) == [1, None, None, None, None]


def test_a_rehearsal_takes_nothing_back(tmp_path: Path) -> None:
    with opened(tmp_path / "shop") as store:
        a_bad_load(store)
        folder = store.config.root
    (folder / "data" / "replays" / "night").mkdir(parents=True)
    with FeatureStore(folder, replay="night") as rehearsal:
        for refused in (lambda: rehearsal.restore("clicks", to="good"), lambda: rehearsal.reinstate("clicks", ["bad"])):
            with pytest.raises(ConfigError, match='The replay "night"'):
                refused()


def test_a_reader_sees_the_rows_as_they_were_or_as_they_are_and_a_push_at_that_moment_is_kept(
    store: FeatureStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows that wait in the log come with the others: not even for a moment is what was pushed not served."""
    a_bad_load(store)
    store.push("clicks", [row(0, 20, 20)])

    def refuses(*_: object, **__: object) -> None:
        raise OfflineStoreError("the disk is full")

    monkeypatch.setattr(store.offline, "load_pushed", refuses)
    seen, stop, acknowledged = set(), threading.Event(), [0]

    def read() -> None:
        while not stop.is_set():
            seen.add(tuple(served(store)[:4]))

    def push() -> None:
        while not stop.wait(0.05):
            acknowledged[0] += 1
            store.push("clicks", [row(4, acknowledged[0], 30)])

    threads = [threading.Thread(target=work) for work in (read, push)]
    for one in threads:
        one.start()
    for _ in range(2):
        store.restore("clicks", to="good")
        store.reinstate("clicks", ["bad"])
    stop.set()
    for one in threads:
        one.join()
    assert seen <= {(20, -1, -1, -1), (20, 1, 1, 1)}
    assert served(store)[4] == acknowledged[0] > 0


_KILLED = """
import os, signal, sys
from featurestore import FeatureStore

def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)

store = FeatureStore(sys.argv[1])
where = sys.argv[2]
if where == "after the table":
    store._online_too = die
elif where == "among the rows":
    replace_keys = store.online.replace_keys
    def half(table, keys, rows, **more):
        def some():
            yield next(iter(rows))
            die()
        return replace_keys(table, keys, some(), **more)
    store.online.replace_keys = half
elif where == "before it is entered":
    store._record = die
store.restore("clicks", to="good")
"""


@pytest.mark.parametrize(
    ("where", "after"), [("after the table", False), ("among the rows", False), ("before it is entered", True)]
)
def test_a_restore_that_is_killed_leaves_before_or_after_and_the_next_one_finishes_it(
    tmp_path: Path, where: str, after: bool
) -> None:
    with opened(tmp_path / "shop") as store:
        a_bad_load(store)
        store.push("clicks", [row(0, 20, 20)])
    program = [sys.executable, "-c", _KILLED, str(tmp_path / "shop"), where]
    done = forking.run(program, capture_output=True, text=True, env=os.environ, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    before, then = [20, -1, -1, -1, -1], [20, 1, 1, 1, None]
    with FeatureStore(tmp_path / "shop") as store:
        assert served(store) == (then if after else before)
        store.restore("clicks", to="good")
        assert served(store) == then


# Against what a fresh store would have


@dataclass
class Model:
    """What ought to be there: rows by load, which loads are in, and what was in after each."""

    rows: dict[str, list[tuple[int, int, int]]] = field(default_factory=dict)  # user, seen, minutes
    inside: set[str] = field(default_factory=set)
    history: dict[str, set[str]] = field(default_factory=dict)
    pushed: list[tuple[int, int, int]] = field(default_factory=list)

    def served(self) -> list[int | None]:
        newest: dict[int, tuple[int, int]] = {}
        for user, seen, minutes in [*self.pushed, *(one for name in self.inside for one in self.rows[name])]:
            if minutes > -5 * 24 * 60 and minutes > newest.get(user, (-(10**9), 0))[0]:
                newest[user] = (minutes, seen)
        return [newest[user][1] if user in newest else None for user in USERS]


STEPS = st.lists(
    st.tuples(
        st.sampled_from(
            [
                "load",
                "load",
                "push",
                "push",
                "flush",
                "restore",
                "restore",
                "withdraw",
                "back",
                "compact",
                "materialize",
            ]
        ),
        st.integers(0, 9),
        st.lists(st.integers(0, 4), min_size=1, max_size=4, unique=True),
    ),
    min_size=4,
    max_size=14,
)


@settings(
    max_examples=8,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
@given(steps=STEPS, memory=st.booleans(), instants=st.randoms(use_true_random=False))
def test_what_is_served_is_what_a_fresh_materialization_and_the_pushes_since_would_give(
    tmp_path_factory: pytest.TempPathFactory, steps: list[Any], memory: bool, instants: Any
) -> None:
    # No two rows of one instant, so that the model needs no order of loads; some are past the TTL, a few minutes aside.
    free = [*range(-40, 50), *range(-8000, -7960)]
    instants.shuffle(free)
    online = "memory://" if memory else "lmdb://data/online"
    with opened(tmp_path_factory.mktemp("shop") / "s", online) as store:
        model, withdrawn = Model(), []
        first = [("load", 0, [0, 1, 2]), ("materialize", 0, [0])]
        for number, (step, which, users) in enumerate([*first, *steps], 1):
            online_too = step in ("restore", "materialize")
            rows = [(user, number, free.pop()) for user in users]
            given_rows = [row(*one) for one in rows]
            if step == "load":
                name = f"load-{number}"
                store.ingest("clicks", given_rows, load_id=name)
                model.rows[name] = rows
                model.inside.add(name)
                model.history[name] = set(model.inside)
            elif step == "push":
                store.push("clicks", given_rows)
                model.pushed += rows
            elif step == "flush":
                store.flush_pushes()
            elif step == "restore":
                target = sorted(model.history)[which % len(model.history)]
                report = store.restore("clicks", to=target)
                withdrawn = [one for one in report.withdrawn if not one.startswith("push-")]
                model.inside = set(model.history[target])
            elif step == "withdraw":
                target = sorted(model.history)[which % len(model.history)]
                online_too = store.withdraw("clicks", [target]) is not None
                withdrawn = [target] if online_too else withdrawn
                model.inside.discard(target)
            elif step == "back":
                try:
                    online_too = store.reinstate("clicks", withdrawn) is not None
                    model.inside |= set(withdrawn)
                except OfflineStoreError:  # somebody restored it since
                    assert "restore" in [one for one, *_ in steps]
            elif step == "compact":
                store.compact("clicks")
            else:
                store.materialize("clicks")
            if online_too:
                assert served(store) == model.served()
                table, fresh = storage_id(VIEW), MemoryStore()
                materialize(VIEW, store.offline, fresh, now=datetime.now(UTC))
                with store._pusher.flusher._log.settled(), store._pusher.flusher.waiting(VIEW) as waiting:
                    fresh.put_newest(table, waiting)
                assert rows_of(store.online, table) == rows_of(fresh, table)
        inside = {one.load_id for one in store.loads("clicks") if one.withdrawn_at is None}
        assert {one for one in inside if not one.startswith("push-")} == model.inside
