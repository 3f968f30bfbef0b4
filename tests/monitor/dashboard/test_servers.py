"""The traffic of real servers on the overview: read from where the settings say, and from nowhere else."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from featurestore.config import load
from featurestore.errors import ConfigError
from featurestore.serving.metrics.calls import CallCounts
from featurestore.serving.metrics.exposition import MetricsPage
from featurestore.serving.metrics.server import BUILD
from monitor.dashboard import servers
from monitor.dashboard.servers import Servers, metrics_addresses


class Counting:
    """A page of metrics of a server that counts what a test tells it.

    Attributes:
        address: of the page.
        counts: what is on it.
        asked: how often it was read.
    """

    def __init__(self, project: str = "default", port: int = 0) -> None:
        self.counts = CallCounts()
        self.asked = 0
        self.port = port or free_port()
        self.address = f"http://127.0.0.1:{self.port}/metrics"
        self._project = project
        self._page = MetricsPage("127.0.0.1", self.port, (self._build, lambda: list(self.counts.samples())))

    def _build(self) -> Any:
        self.asked += 1
        return [BUILD.sample(1, "1.0", self._project)]

    def answer(self, count: int, seconds: float, service: str = "flight_delay@1") -> None:
        for _ in range(count):
            self.counts.answered("GetOnlineFeatures", service, 2, seconds)

    def close(self) -> None:
        self._page.close()


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@pytest.fixture
def counting() -> Iterator[Callable[..., Counting]]:
    """Start a page of metrics; it is closed after the test."""
    opened: list[Counting] = []

    def start(**settings: Any) -> Counting:
        opened.append(Counting(**settings))
        return opened[-1]

    yield start
    for one in opened:
        one.close()


class Clock:
    """Seconds that a test lets pass."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


def test_rates_and_quantiles_are_those_of_the_last_minutes(counting: Callable[..., Counting]) -> None:
    server, clock = counting(), Clock()
    server.answer(1_000, 0.3)  # long ago
    read = Servers((server.address,), project="default", clock=clock)
    read.look()
    assert not read.values()["measured"]
    clock.now += 10
    server.answer(200, 0.0015)
    server.counts.refused("GetOnlineFeatures", "RESOURCE_EXHAUSTED")
    server.counts.stale("flight_delay@1")
    read.look()
    found = read.values()
    (service,) = found["services"]
    assert (service["requests_per_second"], service["rows_per_second"], service["stale"]) == (20, 40, 1)
    assert 0.001 < service["p50"] < service["p99"] <= 0.002
    assert found["refused"] == [
        {"method": "GetOnlineFeatures", "code": "RESOURCE_EXHAUSTED", "count": 1, "per_second": 0.1}
    ]
    assert [one["fault"] for one in found["servers"]] == [""]
    clock.now += servers.WINDOW_SECONDS - 5
    read.look()
    clock.now += 6
    read.look()
    # All that is older than the window is forgotten.
    assert read.values()["services"][0]["requests_per_second"] == 0
    assert read.values()["services"][0]["p50"] is None


def test_a_server_that_is_lost_is_said_and_one_that_came_back_counts_from_nothing(
    counting: Callable[..., Counting],
) -> None:
    lost, other, clock = counting(), counting(), Clock()
    read = Servers((lost.address, other.address), project="default", clock=clock)
    for server in (lost, other):
        server.answer(50, 0.001)
    read.look()
    clock.now += 10
    for server in (lost, other):
        server.answer(50, 0.001)
    read.look()
    assert read.values()["services"][0]["requests_per_second"] == 10
    lost.close()
    clock.now += 10
    read.look()
    found = read.values()
    assert [bool(one["fault"]) for one in found["servers"]] == [True, False]
    assert f"{lost.address} cannot be read: Connection refused." in found["servers"][0]["fault"]
    assert "server_metrics" in found["servers"][0]["hint"]
    # Of the other 50 in 20 seconds.
    assert found["services"][0]["requests_per_second"] == 2.5
    again = counting(port=lost.port)
    again.answer(20, 0.001)
    clock.now += 10
    read.look()
    # 50 and 20 of the one, 50 of the other, in 30 seconds.
    assert read.values()["services"][0]["requests_per_second"] == pytest.approx(4)


def test_what_is_no_server_of_this_project_is_not_counted(counting: Callable[..., Counting], receiver: Any) -> None:
    strange = counting(project="other")
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        hung = f"http://127.0.0.1:{silent.getsockname()[1]}/metrics"
        read = Servers((strange.address, receiver.url, hung), project="default")
        began = time.monotonic()
        read.look()
        assert time.monotonic() - began < 10
    said = [one["fault"] for one in read.values()["servers"]]
    assert 'it is a server of project "other"' in said[0]
    assert "it answers with status 501" in said[1]
    assert "it does not answer within 2 seconds" in said[2]


