"""A dashboard on a port, and pages of a real browser that show it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from featurestore.store import FeatureStore
from monitor.dashboard.server import DashboardServer

#: Which scheme it is changes colours and nothing else.
LOOKS = (("light", 1280, ""), ("dark", 390, "color-contrast"))


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


def check(page: Any, axe: str, where: str, *, only: str = "") -> None:
    """Fail if a page has something that somebody cannot read or reach, is too wide, or has run something hostile."""
    page.evaluate(axe)
    rules = f", runOnly: ['{only}']" if only else ""
    found = page.evaluate(f"axe.run(document, {{resultTypes: ['violations']{rules}}})")
    assert [(one["id"], one["nodes"][0]["html"]) for one in found["violations"]] == [], where
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), where
    assert page.evaluate("window.hit") is None, where
    assert "\u202e" not in page.content(), where
