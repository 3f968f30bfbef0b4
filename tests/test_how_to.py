"""The tutorial and the how-to pages, walked through as a reader does; the pages go on where the tutorial ends."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.documents import ROOT, Walk

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
