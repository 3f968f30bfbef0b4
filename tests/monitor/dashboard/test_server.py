"""Where the dashboard listens, and where it does not; what a page reads once for all that are open."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpcore
import pytest

from featurestore.errors import AddressInUseError, ConfigError, MonitorError
from featurestore.store import FeatureStore
from monitor.dashboard.remembering import Remembered
from monitor.dashboard.server import DashboardServer


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Callable[[str], FeatureStore]]:
    opened: list[FeatureStore] = []

    def make(settings: str = "") -> FeatureStore:
        (tmp_path / "featurestore.toml").write_text(f"[dashboard]\nport = 0\n{settings}")
        opened.append(FeatureStore(tmp_path))
        return opened[-1]

    yield make
    for one in opened:
        one.close()


def test_beyond_this_machine_it_listens_only_where_people_log_in(store: Callable[..., FeatureStore]) -> None:
    with pytest.raises(ConfigError, match="could read the dashboard") as refused:
        DashboardServer(store('host = "0.0.0.0"\n'))
    assert "authentication" in refused.value.hint
    server = DashboardServer(store('host = "0.0.0.0"\nauthentication = "token"\n'))
    server.close()


def test_a_port_that_is_taken_is_said_to_be(store: Callable[..., FeatureStore]) -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        held.listen()
        with pytest.raises(AddressInUseError, match="for the dashboard, is taken"):
            DashboardServer(store(), port=held.getsockname()[1])


def test_a_certificate_that_is_none_is_said_to_be(store: Callable[..., FeatureStore]) -> None:
    tls = '[dashboard.tls]\ncertificate = "no.pem"\nkey = "no.key"\n'
    with pytest.raises(ConfigError, match="cannot speak TLS"):
        DashboardServer(store(tls))


def test_it_ends_with_pages_that_are_open(store: Callable[..., FeatureStore]) -> None:
    server = DashboardServer(store())
    with httpcore.ConnectionPool() as pool, pool.stream("GET", server.url + "events?since=x") as stream:
        lines = stream.iter_stream()
        assert next(lines).startswith(b"retry:")
        assert b"event: changed" in next(lines)
        server.close()
        assert b"changed" not in b"".join(lines)


def test_values_are_read_once_while_nothing_changes_and_the_last_ones_are_kept() -> None:
    remembered, now = Remembered(), datetime(2026, 1, 1, tzinfo=UTC)
    read: list[int] = []

    def reads() -> dict[str, Any]:
        read.append(1)
        return {"n": len(read)}

    def fails() -> dict[str, Any]:
        raise MonitorError("The database is away.", hint="Wait.")

    later = now + timedelta(seconds=6)
    assert [remembered.get("a", "m", 5, reads, now=now).values["n"] for _ in range(3)] == [1, 1, 1]
    assert remembered.get("a", "other", 5, reads, now=now).values["n"] == 2
    assert remembered.get("a", "other", 5, reads, now=later).values["n"] == 3
    old = remembered.get("a", "third", 5, fails, now=later + timedelta(hours=1))
    assert (old.values["n"], old.at, old.old) == (3, later, "The database is away. Wait.")
    with pytest.raises(MonitorError):
        remembered.get("b", "m", 5, fails, now=now)
