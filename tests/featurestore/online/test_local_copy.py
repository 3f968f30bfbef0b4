"""The copy of the online store on a machine's disk: what is in it, and up to when it says so."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from featurestore.errors import OnlineStoreError
from featurestore.online import MemoryStore, OnlineStore
from featurestore.online.base import oldest_order
from featurestore.online.local_copy import LocalCopy, local_copy_of
from featurestore.online.redis.store import RedisStore
from featurestore.settings.online import RedisConfig
from tests.redis_servers import RedisServer, emptied


def at(event: int, content: bytes = b"") -> bytes:
    return oldest_order(event) + bytes(24) + content


def never() -> bool:
    return False


@pytest.fixture
def copy(tmp_path: Path) -> Iterator[LocalCopy]:
    made = LocalCopy(tmp_path / "copy", max_age=timedelta(hours=1))
    yield made
    made.close()


def rows_of(copy: LocalCopy, name: str, *keys: bytes) -> list[bytes | None]:
    assert copy.store is not None
    return copy.store.read([(name, keys)]).values[0]


def test_before_it_is_filled_there_is_none_and_nothing_is_made(copy: LocalCopy) -> None:
    assert copy.store is None
    assert copy.complete_to(["a-1"]) is None
    assert not copy.folder.exists()


@pytest.mark.parametrize("place", ["server", "cluster"])
def test_all_rows_are_copied_and_what_was_copied_is_what_it_answers_for(
    copy: LocalCopy, place: str, redis_server: RedisServer, redis_cluster: list[RedisServer]
) -> None:
    source = RedisStore(emptied(redis_server) if place == "server" else emptied(*redis_cluster))
    rows = {b"%d" % number: at(number, b"row") for number in range(1_300)}
    source.put_newest("a-1", rows.items())
    before = time.time_ns() // 1000
    assert copy.fill(source, {"a-1", "never-written"}, rest=never) == 1_300
    assert rows_of(copy, "a-1", *rows) == list(rows.values())
    for names in (["a-1"], ["never-written"], ["a-1", "never-written"]):
        found = copy.complete_to(names)
        assert found is not None
        assert before <= found <= time.time_ns() // 1000
    assert copy.complete_to(["a-1", "applied-since"]) is None
    source.close()


def test_the_next_copy_has_what_changed_and_no_byte_of_what_went(copy: LocalCopy) -> None:
    source = MemoryStore()
    source.put_newest("a-1", [(b"kept", at(1)), (b"gone-7741", at(1))])
    source.put_newest("b-1", [(b"k", at(1))])
    copy.fill(source, {"a-1", "b-1"}, rest=never)
    first = copy.complete_to(["a-1"])
    source.put_newest("a-1", [(b"kept", at(2))])
    source.delete("a-1", [b"gone-7741"])
    copy.fill(source, {"a-1"}, rest=never)
    assert rows_of(copy, "a-1", b"kept", b"gone-7741") == [at(2), None]
    second = copy.complete_to(["a-1"])
    assert first is not None
    assert second is not None
    assert second > first
    assert copy.complete_to(["b-1"]) is None, "no live version has it any more"
    assert rows_of(copy, "b-1", b"k") == [None]
    assert not [one for one in copy.folder.rglob("*") if one.is_file() and b"gone-7741" in one.read_bytes()]


class Replaced(MemoryStore):
    """Has a table replaced while it is read, so many times."""

    def __init__(self, times: int) -> None:
        super().__init__()
        self.times = times

    def keys(self, storage_id: str) -> Iterator[bytes]:
        yield from list(super().keys(storage_id))
        if self.times:
            self.times -= 1
            self.replace(storage_id, [(b"new", at(2))])


def test_a_table_that_is_replaced_meanwhile_is_begun_again(copy: LocalCopy) -> None:
    source = Replaced(2)
    source.put_newest("a-1", [(b"old", at(1))])
    assert copy.fill(source, {"a-1"}, rest=never) == 1
    assert rows_of(copy, "a-1", b"old", b"new") == [None, at(2)]


def test_a_copy_that_cannot_be_made_leaves_the_one_before(copy: LocalCopy) -> None:
    source: OnlineStore = Replaced(0)
    source.put_newest("a-1", [(b"k", at(1))])
    copy.fill(source, {"a-1"}, rest=never)
    before = copy.complete_to(["a-1"])
    source.put_newest("a-1", [(b"k", at(2))])
    assert copy.fill(source, {"a-1"}, rest=lambda: True) == 0  # the server ends
    endless = Replaced(99)
    endless.put_newest("a-1", [(b"k", at(3))])
    with pytest.raises(OnlineStoreError, match="replaced 3 times while it was copied"):
        copy.fill(endless, {"a-1"}, rest=never)
    assert rows_of(copy, "a-1", b"k") == [at(1)]
    assert copy.complete_to(["a-1"]) == before


def test_it_is_there_only_where_the_settings_ask_for_it(tmp_path: Path) -> None:
    assert local_copy_of("lmdb://data/online") is None
    assert local_copy_of(RedisConfig(type="redis")) is None
    made = local_copy_of(RedisConfig(type="redis", fallback=str(tmp_path / "copy")))
    assert made is not None
    assert made.max_age == timedelta(hours=1)
    with pytest.raises(ValueError, match="fallback_max_age is over before the next copy"):
        RedisConfig(type="redis", fallback="copy", fallback_max_age=timedelta(minutes=5))
