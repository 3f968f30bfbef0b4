"""The tutorial and the how-to pages, walked through as a reader does; the pages go on where the tutorial ends."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.documents import ROOT, Walk, account, compare

TUTORIAL = ROOT / "docs" / "tutorial.md"
PAGES = sorted((ROOT / "docs" / "how-to").glob("*.md"))


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The shop of the tutorial, when its reader has come to the end."""
    folder = tmp_path_factory.mktemp("tutorial")
    with Walk(folder) as walk:
        walk.take(TUTORIAL)
    yield folder / "shop"
    shutil.rmtree(folder)


def test_what_a_command_prints_is_held_against_the_page() -> None:
    compare("made 2026-01-01 10:00\nb\nc   12\n", "made 2025-12-31 09:00\n...\nc 12\n")
    compare("a b c\n", "a ...\n...\n")
    for said, shown in (("a\nb\n", "a\n"), ("a\n", "a\nb\n"), ("a\nc\n", "...\nb\n"), ("a 1\n", "a 2\n")):
        with pytest.raises(AssertionError, match="but it prints"):
            compare(said, shown)


def test_the_tutorial_does_what_it_says(shop: Path) -> None:
    assert (shop / "data" / "replays" / "winter").is_dir()


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.stem)
def test_a_page_does_what_it_says_in_the_shop_of_the_tutorial(
    page: Path, shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPS_WEBHOOK_SECRET", "whsec_c2VjcmV0")
    monkeypatch.setenv("REDIS_PASSWORD", "secret")
    folder = shutil.copytree(shop, tmp_path / "shop")
    with Walk(folder) as walk:
        walk.take(page)


def test_every_block_of_code_was_run_or_says_why_not(request: pytest.FixtureRequest, record_property: Any) -> None:
    taken = {item.callspec.params.get("page") for item in request.session.items if hasattr(item, "callspec")} & set(
        PAGES
    )
    if len(taken) < len(PAGES):
        pytest.skip("not all pages were asked for")
    found = account([TUTORIAL, *PAGES])
    assert found.forgotten == []
    record_property("documents", str(found))
