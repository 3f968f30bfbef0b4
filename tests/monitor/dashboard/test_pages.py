"""What pages show, by what a browser gets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

EVERY = [
    "/overview",
    "/incidents",
    "/incidents?all=1",
    "/incidents/1",
    "/signals",
    "/features",
    "/features?q=temp",
    "/features/weather/temp",
    "/features/weather/pilot?days=7",
    "/features/warmth/felt",
    "/services",
    "/services/flight_delay",
    "/models",
    "/models/ridge@1",
    "/datasets",
    "/datasets/delays@1",
    "/views",
    "/views/weather",
    "/views/warmth",
    "/audit",
    "/audit?action=apply&verify=1",
    "/health",
    "/health?look=1",
    "/search",
    "/search?q=temp",
]


def test_every_page(drifted: Any, browse: Callable[..., Any]) -> None:
    browser = browse()
    for path in EVERY:
        page = browser.get(path)
        assert "Ada Private" not in page, path
        json = browser.client.get(path.partition("?")[0] + ".json" + ("?" + path.partition("?")[2]))
        assert json.status_code == 200 and json.json()["title"]
