"""The doctor at servers that are set wrong: real ones, each wrong in its own way."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NoReturn

import pytest

from featurestore import Entity, FeatureService, FeatureStore, FeatureView, Field
from featurestore.cli.app import run
from featurestore.doctor import Finding, State, examine
from featurestore.doctor.probes import PROBES
from featurestore.types import Int64
from tests.redis_servers import RedisServer, emptied, redis_program

VIEW = FeatureView(
    name="clicks",
    entities=[Entity(name="user", join_keys=["user_id"], dtypes=[Int64])],
    schema=[Field(name="seen", dtype=Int64)],
)
#: What docs/scaling.md lists.
DOCS = Path(__file__).parent.parent.parent.parent / "docs" / "scaling.md"


@pytest.fixture
def server(lacking: Callable[[str], NoReturn]) -> Iterator[RedisServer]:
    one = RedisServer(redis_program(lacking), "--save", "", "--appendonly", "yes")
    one.start()
    yield one
    one.remove()


def shop_on(folder: Path, *servers: RedisServer, **more: Any) -> Path:
    FeatureStore.init(folder, project="shop").close()
    file = folder / "featurestore.toml"
    settings: dict[str, Any] = {"type": "redis", "addresses": [one.address for one in servers], **more}
    lines = "\n".join(f"{name} = {json.dumps(value)}" for name, value in settings.items())
    file.write_text(file.read_text().replace('online = "lmdb://data/online"\n', "") + f"\n[online]\n{lines}\n")
    return folder


def said_of(shop: Path, *, now: datetime | None = None) -> list[Finding]:
    probes = {name: PROBES[name] for name in ("registry", "online servers")}
    return [one for one in examine(shop, probes=probes, now=now) if one.about.startswith(("online", "local copy"))]


def test_a_server_that_is_set_well_is_told_of_in_a_line_and_left_as_it_is(server: RedisServer, tmp_path: Path) -> None:
    shop = shop_on(tmp_path / "shop", server)
    (only,) = said_of(shop)
    assert (only.about, only.state) == (f"online server {server.address}", State.well)
    assert "Redis 7" in only.what or "Redis 8" in only.what
    with server.client() as client:
        assert client.keys("*") == []


def test_each_thing_that_is_wrong_is_told_with_what_to_do(
    server: RedisServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shop = shop_on(tmp_path / "shop", server, replicas=1)
    with server.client() as client:
        client.config_set("maxmemory-policy", "allkeys-lru")
        client.config_set("appendonly", "no")
        found = {one.what: one for one in said_of(shop)}
        (policy, files, copies) = (
            next(one for said, one in found.items() if begins in said)
            for begins in ("maxmemory-policy is allkeys-lru", "keeps no files", "0 replicas, and a write waits for 1")
        )
        assert [policy.state, files.state, copies.state] == [State.warning, State.warning, State.fault]
        client.config_set("maxmemory", "1gb")
        (policy,) = (one for one in said_of(shop) if "maxmemory-policy" in one.what)
        assert (policy.state, "noeviction" in policy.hint) == (State.fault, True)
        other = shop_on(tmp_path / "other", server)
        assert run(["doctor", "--repo", str(other), "--json"], debug=False) == 1
        told = [one["what"] for one in json.loads(capsys.readouterr().out)["findings"]]
        assert policy.what in told
        client.config_set("maxmemory-policy", "noeviction")
        client.config_set("maxmemory", client.info("memory")["used_memory"] + 50_000)
        assert any("of its memory is in use" in one.what for one in said_of(shop))


def test_rights_that_the_user_lacks_are_named_and_the_documented_ones_are_enough(
    server: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FEATURES_PASSWORD", "hidden-81f2")
    shop = shop_on(tmp_path / "shop", server, user="features", password="${FEATURES_PASSWORD}")
    listed = DOCS.read_text().split("ACL SETUSER features", 1)[1].split("```", 1)[0].replace("\\", " ").split()
    rights = [one.strip("'") for one in listed]
    with server.client() as client:
        client.execute_command("ACL", "SETUSER", "features", *["on", ">hidden-81f2", *rights[2:]])
        (only,) = said_of(shop)
        assert only.state is State.well, only
        client.execute_command("ACL", "SETUSER", "features", "-scan", "-evalsha", "-info")
        needed, spared = said_of(shop)
        assert (needed.state, needed.what) == (State.fault, 'The user "features" may not run scan, evalsha.')
        assert (spared.state, "may not run info;" in spared.what) == (State.warning, True)
        client.execute_command("ACL", "SETUSER", "features", "+scan", "+evalsha", "+info", "resetkeys", "~other*")
        (keys,) = said_of(shop)
        assert keys.what == 'The user "features" may not use keys that begin with "featurestore".'
        assert "hidden" not in str([needed, spared, keys])


def test_a_cluster_that_lacks_a_server_or_slots_is_told_of(redis_cluster: list[RedisServer], tmp_path: Path) -> None:
    emptied(*redis_cluster)
    shop = shop_on(tmp_path / "shop", *redis_cluster, mode="cluster")
    found = said_of(shop)
    assert {one.about for one in found} == {f"online server {one.address}" for one in redis_cluster}
    assert {one.state for one in found} == {State.warning}  # no files and no replicas
    with redis_cluster[0].client() as client:
        client.execute_command("CLUSTER", "DELSLOTS", 5)
        try:
            assert said_of(shop)[0].what == "No server has 1 of its 16,384 slots."
        finally:
            client.execute_command("CLUSTER", "ADDSLOTS", 5)


def test_a_replica_is_no_place_to_write(server: RedisServer, tmp_path: Path, redis_server: RedisServer) -> None:
    with server.client() as client:
        client.replicaof("127.0.0.1", redis_server.port)
    found = said_of(shop_on(tmp_path / "shop", server))
    assert "It is a slave, and takes no writes." in [one.what for one in found]


def test_a_local_copy_that_is_missing_or_old_is_told_of(server: RedisServer, tmp_path: Path) -> None:
    shop = shop_on(tmp_path / "shop", server, fallback="data/copy")
    with FeatureStore(shop) as store:
        store.apply([VIEW, FeatureService(name="scoring", features=[VIEW])])
        store.push("clicks", [{"user_id": 1, "seen": 1, "event_timestamp": datetime.now(UTC)}])
        missing = said_of(shop)[0]
        copy = store.local_copy
        assert copy is not None
        copy.fill(store.online, store.online.status().keys(), rest=lambda: False)
    assert (missing.state, "There is none of all views" in missing.what) == (State.warning, True)
    assert (said_of(shop)[0].about, said_of(shop)[0].state) == ("local copy of the online store", State.well)
    old = said_of(shop, now=datetime.now(UTC) + timedelta(hours=2))[0]
    assert (old.state, "would not be served" in old.what) == (State.warning, True)
