"""The dashboard in a real browser: every page, live within two seconds, by keyboard alone, and nothing hostile runs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NoReturn

import pytest

from featurestore.store import FeatureStore
from monitor.alerts.answering import acknowledge, silence
from monitor.dashboard.server import DashboardServer

AXE = Path(__file__).parent.parent.parent.parent / "build" / "node" / "node_modules" / "axe-core" / "axe.min.js"
HOSTILE = "<script>window.hit = 1</script>\"'><img src=x onerror='window.hit = 1'> \u202eright to left"
LONG = "x" * 300
PAGES = [
    "/overview",
    "/incidents?all=1",
    "/incidents/1",
    "/signals",
    "/features",
    "/features/weather/temp",
    "/services",
    "/services/flight_delay",
    "/models?a=ridge@1&b=ridge@2",
    "/models/ridge@2",
    "/datasets",
    "/datasets/delays@1",
    "/views",
    "/views/weather",
    "/audit?verify=1",
    "/health?look=1",
    "/search?q=temp",
]
_TOKENS = 'authentication = "token"\nport = 0\n'


@pytest.fixture(scope="module")
def chromium(lacking: Callable[[str], NoReturn], program: Callable[[str, str], str]) -> Iterator[Any]:
    """Debian's Chromium."""
    path = program("chromium", "chromium")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        lacking("needs the package playwright")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@contextmanager
def served(root: Path, settings: str = "", *, port: int | None = None) -> Iterator[DashboardServer]:
    """Serve the dashboard of a folder."""
    if settings:
        file = root / "featurestore.toml"
        file.write_text(file.read_text() + settings)
    with FeatureStore(root) as store:
        server = DashboardServer(store, port=port)
        try:
            yield server
        finally:
            server.close()


@contextmanager
def opened(chromium: Any, *, may_say: str = "", **settings: Any) -> Iterator[Any]:
    """Open a page, and fail if anything is written to its console, such as that its policy was broken."""
    context = chromium.new_context(**settings)
    context.set_default_timeout(15_000)
    page = context.new_page()
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: said.append(str(error)))
    yield page
    context.close()
    assert [one for one in said if not may_say or may_say not in one] == []


@pytest.fixture
def hostile(drifted: Any) -> Any:
    """The scene, in which whatever people may write is hostile."""
    registry = drifted.registry
    weather = registry.feature_view("weather").definition
    schema = [replace(one, description=f"{HOSTILE} {one.name}") for one in weather.schema]
    registry.apply([replace(weather, schema=schema, description=LONG, owner=HOSTILE)], who=HOSTILE)
    drifted.train("delays", model="ridge")
    now = datetime.now(UTC)
    with FeatureStore(drifted.config.root) as store, drifted.history() as history:
        acknowledge(store, history, 1, who=HOSTILE, reason=HOSTILE, now=now)
        until = now + timedelta(hours=2)
        silence(store, history, ["incident=1"], until=until, who=LONG, reason=HOSTILE, now=now)
    return drifted


def test_every_page_can_be_read_by_everybody(hostile: Any, chromium: Any, lacking: Callable[[str], NoReturn]) -> None:
    if not AXE.exists():
        lacking("needs axe-core: make node")
    axe = AXE.read_text(encoding="utf-8")
    with served(hostile.config.root, 'local_role = "approver"\nport = 0\n') as server:
        # Which scheme it is changes colours and nothing else.
        for scheme, width, rules in (("light", 1280, ""), ("dark", 390, ", runOnly: ['color-contrast']")):
            with opened(chromium, color_scheme=scheme, viewport={"width": width, "height": 844}) as page:
                for path in PAGES:
                    page.goto(server.url.rstrip("/") + path, wait_until="load")
                    page.evaluate(axe)
                    found = page.evaluate(f"axe.run(document, {{resultTypes: ['violations']{rules}}})")
                    assert [(one["id"], one["nodes"][0]["html"]) for one in found["violations"]] == [], (path, scheme)
                    assert page.evaluate("document.documentElement.scrollWidth") <= width, (path, scheme)
                    assert page.evaluate("window.hit") is None, path
                    assert "\u202e" not in page.content(), path
        with opened(chromium) as page:
            page.goto(server.url + "incidents/1")
            assert HOSTILE.replace("\u202e", "<U+202E>") in page.inner_text("main")


def test_news_is_there_within_two_seconds_and_a_restart_is_survived(drifted: Any, chromium: Any) -> None:
    root, registry = drifted.config.root, drifted.registry
    tokens = {
        role: registry.create_token(role, [scope], who="test").text
        for role, scope in (("vera", "view"), ("otto", "operate"))
    }
    # A server that is gone is an error for a browser.
    gone = "Failed to load resource"
    with opened(chromium, may_say=gone) as watching, opened(chromium, may_say=gone) as acting:
        with served(root, _TOKENS) as server:
            port = int(server.url.rstrip("/").rpartition(":")[2])
            for page, token in ((watching, tokens["vera"]), (acting, tokens["otto"])):
                page.goto(server.url + "incidents/1")
                page.fill("#token", token)
                page.keyboard.press("Enter")
                page.wait_for_selector("text=Timeline")
            assert watching.query_selector("#ack-reason") is None
            # By keyboard alone: the first stop skips the menu, the next ones are the form's.
            acting.keyboard.press("Tab")
            assert acting.evaluate("document.activeElement.className") == "skip"
            acting.keyboard.press("Enter")
            while acting.evaluate("document.activeElement.id") != "ack-reason":
                acting.keyboard.press("Tab")
            acting.keyboard.type("I look at it")
            began = time.monotonic()
            acting.keyboard.press("Enter")
            watching.wait_for_selector("text=works on it since")
            assert time.monotonic() - began < 2
            acting.wait_for_selector("text=Incident 1 is yours")
        watching.wait_for_selector("text=Not connected: this may be old")
        with served(root, port=port) as server:
            # Its sessions ended with it: whoever comes back is asked who they are.
            watching.wait_for_selector("#token")
            assert server.url.endswith(f":{port}/")


def test_it_works_without_a_script(drifted: Any, chromium: Any) -> None:
    with (
        served(drifted.config.root, 'local_role = "operator"\nport = 0\n') as server,
        opened(chromium, java_script_enabled=False) as page,
    ):
        page.goto(server.url)
        page.click("text=Incident 1")
        page.click("text=Silence")
        page.fill("#silence-reason", "a move")
        page.click("button:has-text('Silence')")
        assert "Silenced until" in page.inner_text("main")
