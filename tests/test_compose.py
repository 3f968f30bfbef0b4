"""The composition of examples/compose: against the Compose specification, our own commands and settings, and itself.

There is no Docker here. What can be run without containers is: the script that makes the secrets, and Valkey.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import compose_spec
import pytest
import yaml
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, RedisError
from redis.retry import Retry

from featurestore import MonitorPolicy, config
from featurestore.config import Config
from featurestore.definition_files import load_definitions
from featurestore.serving import workers
from featurestore.storage.credentials import s3_credentials
from tests.conftest import Lacking
from tests.our_commands import check_command
from tests.redis_servers import valkey_program

FOLDER = Path(__file__).parent.parent / "examples" / "compose"
COMPOSE: dict[str, Any] = yaml.safe_load((FOLDER / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = {name: one for name, one in SERVICES.items() if one["image"] == "featurestore"}
SECRETS = "/run/secrets"


def seconds(text: str) -> float:
    return float(text[:-1]) * {"s": 1, "m": 60}[text[-1]]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of the folder in which the script has made the secrets."""
    folder = tmp_path_factory.mktemp("compose") / "compose"
    shutil.copytree(FOLDER, folder, ignore=shutil.ignore_patterns("secrets"))
    subprocess.run(["sh", "secrets.sh"], cwd=folder, check=True, capture_output=True, timeout=60)
    return folder


@pytest.fixture(scope="module")
def settings(made: Path) -> Config:
    """Return the settings, with the secrets where the script has put them."""
    file = made / "store" / "featurestore.toml"
    text = file.read_text()
    (made / "here.toml").write_text(text.replace(SECRETS, str(made / "secrets")))
    return config.load(made / "here.toml")


def parsed(composition: dict[str, Any]) -> compose_spec.ComposeSpecification:
    return compose_spec.PyCompose.from_json(json.dumps(composition)).to_spec()


def test_it_is_what_the_specification_says_and_a_slip_of_the_pen_is_not() -> None:
    assert set(parsed(COMPOSE).services) == set(SERVICES)
    with pytest.raises(ValueError, match="mem_limt"):
        parsed(COMPOSE | {"services": {"server": {"image": "featurestore", "mem_limt": "1g"}}})


def test_every_command_is_one_of_ours() -> None:
    assert set(OURS) == {"apply", "server", "monitor", "materialize", "stream"}
    for one in OURS.values():
        check_command(["featurestore", *one["command"]])
        check = one["healthcheck"]
        if not check.get("disable"):
            assert check["test"][0] == "CMD"
            check_command(check["test"][1:])


def test_what_is_named_is_there() -> None:
    for name, one in SERVICES.items():
        others = one.get("depends_on", {})
        assert set(others) <= set(SERVICES), name
        for other, how in others.items():
            ends = SERVICES[other]["restart"] == "no"
            assert how["condition"] == ("service_completed_successfully" if ends else "service_healthy")
        assert {volume.partition(":")[0] for volume in one.get("volumes", [])} <= set(COMPOSE["volumes"]), name
        assert set(one.get("networks", [])) <= set(COMPOSE["networks"]), name
        assert set(one.get("secrets", [])) <= set(COMPOSE["secrets"]), name
        assert {given["source"] for given in one.get("configs", [])} <= set(COMPOSE["configs"]), name
    assert all((FOLDER / one["file"]).is_file() for one in COMPOSE["configs"].values())
    build = OURS["server"]["build"]
    assert (FOLDER / build["context"] / build["dockerfile"]).is_file()


def test_each_part_is_bounded_guarded_and_comes_back_by_itself() -> None:
    for name, one in SERVICES.items():
        assert one["restart"] in ("unless-stopped", "no"), name
        assert one["mem_limit"], name
        assert "no-new-privileges:true" in one["security_opt"], name
        if one["restart"] != "no":
            assert one["healthcheck"], name
            assert one["cpus"], name
    for one in OURS.values():
        assert one["read_only"]
        assert one["cap_drop"] == ["ALL"]


def test_a_server_has_the_time_that_it_needs_to_drain(settings: Config) -> None:
    longest = settings.serving.drain_seconds + workers._EXIT_SECONDS
    assert seconds(SERVICES["server"]["stop_grace_period"]) > longest


def test_ports_are_those_of_the_settings_and_open_to_this_machine_alone(settings: Config) -> None:
    published = {
        name: {int(port.rpartition(":")[2]) for port in one["ports"]}
        for name, one in SERVICES.items()
        if "ports" in one
    }
    assert published == {
        "server": {settings.serving.port, settings.serving.metrics_port},
        "monitor": {settings.monitor.metrics_port},
        "stream": {settings.streaming.metrics_port},
    }
    assert all(port.startswith("127.0.0.1:") for one in SERVICES.values() for port in one.get("ports", []))
    probed = {name: SERVICES[name]["healthcheck"]["test"][3] for name in ("server", "monitor")}
    assert probed == {
        "server": f"127.0.0.1:{settings.serving.port}",
        "monitor": f"127.0.0.1:{settings.signals.port}",
    }
    assert COMPOSE["networks"]["inner"]["internal"]
    assert {name for name, one in SERVICES.items() if "outer" in one.get("networks", [])} == {*published}


