"""The doctor where Apache Spark joins and reads: the package, Java or the server are told of; no session starts."""

from __future__ import annotations

import socket
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import NoReturn

import pytest

from featurestore import FeatureStore
from featurestore.doctor import Finding, State, examine, extras, spark
from featurestore.doctor.probes import PROBES
from featurestore.offline.spark import session


@pytest.fixture
def shop(tmp_path: Path, lacking: Callable[[str], NoReturn]) -> Path:
    if find_spec("pyspark") is None:
        lacking("needs pyspark: pip install 'featurestore[spark]'")
    folder = tmp_path / "shop"
    FeatureStore.init(folder, project="shop").close()
    settings = folder / "featurestore.toml"
    settings.write_text(settings.read_text().replace("[offline]\n", '[offline]\nengine = "spark"\n'))
    return folder


def on_server(shop: Path, remote: str) -> None:
    with (shop / "featurestore.toml").open("a") as file:
        file.write(f'\n[offline.spark]\nremote = "{remote}"\n')


def found(shop: Path) -> dict[str, Finding]:
    before = dict(session._sessions)
    said = {
        one.about: one
        for one in examine(shop, probes={name: PROBES[name] for name in ("extras", "secrets", "spark")})
        if one.about not in ("configuration", "secrets")
    }
    assert session._sessions == before
    return said


def java(folder: Path, says: str, code: int = 0) -> Path:
    program = folder / "bin" / "java"
    program.parent.mkdir(parents=True)
    program.write_text(f"#!/bin/sh\nprintf '%s\\n' '{says}' >&2\nexit {code}\n")
    program.chmod(0o755)
    return folder


def test_a_store_without_spark_is_told_nothing_of_it(tmp_path: Path) -> None:
    FeatureStore.init(tmp_path / "plain", project="plain").close()
    assert found(tmp_path / "plain") == {}


def test_a_pyspark_that_lacks_is_named_once(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (extras, spark):
        monkeypatch.setattr(module, "find_spec", lambda _: None)
    said = found(shop)
    assert list(said) == ["extra spark"]
    assert (said["extra spark"].state, said["extra spark"].hint) == (
        State.fault,
        "pip install 'featurestore[spark]'",
    )


@pytest.mark.parametrize(
    ("says", "code", "state", "what"),
    [
        ('openjdk version "17.0.9" 2023-10-17', 0, State.well, "pyspark and Java 17 are there"),
        ('openjdk version "21" 2023-09-19', 0, State.well, "pyspark and Java 21 are there"),
        ('java version "1.8.0_392"', 0, State.fault, "is Java 8; Spark needs 17 or later."),
        ('openjdk version "11.0.21" 2023-10-17', 0, State.fault, "is Java 11; Spark needs 17 or later."),
        ("something else", 0, State.fault, "does not say which version it is."),
        ("broken", 1, State.fault, "does not run: CalledProcessError."),
    ],
)
def test_java_is_asked_for_its_version(
    shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, says: str, code: int, state: State, what: str
) -> None:
    monkeypatch.setenv("JAVA_HOME", str(java(tmp_path / "java", says, code)))
    said = found(shop)
    assert said["extra spark"].state is State.well
    assert (said["spark"].state, what in said["spark"].what) == (state, True), said


def test_a_java_that_is_not_there_is_told_of(shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "none"))
    said = found(shop)["spark"]
    assert (said.state, said.what) == (State.fault, f"{tmp_path}/none/bin/java, of JAVA_HOME, is not there.")
    monkeypatch.delenv("JAVA_HOME")
    monkeypatch.setenv("PATH", str(tmp_path / "none"))
    said = found(shop)["spark"]
    assert (said.state, "there is none on the path" in said.what) == (State.fault, True)
    assert "openjdk-17-jre-headless" in said.hint


def test_a_server_of_spark_connect_is_looked_for_and_needs_no_java(
    shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "none"))
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        on_server(shop, f"sc://127.0.0.1:{port}/;token=hidden-1c77")
        there = found(shop)["spark"]
    assert (there.state, there.what) == (
        State.well,
        f"a server listens at 127.0.0.1:{port}; no session was started",
    )
    gone = found(shop)["spark"]
    assert (gone.state, f"reached at 127.0.0.1:{port}" in gone.what) == (State.fault, True)
    assert '"remote" under [offline.spark]' in gone.hint
    assert "hidden" not in str([there, gone])


def test_a_secret_of_spark_that_is_not_there_is_told_of(shop: Path) -> None:
    on_server(shop, "${NO_SUCH_REMOTE}")
    assert "NO_SUCH_REMOTE" in found(shop)["secrets of Spark"].what
