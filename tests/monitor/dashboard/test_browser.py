"""The dashboard in a real browser: every page, live within two seconds, by keyboard alone, and nothing hostile runs."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from featurestore.definitions import RetrainingPolicy
from featurestore.store import FeatureStore
from monitor.alerts.answering import acknowledge, silence
from monitor.retraining.asking import ask
from tests.monitor.dashboard.browsing import LOOKS, check, opened, served

HOSTILE = "<script>window.hit = 1</script>\"'><img src=x onerror='window.hit = 1'> \u202eright to left"
LONG = "x" * 300
PAGES = [
    "/overview",
    "/incidents?all=1",
    "/incidents/1",
    "/signals",
    "/features",
    "/features/weather/temp",
    "/features/weather/pilot?days=7",
    "/features/warmth/felt",
    "/services",
    "/services/flight_delay",
    "/models?a=ridge@1&b=ridge@2",
    "/models/ridge@2",
    "/datasets",
    "/datasets/delays@1",
    "/views",
    "/views/weather",
    "/views/warmth",
    "/audit?verify=1",
    "/health?look=1",
    "/search?q=temp",
]
_TOKENS = 'authentication = "token"\nport = 0\n'


#: What a browser says of an answer that is an error.
_ERROR = "Failed to load resource"


@pytest.fixture
def hostile(drifted: Any) -> Any:
    """The scene, in which whatever people may write is hostile; somebody asks for a new model."""
    registry = drifted.registry
    weather = registry.feature_view("weather").definition
    schema = [replace(one, description=f"{HOSTILE} {one.name}") for one in weather.schema]
    registry.apply([replace(weather, schema=schema, description=LONG, owner=HOSTILE)], who=HOSTILE)
    drifted.train("delays", model="ridge")
    drifted.apply(retrain=RetrainingPolicy(approval=True))
    now = datetime.now(UTC)
    with FeatureStore(drifted.config.root) as store, drifted.history() as history:
        acknowledge(store, history, 1, who=HOSTILE, reason=HOSTILE, now=now)
        until = now + timedelta(hours=2)
        silence(store, history, ["incident=1"], until=until, who=LONG, reason=HOSTILE, now=now)
        ask(store, history, "flight_delay", reason=HOSTILE, who=HOSTILE, now=now)
    return drifted


def test_every_page_can_be_read_by_everybody(hostile: Any, chromium: Any, axe: str) -> None:
    with served(hostile.config.root, 'local_role = "approver"\nport = 0\n') as server:
        for scheme, width, only in LOOKS:
            with opened(chromium, color_scheme=scheme, viewport={"width": width, "height": 844}) as page:
                page.goto(server.url + "signals")
                signal = page.get_attribute("main table a", "href")
                for path in (*PAGES, signal):
                    page.goto(server.url.rstrip("/") + path, wait_until="load")
                    check(page, axe, f"{path} {scheme}", only=only)
                assert "/signals/" in signal
                assert page.query_selector("text=Approve: train a new model")
        with opened(chromium) as page:
            page.goto(server.url + "incidents/1")
            assert HOSTILE.replace("\u202e", "<U+202E>") in page.inner_text("main")


def test_what_refuses_can_be_read_by_everybody(hostile: Any, chromium: Any, axe: str) -> None:
    root, registry = hostile.config.root, hostile.registry
    token = registry.create_token("vera", ["view"], who="test").text
    for scheme, width, only in LOOKS:
        with (
            served(root, _TOKENS if scheme == "light" else "") as server,
            opened(chromium, may_say=_ERROR, color_scheme=scheme, viewport={"width": width, "height": 844}) as page,
        ):
            page.goto(server.url + "incidents/1")
            assert "/login" in page.url
            check(page, axe, f"login {scheme}", only=only)
            page.fill("#token", HOSTILE)
            page.keyboard.press("Enter")
            page.wait_for_selector("text=That is no token for the dashboard that is valid")
            check(page, axe, f"refused login {scheme}", only=only)
            page.fill("#token", token)
            page.keyboard.press("Enter")
            page.wait_for_selector("text=A viewer only looks")
            # A viewer has no form; one that was made all the same is refused, and says so.
            page.evaluate(
                "const form = document.createElement('form'); form.method = 'post';"
                "form.action = '/incidents/1/acknowledge';"
                "form.append(document.querySelector('[name=form_key]').cloneNode());"
                "document.body.append(form); form.submit()"
            )
            page.wait_for_selector("text=vera is a viewer")
            check(page, axe, f"refused action {scheme}", only=only)
            for path in ("/incidents/7", "/features/weather/nothing", f"/{LONG}"):
                page.goto(server.url.rstrip("/") + path)
                assert page.query_selector("text=To the overview")
                check(page, axe, f"{path} {scheme}", only=only)


def test_an_empty_project_can_be_read_by_everybody(
    browse: Callable[..., Any], tmp_path: Path, chromium: Any, axe: str
) -> None:
    browse()
    with served(tmp_path, "port = 0\n") as server, opened(chromium, may_say=_ERROR) as page:
        for path, told in (("overview", "featurestore apply"), ("incidents", "featurestore monitor start")):
            page.goto(server.url + path)
            assert told in page.inner_text("main")
            check(page, axe, path)


def test_news_is_there_within_two_seconds_and_a_restart_is_survived(drifted: Any, chromium: Any) -> None:
    root, registry = drifted.config.root, drifted.registry
    tokens = {
        role: registry.create_token(role, [scope], who="test").text
        for role, scope in (("vera", "view"), ("otto", "operate"))
    }
    with opened(chromium, may_say=_ERROR) as watching, opened(chromium, may_say=_ERROR) as acting:
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
