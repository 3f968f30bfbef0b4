"""What pages show, by what a browser gets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def test_the_overview_says_what_is_wrong_first(drifted: Any, browse: Callable[..., Any]) -> None:
    page = browse().get("/")
    assert "Incident 1" in page
    assert "1 nobody works on" in page
    assert "featurestore monitor status" in page


def test_an_incident_tells_all_that_is_known(drifted: Any, browse: Callable[..., Any]) -> None:
    page = browse().get("/incidents/1")
    assert "temp" in page
    assert "Ada Private" not in page
