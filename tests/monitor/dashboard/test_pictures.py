"""The pictures in the documents show the pages as they are; see ``picturing`` for how, and for how they are renewed."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from featurestore.store import FeatureStore
from monitor.dashboard.server import DashboardServer
from tests.monitor.dashboard.browsing import LOOKS, check, opened
from tests.monitor.dashboard.flights import make_flights, stopped_clock
from tests.monitor.dashboard.picturing import (
    FOLDER,
    LARGEST,
    RENEW,
    ROOT,
    TOLERANCE,
    Picture,
    apart,
    drawn,
    png,
    said,
    text_of,
)

PICTURES = (
    Picture(name="overview", path="/overview"),
    Picture(name="incident", path="/incidents/1"),
    Picture(name="feature", path="/features/weather/temp", height=1180),
    Picture(name="feature-dark", path="/features/weather/temp?slice=sky%3Drain", scheme="dark"),
    Picture(name="phone", path="/incidents/1", width=390, height=844),
)


@pytest.fixture(scope="module")
def flights(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the dashboard of flights."""
    root: Path = tmp_path_factory.mktemp("flights") / "flights"
    with stopped_clock():
        make_flights(root)
        with FeatureStore(root) as store:
            server = DashboardServer(store)
            try:
                yield server.url.rstrip("/")
            finally:
                server.close()


def _taken(chromium: Any, flights: str, one: Picture, *, style: str = "") -> tuple[str, bytes]:
    """Return what a page says, and a picture of it."""
    context = chromium.new_context(
        viewport={"width": one.width, "height": one.height}, color_scheme=one.scheme, bypass_csp=bool(style)
    )
    try:
        page = context.new_page()
        page.goto(flights + one.path, wait_until="load")
        if style:
            page.add_style_tag(content=style)
        page.wait_for_function("() => [...document.images].every((one) => one.complete)")
        return said(page), page.screenshot()
    finally:
        context.close()


def _pixels(chromium: Any, picture: bytes) -> Any:
    context = chromium.new_context()
    try:
        return drawn(context.new_page(), picture)
    finally:
        context.close()


def _apart(chromium: Any, one: bytes, other: bytes) -> float:
    context = chromium.new_context()
    try:
        return apart(context.new_page(), one, other)
    finally:
        context.close()


@pytest.mark.parametrize("one", PICTURES, ids=lambda one: one.name)
def test_a_documented_picture_shows_the_page_as_it_is(one: Picture, chromium: Any, flights: str) -> None:
    text, seen = _taken(chromium, flights, one)
    fault = _fault(chromium, one, text, seen)
    if fault and os.environ.get("RENEW_PICTURES"):
        FOLDER.mkdir(exist_ok=True)
        one.file.write_bytes(png(_pixels(chromium, seen), text))
        fault = _fault(chromium, one, text, seen)
    assert not fault, f"{one.file.relative_to(ROOT)} {fault}"


def _fault(chromium: Any, one: Picture, text: str, seen: bytes) -> str:
    """Return what is wrong with a documented picture; "" where nothing is."""
    if not one.file.exists():
        return f"is not there; make it: {RENEW}"
    kept = one.file.read_bytes()
    changed = "\n".join(difflib.unified_diff(text_of(kept).splitlines(), text.splitlines(), "picture", "page", n=0))
    if changed:
        return f"shows no more what the page says; renew it: {RENEW}\n{changed}"
    distance = _apart(chromium, kept, seen)
    if distance > TOLERANCE:
        return f"looks otherwise than the page ({distance:.1f} of 255); renew it: {RENEW}"
    return f"has {len(kept):,} bytes; {LARGEST:,} are enough" if len(kept) > LARGEST else ""


def test_what_is_pictured_can_be_read_by_everybody(chromium: Any, flights: str, axe: str) -> None:
    for scheme, width, only in LOOKS:
        with opened(chromium, color_scheme=scheme, viewport={"width": width, "height": 844}) as page:
            for path in dict.fromkeys(one.path for one in PICTURES):
                page.goto(flights + path, wait_until="load")
                check(page, axe, f"{path} {scheme}", only=only)


def test_another_font_makes_no_other_page_and_another_style_does(chromium: Any, flights: str) -> None:
    light = PICTURES[0]
    text, seen = _taken(chromium, flights, light)
    for family in ("serif", "monospace"):
        other, shown = _taken(chromium, flights, light, style=f"body {{ font-family: {family} }}")
        assert other == text
        assert _apart(chromium, seen, shown) < TOLERANCE / 2
    _, dark = _taken(chromium, flights, Picture(name="", path=light.path, scheme="dark"))
    _, bare = _taken(chromium, flights, light, style="body, .top, .card { background: #ccd !important }")
    assert min(_apart(chromium, seen, other) for other in (dark, bare)) > 5 * TOLERANCE
    hidden, _ = _taken(chromium, flights, light, style=".cards { display: none }")
    assert hidden != text


def test_each_picture_stands_in_a_document_with_words_for_those_who_do_not_see_it() -> None:
    shown: dict[str, str] = {}
    for file in (ROOT / "README.md", *(ROOT / "docs").rglob("*.md")):
        for alt, target in re.findall(r"!\[([^\]]*)\]\(([^)]+\.png)\)", file.read_text(encoding="utf-8")):
            assert (file.parent / target).resolve().is_file(), (file.name, target)
            shown[Path(target).stem] = alt
    assert {one.name for one in PICTURES} <= set(shown)
    assert {one.stem for one in FOLDER.glob("*.png")} <= {one.name for one in PICTURES}
    assert all(len(shown[one.name]) > 20 for one in PICTURES)


def test_a_picture_carries_what_its_page_said(chromium: Any) -> None:
    assert text_of(PICTURES[0].file.read_bytes()).startswith("Skip to the content")
    pixels = np.zeros((20, 30, 3), np.uint8)
    pixels[5:, 10:] = (255, 200, 100)
    made = png(pixels, "a\u00e4\nb")
    assert text_of(made) == "a\u00e4\nb"
    assert np.abs(_pixels(chromium, made).astype(int) - pixels).max() <= 3
