"""Whatever the monitor keeps of a key goes, byte by byte; and nothing else does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import insert, select

from featurestore import Entity, FeatureStore, FeatureView, Field
from featurestore.erasure import Erased, Task
from featurestore.erasure.scope import scope_of
from featurestore.offline.erasure.erased_keys import ErasedKeys
from featurestore.types import Float64, Int64
from monitor import schema
from monitor.erasure import places, without
from monitor.history import History

KEYS = ErasedKeys(entity="user", names=("user_id",), rows=frozenset({("17",)}))
MARK = 771_177_711


def theirs(told: Any) -> int:
    """Count the objects of the key, by brute force over the text: none is within another here."""
    return json.dumps(told).count('"user_id": 17}')


_values = st.recursive(
    st.none() | st.integers(0, 3) | st.text(max_size=2) | st.sampled_from([{"user_id": 17}, {"user_id": 18}]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "b", "c"]), inner, max_size=3),
    max_leaves=10,
)


@given(_values)
def test_just_the_objects_of_the_key_leave_and_each_is_counted(told: Any) -> None:
    rest, found = without(told, KEYS)
    assert found == theirs(told)
    assert theirs(rest) == 0
    assert json.dumps(rest).count('"user_id": 18}') == json.dumps(told).count('"user_id": 18}')
    assert without(rest, KEYS) == (rest, 0)


def test_an_example_goes_as_a_whole_and_one_that_stands_alone_becomes_null() -> None:
    told = {"examples": [{"keys": {"user_id": 17}, "served": 1}, {"keys": {"user_id": 18}}], "worst": {"user_id": "17"}}
    assert without(told, KEYS) == ({"examples": [{"keys": {"user_id": 18}}], "worst": None}, 2)


@pytest.fixture
def store(tmp_path: Path) -> FeatureStore:
    store = FeatureStore.init(tmp_path, project="shop")
    user = Entity(name="user", join_keys=["user_id"], dtypes=[Int64])
    store.apply(FeatureView(name="spending", entities=[user], schema=[Field(name="total", dtype=Float64)]))
    return store


def task(store: FeatureStore, *, dry_run: bool) -> Task:
    scope = scope_of(store.registry, "user", [{"user_id": MARK}])
    return Task(config=store.config, registry=store.registry, scope=scope, request="r", who="tests", dry_run=dry_run)


def test_no_byte_is_left_in_the_database_of_the_live_monitor_or_of_a_rehearsal(
    store: FeatureStore, tmp_path: Path
) -> None:
    (place,) = places(store.config)
    assert place.erase(task(store, dry_run=False)) == Erased()
    assert not (tmp_path / "data" / "monitor.db").exists(), "an erasure makes no database"
    (tmp_path / "data" / "replays" / "spring").mkdir(parents=True)
    for config in (store.config, store.config.for_replay("spring")):
        with History(config.database_url(config.monitor.database)) as history, history.write() as connection:
            payload = json.dumps({"examples": [{"user_id": MARK}, {"user_id": 18}]})
            named = dict.fromkeys(
                ["id", "policy", "service", "slice", "cause", "subject", "baseline", "model", "incident"], "s"
            )
            texts = named | dict.fromkeys(["model", "incident", "asked_by", "approved_by", "state", "held"], "")
            numbers = dict.fromkeys(("policy_version", "attempt", "created_at"), 0)
            connection.execute(insert(schema.signals).values(**texts, **numbers, payload=payload))
            said = {
                "incident": 1,
                "alert": "",
                "episode": 0,
                "at": 0,
                "noted_at": 0,
                "what": "w",
                "who": "",
                "text": "",
            }
            connection.execute(insert(schema.timeline).values(**said, details=payload))
    assert place.erase(task(store, dry_run=True)) == Erased(rows=4, files=2)
    assert place.erase(task(store, dry_run=False)) == Erased(rows=4, files=2)
    for file in tmp_path.rglob("monitor.db*"):
        assert str(MARK).encode() not in file.read_bytes(), file
    with History(store.config.database_url(store.config.monitor.database)) as history, history.read() as connection:
        (left,) = connection.execute(select(schema.signals.c.payload)).scalars()
    assert json.loads(left) == {"examples": [{"user_id": 18}]}
    store.close()