def test_what_stands_behind_a_question_mark_is_sent_and_not_shown() -> None:
    read = Servers(("http://127.0.0.1:9/metrics?key=secret",), project="default")
    read.look()
    found = read.values()
    assert found["servers"][0]["fault"].startswith("http://127.0.0.1:9/metrics cannot be read")
    assert "secret" not in str(found)


def test_each_address_of_a_name_is_a_server(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, str]] = []

    def fetched(url: str, address: str) -> str:
        asked.append((url, address))
        raise ConnectionRefusedError(111, "Connection refused")

    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (one, 9464)) for one in ("10.0.0.7", "10.0.0.8", "10.0.0.7")]
    found += [(socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("fd00::7", 9464, 0, 0))]
    monkeypatch.setattr(servers.socket, "getaddrinfo", lambda *_, **__: found)
    monkeypatch.setattr(servers, "_fetched", fetched)
    read = Servers(("http://servers:9464/metrics",), project="default")
    read.look()
    assert sorted(asked) == [("http://servers:9464/metrics", one) for one in ("10.0.0.7", "10.0.0.8")]
    assert [one["server"] for one in read.values()["servers"]] == [
        "http://servers:9464/metrics (10.0.0.7)",
        "http://servers:9464/metrics (10.0.0.8)",
    ]


def test_the_overview_shows_the_traffic_of_the_stores_own_server(
    counting: Callable[..., Counting],
    browse: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    wait_for: Callable[..., None],
) -> None:
    monkeypatch.setattr(servers, "EVERY_SECONDS", 0.1)
    monkeypatch.setattr(servers, "SOON_SECONDS", 0.1)
    server = counting()
    server.answer(10, 0.0015)
    browser = browse(f"[serving]\nmetrics_port = {server.port}\n")
    wait_for(lambda: server.asked >= 1)
    server.answer(10, 0.0015)
    before = server.asked
    wait_for(lambda: server.asked >= before + 3)
    (service,) = browser.client.get("/overview.json").json()["traffic"]["services"]
    assert service["requests_per_second"] > 0
    assert 0.001 < service["p99"] <= 0.002
    page = browser.get("/overview")
    assert "flight_<wbr>delay@1" in page
    assert " ms</td>" in page
    assert "1 server, over the last" in page


def test_where_no_server_shows_metrics_the_overview_says_which_setting_does(browse: Callable[..., Any]) -> None:
    browser = browse()
    page = browser.get("/overview")
    assert "<code>metrics_port</code> under <code>[serving]</code>" in page
    assert "<code>server_metrics</code> under <code>[dashboard]</code>" in page
    assert browser.client.get("/overview.json").json()["traffic"]["configured"] is False


def test_no_visitor_chooses_what_is_read(counting: Callable[..., Counting], browse: Callable[..., Any]) -> None:
    server = counting()
    browser = browse()
    for query in (f"server_metrics={server.address}", f"servers={server.address}", f"url={server.address}"):
        found = browser.client.get(f"/overview.json?{query}").json()["traffic"]
        assert (found["configured"], found["servers"]) == (False, [])


def test_where_metrics_are_is_a_setting(tmp_path: Path) -> None:
    file = tmp_path / "featurestore.toml"

    def addresses(text: str) -> tuple[str, ...]:
        file.write_text(text)
        return metrics_addresses(load(tmp_path))

    assert addresses("") == ()
    assert addresses("[serving]\nmetrics_port = 9464\n") == ("http://127.0.0.1:9464/metrics",)
    anywhere = '[serving]\nmetrics_port = 9464\nmetrics_host = "{}"\n'
    assert addresses(anywhere.format("0.0.0.0")) == ("http://127.0.0.1:9464/metrics",)
    assert addresses(anywhere.format("::")) == ("http://[::1]:9464/metrics",)
    listed = '[dashboard]\nserver_metrics = ["10.0.0.7:9464", "https://features.example.com/metrics"]\n'
    assert addresses(anywhere.format("::") + listed) == (
        "http://10.0.0.7:9464/metrics",
        "https://features.example.com/metrics",
    )


@pytest.mark.parametrize(
    "text", ["file:///etc/passwd", "10.0.0.7", "http://", "http://ada:pass@host:1/metrics", "host:port", "http://h:x/"]
)
def test_what_is_no_address_of_metrics_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "featurestore.toml").write_text(f'[dashboard]\nserver_metrics = ["{text}"]\n')
    with pytest.raises(ConfigError, match="no address of metrics"):
        load(tmp_path)
