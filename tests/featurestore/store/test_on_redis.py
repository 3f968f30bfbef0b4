"""A feature store whose rows are online in Redis: the same calls, the same answers."""

from __future__ import annotations

import asyncio
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from structlog.testing import capture_logs

from featurestore import Entity, FeatureService, FeatureStore, FeatureView, Field
from featurestore.client import AsyncFeatureClient, FeatureClient
from featurestore.definitions import storage_id
from featurestore.errors import ConfigError, OnlineStoreError
from featurestore.online.redis.store import RedisStore
from featurestore.settings.online import RedisConfig
from featurestore.types import Float64, Int64
from tests.redis_servers import RedisServer

SCALING = Path(__file__).parents[3] / "docs" / "scaling.md"
USER = Entity(name="user", join_keys=["user_id"], dtypes=[Int64])
SPENDING = FeatureView(
    name="spending",
    entities=[USER],
    ttl=timedelta(days=2),
    schema=[Field(name="orders", dtype=Int64), Field(name="total", dtype=Float64)],
)
VISITS = FeatureView(name="visits", entities=[USER], schema=[Field(name="pages", dtype=Int64)])
NOW = datetime.now(UTC)


def rows(users: dict[int, int], *, hours: float) -> list[dict[str, Any]]:
    at = NOW - timedelta(hours=hours)
    return [
        {"user_id": user, "orders": orders, "total": orders * 1.5, "event_timestamp": at}
        for user, orders in users.items()
    ]


def folder_on(tmp_path: Path, settings: RedisConfig, more: str = "") -> Path:
    folder = tmp_path / "shop"
    FeatureStore.init(folder).close()
    file = folder / "featurestore.toml"
    text = file.read_text().replace('online = "lmdb://data/online"\n', "")
    file.write_text(f'{text}\n[online]\ntype = "redis"\naddresses = ["{settings.addresses[0]}"]\n{more}')
    return folder


@contextmanager
def server(folder: Path) -> Iterator[str]:
    command = [sys.executable, "-m", "featurestore", "serve", "--port", "0", "--repo", str(folder)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield process.stdout.readline().split(" at ")[1].split(",")[0]
    finally:
        process.terminate()
        process.communicate(timeout=30)


def streamed(address: str, asked: Any) -> Any:
    async def ask() -> Any:
        async with AsyncFeatureClient(address) as client, client.stream() as stream:
            return (await stream.get_online_features("scoring", asked)).to_dict()

    return asyncio.run(ask())


def test_rows_are_loaded_served_pushed_restored_and_erased(tmp_path: Path, redis_settings: RedisConfig) -> None:
    folder = folder_on(tmp_path, redis_settings)
    with FeatureStore(folder) as store:
        store.apply([FeatureService(name="scoring", features=[SPENDING, VISITS])])
        store.ingest("spending", rows({1: 1, 2: 2}, hours=5), load_id="first")
        store.ingest("spending", rows({1: 10, 3: 30}, hours=4), load_id="second")
        store.ingest("visits", [{"user_id": 1, "pages": 7, "event_timestamp": NOW - timedelta(hours=1)}])
        assert store.materialize("spending").written == 3
        store.materialize("visits")
        store.promote("scoring@1")
        with server(folder) as address, FeatureClient(address) as client:
            asked = {"user_id": [1, 2, 3, 4]}
            found = client.get_online_features("scoring", asked)
            assert found.to_dict() == {
                "orders": [10, 2, 30, None],
                "total": [15, 3, 45, None],
                "pages": [7] + 3 * [None],
            }
            assert streamed(address, asked) == found.to_dict()
            assert store.get_online_features("scoring", asked).to_dict() == found.to_dict()
            store.restore("spending", to="first")
            assert client.get_online_features("scoring", asked).to_dict()["orders"] == [1, 2, None, None]
            client.push("spending", rows({2: 20}, hours=3))
            assert client.get_online_features("scoring", {"user_id": [2]}).to_dict()["orders"] == [20]
            store.erase("user", {"user_id": 1}, request="GDPR-1")
            assert client.get_online_features("scoring", asked).to_dict()["orders"] == [None, 20, None, None]
        assert {name: one.rows for name, one in store.online.status().items()} == {
            storage_id(SPENDING): 1,
            storage_id(VISITS): 0,
        }


def test_pushed_rows_that_a_server_lost_are_put_again_from_the_log(
    tmp_path: Path, redis_settings: RedisConfig, redis_server: RedisServer
) -> None:
    with FeatureStore(folder_on(tmp_path, redis_settings)) as store:
        store.apply([FeatureService(name="scoring", features=[SPENDING])])
        store.push("spending", rows({1: 5, 2: 6}, hours=1))
        with redis_server.client() as client:
            client.flushall()  # as a server that takes over without the last writes
        assert store.get_online_features("scoring", {"user_id": [1]}).to_dict()["orders"] == [None]
        store.online._nodes.interruptions += 1  # type: ignore[attr-defined]  # as when a connection breaks
        store._pusher.flusher.serve_again()
        assert store.get_online_features("scoring", {"user_id": [1, 2]}).to_dict()["orders"] == [5, 6]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ('mode = "rings"', 'setting "online.mode"'),
        ('mode = "sentinel"', "needs a master"),
        ('adresses = "x"', 'there is no setting "online.adresses"'),
        ('prefix = "a{b}"', "letters, digits"),
        ('[online.tls]\nca_file = "ca.pem"', "enabled is not true"),
    ],
)
def test_a_setting_that_is_wrong_is_named(tmp_path: Path, more: str, said: str) -> None:
    folder = folder_on(tmp_path, RedisConfig(type="redis"), more)
    with pytest.raises(ConfigError, match=said):
        FeatureStore(folder)


