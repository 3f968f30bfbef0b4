"""The doctor at servers that are set wrong: real ones, each wrong in its own way."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NoReturn

import pytest

from featurestore import Entity, FeatureService, FeatureStore, FeatureView, Field
from featurestore.cli.app import run
from featurestore.doctor import Finding, State, examine
from featurestore.doctor.probes import PROBES
from featurestore.types import Int64
from tests.redis_servers import RedisServer, cluster, emptied, free_port, redis_program

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
    assert (missing.state, "There is none in " in missing.what) == (State.warning, True)
    assert (said_of(shop)[0].about, said_of(shop)[0].state) == ("local copy of the online store", State.well)
    old = said_of(shop, now=datetime.now(UTC) + timedelta(hours=2))[0]
    assert (old.state, "would not be served" in old.what) == (State.warning, True)
    with FeatureStore(shop) as store:
        store.apply([VIEW, replace(VIEW, name="later")])
    lacks, aged = said_of(shop)[:2]
    assert (lacks.what, aged.state) == ("It does not have later@1.", State.well)


def test_a_server_that_is_away_is_one_fault_and_the_copys_age_is_told(
    server: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = shop_on(tmp_path / "shop", server, fallback="data/copy", fallback_max_age="30 minutes")
    with FeatureStore(shop) as store:
        store.apply([VIEW, FeatureService(name="scoring", features=[VIEW])])
        store.push("clicks", [{"user_id": 1, "seen": 1, "event_timestamp": datetime.now(UTC)}])
        store.flush_pushes()
        copy = store.local_copy
        assert copy is not None
        copy.fill(store.online, store.online.status().keys(), rest=lambda: False)
    server.kill()
    said = {one.about: one for one in examine(shop) if not one.about.startswith("port")}
    assert [about for about, one in said.items() if one.state is State.fault] == ["online store"]
    for about in ("online servers", "materialization"):
        assert (said[about].state, said[about].what) == (State.warning, "Not looked at: the online store is away.")
    copied = said["local copy of the online store"]
    assert copied.state is State.well
    assert re.fullmatch(r"it is \d+ s old, and is served until it is 30 minutes \(fallback_max_age\) old", copied.what)
    late = {one.about: one for one in examine(shop, now=datetime.now(UTC) + timedelta(hours=1))}[copied.about]
    assert re.fullmatch(r"It is \d+ minutes old, and is not served after 30 minutes \(fallback_max_age\)\.", late.what)
    monkeypatch.setenv("FEATURES_REGISTRY", f"postgresql+psycopg://ada@127.0.0.1:{free_port()}/db")
    file = shop / "featurestore.toml"
    file.write_text(file.read_text().replace('"sqlite:///data/registry.db"', '"${FEATURES_REGISTRY}"'))
    said = {one.about: one for one in examine(shop)}
    assert said["registry"].state is State.fault
    assert said[copied.about].what == "It is there. How old it is cannot be told without the registry."


def test_a_password_that_is_refused_is_told_once(server: RedisServer, tmp_path: Path) -> None:
    shop = shop_on(tmp_path / "shop", server)
    with FeatureStore(shop) as store:
        store.apply([VIEW])
    with server.client() as client:
        client.config_set("requirepass", "hidden-2b11")
    said = {one.about: one for one in examine(shop)}
    assert [about for about, one in said.items() if one.state is State.fault] == ["online store"]
    assert said[f"online server {server.address}"].what == "Not looked at: the online store cannot be used."


def test_of_a_cluster_the_server_that_is_away_is_one_fault_and_the_others_are_looked_at(
    lacking: Callable[[str], NoReturn], tmp_path: Path
) -> None:
    with contextmanager(cluster)(redis_program(lacking)) as servers:
        shop = shop_on(tmp_path / "shop", *servers, mode="cluster")
        with FeatureStore(shop) as store:
            store.apply([VIEW])
        servers[0].kill()
        said = examine(shop)
    assert len([one for one in said if one.state is State.fault]) == 1
    told = [one.about for one in said if one.about.startswith("online server")]
    assert sorted(told) == sorted(f"online server {one.address}" for one in servers)
