"""An erasure where rows are kept by servers: none of them has the key afterwards, nor have the files that they keep.

:mod:`tests.contract.test_erasure` asks the same of every place on this machine's disk.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NoReturn, Protocol

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from featurestore import FeatureStore
from featurestore.offline.places import offline_folder
from featurestore.storage import ObjectPath
from tests import backends
from tests.contract.test_erasure import LIKE, MARK, definitions, rows
from tests.redis_servers import RedisServer, emptied, redis_program


class ObjectStorage(Protocol):
    """What the fixture of that name gives."""

    def settings(self, *, at: str | None = None, **more: object) -> str: ...


def opened(folder: Path, changes: dict[str, str]) -> FeatureStore:
    """Return a new store of the marker's rows, with other lines in its settings."""
    FeatureStore.init(folder, project="shop").close()
    file = folder / "featurestore.toml"
    said = file.read_text()
    for before, after in changes.items():
        assert before in said
        said = said.replace(before, after)
    file.write_text(said)
    store = FeatureStore(folder)
    store.apply(definitions())
    for hours in (5, 4):
        store.ingest("spending", rows(MARK, LIKE, "b", hours=hours))
    at = datetime.now(UTC)
    clicked = [{"user_id": one, "item_id": 1, "seen": 1, "event_timestamp": at} for one in (MARK, LIKE)]
    store.ingest("clicks", clicked)
    for view in ("spending", "clicks"):
        store.materialize(view)
    return store


def on_redis(addresses: Sequence[str]) -> dict[str, str]:
    mode = "cluster" if len(addresses) > 1 else "single"
    listed = ", ".join(f'"{one}"' for one in addresses)
    section = f'[online]\ntype = "redis"\nmode = "{mode}"\naddresses = [{listed}]\nfallback = "data/copy"\n\n[offline]'
    return {'online = "lmdb://data/online"\n': "", "[offline]": section}


@pytest.fixture(params=backends.params("online", "redis", "cluster"))
def servers(request: pytest.FixtureRequest, lacking: Callable[[str], NoReturn]) -> Iterator[list[RedisServer]]:
    if request.param == "cluster":
        found: list[RedisServer] = request.getfixturevalue("redis_cluster")
        emptied(*found)
        yield found
        return
    files = ("--appendonly", "yes", "--appendfsync", "always", "--save", "3600 1")
    server = RedisServer(redis_program(lacking), *files)
    server.start()
    yield [server]
    server.remove()


def kept(server: RedisServer) -> bytes:
    """Return all that a server has, and the bytes of its files."""
    with server.client() as client:
        found = b"".join(key + (client.dump(key) or b"") for key in client.scan_iter())
    return found + b"".join(one.read_bytes() for one in server.folder.rglob("*") if one.is_file() and one.name != "log")


def test_redis_and_the_local_copy_of_it_have_nothing_of_an_erased_key(
    servers: list[RedisServer], tmp_path: Path
) -> None:
    with opened(tmp_path / "shop", on_redis([one.address for one in servers])) as store:
        store.push("spending", rows(MARK, LIKE, hours=0.5))
        copy = store.local_copy
        assert copy is not None
        assert copy.fill(store.online, store.online.status().keys(), rest=lambda: False) == 5
        store.close()  # as by a server's end
    folder = tmp_path / "shop" / "data" / "copy"

    def copied() -> bytes:
        return b"".join(one.read_bytes() for one in folder.rglob("*") if one.is_file())

    assert MARK.encode() in copied()
    assert any(MARK.encode() in kept(one) for one in servers)
    with FeatureStore(tmp_path / "shop") as store:
        told = store.erase("user", {"user_id": MARK}, request="R", dry_run=True)
        report = store.erase("user", {"user_id": MARK}, request="R")
        assert report.finished
        found = {one.place: one.rows for one in report.places}
        assert (found["online store"], found["local copy of the online store"]) == (2, 2)
        assert {one.place: one.rows for one in told.places}["local copy of the online store"] == 2
        assert any("have copies of the online store (fallback)" in one for one in report.not_reached)
    assert not [one for one in servers if MARK.encode() in kept(one)]
    assert MARK.encode() not in copied()
    assert any(LIKE.encode() in kept(one) for one in servers)
    assert LIKE.encode() in copied()


def holding(place: ObjectPath, mark: str) -> list[str]:
    found = []
    for one in place.rglob("*"):
        if not one.is_file():
            continue
        content = one.read_bytes()
        decoded = str(pq.read_table(pa.BufferReader(content)).to_pylist()) if content[:4] == b"PAR1" else ""
        if mark.encode() in content or mark in decoded:
            found.append(str(one))
    return found


@pytest.mark.backend("offline", backends.NAMES["offline"]["s3"])
def test_object_storage_has_nothing_of_an_erased_key(object_storage: ObjectStorage, tmp_path: Path) -> None:
    changes = {'[offline]\npath = "data/offline"\n': object_storage.settings()}
    with opened(tmp_path / "shop", changes) as store:
        store.ingest("spending", rows(MARK, LIKE, total=-1.0))  # to quarantine
        now = datetime.now(UTC)
        entities = [
            {"user_id": one, "friend_id": "b", "item_id": 1, "label": 1, "event_timestamp": now}
            for one in (MARK, LIKE, "b")
        ]
        store.create_training_dataset("sales", entity_df=entities, features="scoring", label="label")
        store.compact("spending")  # so that files are there which only the past names
        place = offline_folder(store.config)
        assert isinstance(place, ObjectPath)
        held = holding(place, MARK)
        for part in ("/spending-", "/clicks-", "/quarantine/", "/datasets/"):
            assert [one for one in held if part in one], part
        report = store.erase("user", {"user_id": MARK}, request="R")
        assert report.finished
        assert holding(place, MARK) == []
        assert len(holding(place, LIKE)) >= 4
        again = store.erase("user", {"user_id": MARK}, request="R")
        assert sum(one.rows for one in again.places) == 0
        assert store.reproduce_dataset("sales").erased == {"R": 1}