def test_hosts_of_the_settings_are_parts_of_the_composition(settings: Config) -> None:
    assert not isinstance(settings.online, str)
    host, _, port = settings.online.addresses[0].rpartition(":")
    assert (host in SERVICES, port) == (True, "6379")
    name, _, port = settings.offline.storage.endpoint.removeprefix("http://").partition(":")
    assert f"-s3.port={port}" in SERVICES[name]["command"]
    database = settings.database_url(settings.registry)
    assert "@postgres:5432/" in database
    assert "postgres" in SERVICES
    assert settings.database_url(settings.monitor.database) == database


def test_secrets_are_files_that_the_script_makes_and_the_settings_read(
    made: Path, settings: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = made / "secrets"
    assert {f"secrets/{one.name}" for one in folder.iterdir()} == {one["file"] for one in COMPOSE["secrets"].values()}
    assert folder.stat().st_mode & 0o077 == 0
    # As the user of the containers, whose number is not ours.
    assert all(one.stat().st_mode & 0o004 for one in folder.iterdir())
    password = (folder / "postgres_password").read_text().strip()
    assert len(password) == 48
    assert f":{password}@" in settings.database_url(settings.registry)
    store = settings.online_store()
    assert not isinstance(store, str)
    assert store.password.get_secret_value() == (folder / "valkey_password").read_text().strip()
    assert "PRIVATE KEY" in (settings.signing_key() or "")
    assert len(settings.erasure_secret() or "") >= 16
    monkeypatch.delenv("AWS_ACCESS_KEY_ID", raising=False)
    for name, path in OURS["server"]["environment"].items():
        if name.startswith("AWS_"):
            monkeypatch.setenv(name, path.replace(SECRETS, str(folder)))
    keys = s3_credentials("")
    (identity,) = json.loads((folder / "s3_identities").read_text())["identities"]
    assert identity["credentials"] == [
        {"accessKey": keys["aws_access_key_id"], "secretKey": keys["aws_secret_access_key"]}
    ]
    assert {action.partition(":")[2] for action in identity["actions"]} == {"features"}


def test_each_program_has_the_secrets_that_it_reads_and_the_script_changes_none(made: Path) -> None:
    lines = (made / "store" / "featurestore.toml").read_text().splitlines()
    place = f"file:{SECRETS}/"
    read = {line.rpartition(place)[2].strip('"') for line in lines if place in line and not line.startswith("#")}
    for one in OURS.values():
        assert read | {"aws_credentials"} == set(one["secrets"])
    before = {one.name: one.read_bytes() for one in (made / "secrets").iterdir()}
    again = subprocess.run(["sh", "secrets.sh"], cwd=made, check=True, capture_output=True, timeout=60)
    assert again.stdout == b""
    assert {one.name: one.read_bytes() for one in (made / "secrets").iterdir()} == before
    # And none is in the composition, or in a container's environment.
    written = (FOLDER / "compose.yaml").read_text()
    for one in SERVICES.values():
        for name in one.get("environment", {}):
            assert "PASSWORD" not in name or name.endswith("_FILE")
    assert not [name for name, secret in before.items() if secret.decode() in written]


def test_the_definitions_are_some_and_whoever_is_told_is_there(made: Path) -> None:
    settings = config.load(made / "store")
    found = load_definitions(settings)
    (policy,) = [one for one in found if isinstance(one, MonitorPolicy)]
    assert set(policy.routes) <= set(settings.channels)


@contextmanager
def valkey(made: Path, folder: Path, lacking: Lacking) -> Iterator[Path]:
    """Run the composition's Valkey, with its paths here and a socket in the place of its port."""
    program = valkey_program(lacking)
    (script,) = SERVICES["valkey"]["command"]
    file = (made / "valkey.conf").read_text().replace("dir /data", f"dir {folder}")
    (folder / "valkey.conf").write_text(f"{file}\nport 0\nunixsocket {folder}/socket\n")
    for old, new in (
        ("$$", "$"),
        ("/etc/valkey.conf", f"{folder}/valkey.conf"),
        (SECRETS, str(made / "secrets")),
        ("exec valkey-server", f"exec {program}"),
    ):
        script = script.replace(old, new)
    server = subprocess.Popen([*SERVICES["valkey"]["entrypoint"], script], stdout=subprocess.DEVNULL)
    try:
        yield folder / "socket"
    finally:
        # The signal of a stopped container reaches it: no shell stands between.
        server.terminate()
        assert server.wait(timeout=30) == 0


def test_valkey_takes_its_settings_and_its_password_by_standard_input(
    made: Path, tmp_path: Path, lacking: Lacking
) -> None:
    password = (made / "secrets" / "valkey_password").read_text().strip()
    once = Retry(NoBackoff(), 0)
    with (
        valkey(made, tmp_path, lacking) as socket,
        Redis(unix_socket_path=str(socket), password=password, retry=once) as client,
        Redis(unix_socket_path=str(socket), retry=once) as stranger,
    ):
        deadline = time.monotonic() + 30
        while True:
            try:
                assert client.ping()
                break
            except RedisError:
                assert time.monotonic() < deadline
                time.sleep(0.05)
        assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
        assert client.config_get("appendonly") == {"appendonly": "yes"}
        with pytest.raises(AuthenticationError):
            stranger.ping()
