"""A store in which temp has drifted and incident 1 goes on, and a browser of its dashboard without a browser."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn

import pytest
from starlette.testclient import TestClient

from featurestore.store import FeatureStore
from monitor.dashboard.application import Dashboard
from monitor.pipeline import run_once

_TOML = """
project = "default"
[monitor]
poll_seconds = 0.2
[channels.ops]
kind = "console"
[dashboard]
"""
AXE = Path(__file__).parent.parent.parent.parent / "build" / "node" / "node_modules" / "axe-core" / "axe.min.js"
#: What was made once in this process, for the tests that begin with it.
_MADE: dict[str, Path] = {}


@dataclass
class Browser:
    """Calls the dashboard as a browser does: with its cookies, and the key of the form that it was shown.

    Attributes:
        client: makes the calls.
    """

    client: TestClient
    form_key: str = field(default="", init=False)

    def get(self, path: str, status: int = 200, **more: Any) -> str:
        """Return the page of an address."""
        answer = self.client.get(path, **more)
        assert answer.status_code == status, answer.text
        found = re.search(r'name="form_key" value="(\w+)"', answer.text)
        self.form_key = found[1] if found else self.form_key
        return answer.text

    def post(self, path: str, status: int = 200, **fields: str) -> str:
        """Send a form, and return the page that is shown then."""
        answer = self.client.post(path, data={"form_key": self.form_key} | fields)
        assert answer.status_code == status, answer.text
        return answer.text

    def log_in(self, token: str) -> None:
        """Show a token at the door."""
        self.get("/login")
        self.post("/login", token=token)


@pytest.fixture
def drifted(make_scene: Callable[..., Any], tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A scene in which temp has drifted, and incident 1 was told to channel ops."""
    made = _MADE.get("drifted")
    if made is not None:
        shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    scene = make_scene(routes=("ops",))
    (tmp_path / "featurestore.toml").write_text(_TOML)
    if made is None:
        scene.apply(retrain=False)
        scene.train(model="ridge")
        scene.serve_days(0, 3)
        scene.serve_days(3, 10, shift=1.0)
        with scene.history() as history:
            run_once(scene, history, scene.policy, now=datetime.now(UTC))
        _MADE["drifted"] = tmp_path_factory.mktemp("drifted")
        shutil.copytree(tmp_path, _MADE["drifted"], dirs_exist_ok=True)
    return scene


@pytest.fixture
def browse(tmp_path: Path) -> Iterator[Callable[..., Browser]]:
    """Open the dashboard of the test's folder, with more lines in the settings."""
    opened: list[Callable[[], None]] = []

    def open_(settings: str = "", *, replay: str = "", **client: Any) -> Browser:
        file = tmp_path / "featurestore.toml"
        file.write_text((file.read_text() if file.exists() else _TOML) + settings)
        store = FeatureStore(tmp_path, replay=replay)
        dashboard = Dashboard(store)
        opened.extend((dashboard.close, store.close))
        return Browser(TestClient(dashboard.application, base_url="http://localhost", **client))

    yield open_
    for close in opened:
        close()


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


@pytest.fixture(scope="module")
def axe(lacking: Callable[[str], NoReturn]) -> str:
    """The program that looks for what somebody could not read, or reach."""
    if not AXE.exists():
        lacking("needs axe-core: make node")
    return AXE.read_text(encoding="utf-8")
