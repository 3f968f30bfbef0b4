"""Where the dashboard listens, and where it does not; what a page reads once for all that are open."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpcore
import pytest

from featurestore.errors import AddressInUseError, ConfigError, MonitorError
from featurestore.store import FeatureStore
from monitor.alerts.answering import acknowledge
from monitor.dashboard.marker import Marker
from monitor.dashboard.news import SPREAD_SECONDS, News
from monitor.dashboard.reading import Reader
from monitor.dashboard.remembering import Remembered
from monitor.dashboard.server import DashboardServer
from monitor.history import Standing, Watch
from monitor.windows import Position
from tests import forking
from tests.monitor.conftest import SERVING_START


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


def test_a_page_that_is_being_read_holds_up_nobody_who_writes(drifted: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    # Whoever had to wait would give up after this.
    monkeypatch.setattr("featurestore.database.PATIENCE_SECONDS", 1.0)
    now = datetime.now(UTC)
    with FeatureStore(drifted.config.root) as store, drifted.history() as pages, drifted.history() as monitor:
        reader = Reader(store)
        with pages.read() as connection:
            before = pages.timeline(connection, 1)
            with monitor.write() as writing:
                monitor.advance_data_clock(writing, now)
            acknowledge(store, monitor, 1, who="otto", reason="", now=now)
            # What a page shows is of one moment all the same.
            assert pages.timeline(connection, 1) == before
        with reader.history.read() as connection:
            assert len(pages.timeline(connection, 1)) == len(before) + 1
        reader.close()


def test_a_stream_that_is_behind_others_is_news_too(drifted: Any) -> None:
    behind = Watch(policy="other", policy_version=1, service="other@1")
    with FeatureStore(drifted.config.root) as store, drifted.history() as history:
        reader = Reader(store)
        found = []
        for day in (1, 2, 3):
            with history.write() as connection:
                position = Position(datetime(2001, 1, day, tzinfo=UTC), 0)
                history.save_standing(connection, behind, Standing(baseline="", position=position))
            found.append(Marker(reader).current())
        assert len({*found, Marker(reader).current()}) == 3
        reader.close()


def test_a_page_is_not_told_of_every_change_but_soon_of_the_last_one() -> None:
    async def listened() -> list[str]:
        markers = iter(range(1_000))
        marker = ["0"]

        async def look() -> str:
            marker[0] = str(min(next(markers), 5))
            return marker[0]

        async def stays() -> bool:
            return True

        news = News(look, most=1)
        stream, told = news.stream("", stays), []
        async for line in stream:
            told += [line.split()[-1]] if "changed" in line else []
            if told and told[-1] == "5":
                break
        await stream.aclose()  # type: ignore[attr-defined]
        return told

    began = time.monotonic()
    told = asyncio.run(listened())
    assert len(told) < 6
    # There are six in two and a half seconds.
    assert time.monotonic() - began < 6


def test_open_pages_are_told_of_a_change_one_after_another() -> None:
    async def told() -> list[float]:
        marker = ["0"]

        async def look() -> str:
            return marker[0]

        async def stays() -> bool:
            return True

        news = News(look, most=20)

        async def first() -> float:
            stream = news.stream("0", stays)
            async for line in stream:
                if "changed" in line:
                    break
            await stream.aclose()  # type: ignore[attr-defined]
            return time.monotonic()

        pages = [asyncio.create_task(first()) for _ in range(20)]
        await asyncio.sleep(0)
        marker[0] = "1"
        return await asyncio.gather(*pages)

    at = sorted(asyncio.run(told()))
    assert at[-1] - at[0] > SPREAD_SECONDS / 2
    # Twenty that are told at once would be one step, and the rest nothing.
    assert max(later - sooner for sooner, later in pairwise(at)) < SPREAD_SECONDS / 3


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


@pytest.fixture
def daemon(drifted: Any, tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """``featurestore monitor start --dashboard`` on the scene, and where its pages are."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    file = drifted.config.root / "featurestore.toml"
    file.write_text(f'{file.read_text()}port = {port}\nlocal_role = "operator"\n')
    # A server that has given no sign for long is taken for gone, and the scene may be a copy of an old one.
    drifted.mark(SERVING_START + timedelta(days=13))
    command = [sys.executable, "-m", "featurestore", "monitor", "start", "--dashboard", "-C", str(file.parent)]
    log = tmp_path / "daemon.log"
    with log.open("w") as said:
        process = forking.Forked(command, stdout=said, stderr=subprocess.STDOUT, text=True, env=os.environ)
    yield process, f"http://127.0.0.1:{port}/"
    if process.poll() is None:
        process.kill()
        process.wait()


def test_the_daemon_serves_it_while_it_works_and_both_end_by_one_signal(
    drifted: Any, daemon: tuple[subprocess.Popen[str], str], wait_for: Callable[[Callable[[], bool]], None]
) -> None:
    process, url = daemon
    with httpcore.ConnectionPool() as pool:

        def overview() -> dict[str, Any]:
            try:
                answer = pool.request("GET", url + "overview.json")
            except httpcore.ConnectError:
                assert process.poll() is None
                return {"monitor": None}
            found: dict[str, Any] = json.loads(answer.content)
            return found

        wait_for(lambda: bool((overview()["monitor"] or {}).get("alive")))
        assert b"Incident 1" in pool.request("GET", url + "overview").content
        # What the daemon judges is on the page.
        drifted.serve_days(13, 2, shift=1.0)
        wait_for(lambda: (overview()["streams"][0]["judged_until"] or "").startswith("2013-07-16"))
        with pool.stream("GET", url + "events?since=x") as stream:
            lines = stream.iter_stream()
            assert next(lines).startswith(b"retry:")
            process.send_signal(signal.SIGTERM)
            # A page that is open does not hold it up, and its stream ends as one does.
            b"".join(lines)
        assert process.wait(30) == 0
        with pytest.raises(httpcore.ConnectError):
            pool.request("GET", url + "overview")
    with drifted.history() as history, history.read() as connection:
        assert history.incident(connection, 1) is not None