def test_a_password_comes_from_environment_or_file_and_is_in_no_error(
    tmp_path: Path, redis_server: RedisServer, redis_settings: RedisConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = folder_on(tmp_path, redis_settings, 'user = "shop"\npassword = "${SHOP_PASSWORD}"\n')
    with redis_server.client() as client:
        client.acl_setuser("shop", enabled=True, passwords=["+s3cret"], keys=["featurestore*"], categories=["+@all"])
        try:
            with FeatureStore(folder) as store, pytest.raises(ConfigError, match="SHOP_PASSWORD, which is not set"):
                store.online.status()
            monkeypatch.setenv("SHOP_PASSWORD", "wrong-one")
            with FeatureStore(folder) as store:
                assert "wrong-one" not in repr(store.config)
                with pytest.raises(OnlineStoreError, match="WRONGPASS") as caught:
                    store.online.status()
                assert "user and password under" in caught.value.hint
                assert "wrong-one" not in str(caught.value)
            monkeypatch.setenv("SHOP_PASSWORD", "s3cret")
            with FeatureStore(folder) as store:
                assert store.online.put_newest("a-1", [(b"k", bytes(40))]) == (1, 0)
            client.execute_command("ACL", "SETUSER", "shop", "-evalsha")
            with FeatureStore(folder) as store, pytest.raises(OnlineStoreError, match="NOPERM") as caught:
                store.online.put_newest("a-1", [(b"k", bytes(40))])
            assert "docs/scaling.md" in caught.value.hint
            client.execute_command("ACL", "SETUSER", "shop", "+evalsha", "-time", "-get", "-set")
            with FeatureStore(folder) as store, pytest.raises(OnlineStoreError, match="refuses: ") as caught:
                store.online.put_newest("a-1", [(b"k", bytes(40))])  # within a script it has another code
            assert "NOPERM" not in caught.value.message
            assert "docs/scaling.md" in caught.value.hint
        finally:
            client.acl_deluser("shop")


def test_the_documented_user_may_do_all_that_a_store_does(
    redis_server: RedisServer, redis_settings: RedisConfig
) -> None:
    (rule,) = re.findall(r"^ACL SETUSER features ([^`]*)```", SCALING.read_text(), re.MULTILINE)
    words = shlex.split(rule.replace("\\\n", " ").replace("PASSWORD", "s3cret"))
    with redis_server.client() as client:
        client.execute_command("ACL", "SETUSER", "features", *words)
        given = {"user": "features", "password": SecretStr("s3cret")}
        store = RedisStore(redis_settings.model_copy(update=given))
        try:
            with capture_logs() as logs:
                store.put_newest("a-1", [(b"k", bytes(40)), (b"j", bytes(40))])
                store.settle("a-1", [(b"k", bytes(40), bytes(31) + b"\x01")])
                store.put_step("a-1", [(b"i", bytes(40))], expected=None, progress=lambda _: b"p")
                store.replace_keys("a-1", [b"i"], [], expected=b"p", progress=b"q")
                store.keep("a-1", 1000)
                store.expire("a-1", 0)
                store.keep("a-1", None)
                store.expire("a-1", -(1 << 63))
                assert store.replace("a-1", [(b"k", bytes(40))]) == 2
                assert store.delete("a-1", list(store.keys("a-1"))) == 1
                assert store.status()["a-1"].rows == 0
                assert store._nodes.replicated([0], 0, 0.1)
                store.advance(None, 1, {})
                store.forget()
                store.clear()
            assert logs == []
        finally:
            store.close()
            client.acl_deluser("features")


def test_a_url_is_answered_with_the_section_to_write(tmp_path: Path) -> None:
    FeatureStore.init(tmp_path / "shop").close()
    file = tmp_path / "shop" / "featurestore.toml"
    file.write_text(file.read_text().replace("lmdb://data/online", "redis://127.0.0.1"))
    with FeatureStore(tmp_path / "shop") as store, pytest.raises(ConfigError, match="section of its own"):
        store.online.status()


def test_without_its_package_the_error_names_the_extra() -> None:
    program = """
import sys
sys.modules["hiredis"] = None
from pathlib import Path
from featurestore.errors import ConfigError
from featurestore.online import open_online_store
from featurestore.settings.online import RedisConfig
try:
    open_online_store(RedisConfig(type="redis"), Path())
except ConfigError as error:
    print(error)
"""
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert "hiredis" in ran.stdout
    assert "pip install 'featurestore[redis]'" in ran.stdout
