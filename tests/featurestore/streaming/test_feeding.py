"""Messages into a view, by the store itself: each is pushed or set aside, and may come again."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from featurestore import Entity, FeatureService, FeatureStore, FeatureView, Field
from featurestore.errors import OfflineStoreError, OnlineStoreError
from featurestore.settings.streams import StreamConfig
from featurestore.streaming import Fed, MessageQuarantine, feed_of, quarantine_of
from featurestore.streaming.feeding import Feed
from featurestore.streaming.messages import Message
from featurestore.types import Int64, String, Timestamp

USER = Entity(name="user", join_keys=["user_id"], dtypes=[Int64])
FIELDS = [Field(name="seen", dtype=Int64, ge=0), Field(name="name", dtype=String), Field(name="since", dtype=Timestamp)]
VIEW = FeatureView(name="clicks", entities=[USER], schema=FIELDS, on_bad_rows="reject")
NOW = int(time.time() * 1_000)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FeatureStore]:
    with FeatureStore.init(tmp_path_factory.mktemp("streaming") / "shop") as store:
        store.apply([VIEW, FeatureService(name="scoring", features=[VIEW])])
        yield store


@pytest.fixture
def quarantine(tmp_path: Path) -> MessageQuarantine:
    return MessageQuarantine(tmp_path / "quarantine")


def feed(store: FeatureStore, quarantine: MessageQuarantine, **settings: Any) -> Feed:
    section = {"view": "clicks", "servers": ("localhost:9092",), "topic": "t"} | settings
    return feed_of("s", StreamConfig.model_validate(section), store._pusher, quarantine)


def message(offset: int, value: object, *, partition: int = 0) -> Message:
    data = value if value is None or isinstance(value, bytes) else json.dumps(value).encode()
    return Message(topic="t", partition=partition, offset=offset, timestamp=NOW, key=b"k", value=data)


def row(user: int, seen: object, **more: object) -> dict[str, object]:
    return {"user_id": user, "seen": seen, "event_timestamp": datetime.now(UTC).isoformat(), **more}


def online(store: FeatureStore, *users: int) -> list[Any]:
    found: list[Any] = store.get_online_features("scoring", [{"user_id": one} for one in users]).to_dict()["seen"]
    return found


def test_each_message_is_pushed_or_set_aside_with_a_reason_that_says_no_value(
    store: FeatureStore, quarantine: MessageQuarantine
) -> None:
    ahead = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    bad: list[object] = [
        None,
        b"",
        b"not json",
        b"\xff\xfe",
        b"[" * 100_000,
        [1],
        {},
        row(2, -4711),
        row(2, "4711x"),
        row(2, 2**63),
        row(2, 1, totl=4711),
        row(2, 1, name="\ud800"),
        row(2, 1) | {"\ud800": 4711},
        row(2, 1) | {"event_timestamp": "2024-01-01T00:00:47"},
        row(2, 1) | {"event_timestamp": ahead},
        row(2, 1) | {"user_id": None},
    ]
    good = [row(1, seen) for seen in (3, 4, 5)]
    messages = [message(number, one) for number, one in enumerate([*bad, *good])]
    done = feed(store, quarantine)(messages, {"o": (0, len(messages))})
    assert done == Fed(read=19, pushed=3, quarantined=16)
    kept = quarantine.messages("s")
    assert [one.poisoned.message for one in kept] == messages[:16]
    reasons = [one.poisoned.reason for one in kept]
    assert all(reasons)
    assert not any("47" in one for one in reasons)
    assert reasons[0] == "It has no value: a stream takes no rows back"
    assert reasons[7] == "seen is under 0"
    assert reasons[10] == 'The view has no "totl"'
    assert "future" in reasons[14]
    assert online(store, 1, 2) == [5, None]
    assert store._pusher.origins()["o"] == (0, 19)
    # The same once more, cut otherwise, is listed once.
    feed(store, quarantine)(messages[:10], {})
    assert quarantine.count("s") == 16


def test_what_a_fix_lets_pass_is_pushed_and_the_rest_stays(store: FeatureStore, quarantine: MessageQuarantine) -> None:
    soon = datetime.now(UTC) + timedelta(seconds=61)
    messages = [
        message(0, row(11, 1, other=True)),
        message(1, row(12, -1)),
        message(2, row(13, 1) | {"event_timestamp": soon.isoformat()}),
    ]
    assert feed(store, quarantine)(messages, {}).quarantined == 3
    time.sleep(max(0.0, (soon - datetime.now(UTC)).total_seconds() - 60) + 0.01)
    mended = feed(store, quarantine, other_fields="ignore")
    assert quarantine.take("s", mended.again) == 1
    (left,) = quarantine.messages("s")
    assert (left.poisoned.message, left.poisoned.reason) == (messages[1], "seen is under 0")
    assert online(store, 11, 12, 13) == [1, None, 1]
    assert quarantine.streams() == ["s"]


def test_instants_may_be_counted_since_1970(store: FeatureStore, quarantine: MessageQuarantine) -> None:
    said = {"user_id": 21, "seen": 7, "since": 1_000, "event_timestamp": NOW}
    done = feed(store, quarantine, instants="milliseconds")([message(0, said), message(1, {**said, "since": "x"})], {})
    assert (done.pushed, done.quarantined) == (1, 1)
    found = store.get_online_features("scoring", [{"user_id": 21}]).to_dict()
    assert found["since"] == [datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC)]


def test_nothing_is_pushed_before_what_is_set_aside_is_safe_and_nothing_of_a_push_that_fails(
    store: FeatureStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    nowhere = MessageQuarantine(tmp_path / "file")
    before = store._pusher.origins()
    for bad in (row(31, -1), {}):
        with pytest.raises(OfflineStoreError, match="cannot be kept aside"):
            feed(store, nowhere)([message(0, row(31, 1)), message(1, bad)], {"o": (100, 102)})
    assert online(store, 31) == [None]

    def away(_: object) -> None:
        raise OnlineStoreError("It is away.")

    quarantine = quarantine_of(store.config)
    with monkeypatch.context() as patched:
        patched.setattr(store.online, "put_all", away)
        for _ in range(3):
            with pytest.raises(OnlineStoreError):
                feed(store, quarantine)([message(0, row(31, 1)), message(1, row(31, -1))], {"o": (100, 102)})
    assert (store._pusher.origins(), quarantine.count("s")) == (before, 1)


def test_a_batch_that_is_refused_as_a_whole_is_taken_apart(
    store: FeatureStore, quarantine: MessageQuarantine, monkeypatch: pytest.MonkeyPatch
) -> None:
    push = store._pusher.push

    def fails(view: str, rows: Any, **more: Any) -> Any:
        if 13 in rows["seen"].to_pylist():
            raise ValueError("unforeseen")
        return push(view, rows, **more)

    monkeypatch.setattr(store._pusher, "push", fails)
    messages = [message(number, row(40 + number, 10 + number)) for number in range(6)]
    assert feed(store, quarantine)(messages, {}) == Fed(read=6, pushed=5, quarantined=1)
    (kept,) = quarantine.messages("s")
    assert (kept.poisoned.message.offset, kept.poisoned.reason) == (3, "it cannot be a row: ValueError")


def test_where_rows_come_from_is_known_after_their_segment_is_gone(
    store: FeatureStore, quarantine: MessageQuarantine
) -> None:
    feed(store, quarantine)([message(7, row(51, 1))], {"p/0": (7, 8)})
    store.flush_pushes()
    assert store.status()["push"]["rows"] == 0
    assert store._pusher.origins()["p/0"] == (7, 8)
    feed(store, quarantine)([message(8, row(51, 2))], {"p/0": (8, 9), "p/1": (0, 1)})
    assert {name: span for name, span in store._pusher.origins().items() if name[0] == "p"} == {
        "p/0": (8, 9),
        "p/1": (0, 1),
    }


def test_gc_removes_messages_when_their_time_is_over(store: FeatureStore, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = store.config.retention.model_copy(update={"quarantine": timedelta(days=30)})
    monkeypatch.setattr(store, "config", store.config.model_copy(update={"retention": kept}))
    quarantine, now = quarantine_of(store.config), datetime.now(UTC)
    feed(store, quarantine)([message(999, b"no row")], {})
    before = quarantine.count("s")
    for days, left in ((29, before), (31, 0)):
        store.gc(now=now + timedelta(days=days))
        assert quarantine.count("s") == left
