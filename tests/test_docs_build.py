"""The documentation is built without a warning, is whole by itself, and a link that leads nowhere fails it."""

from __future__ import annotations

import importlib.util
import inspect
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

from featurestore import FeatureStore
from featurestore import __all__ as public
from tests.conftest import Lacking

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
#: Attributes by which a page has a browser fetch something, without anybody clicking on anything.
FETCHED = {"link": "href", "script": "src", "img": "src", "iframe": "src", "source": "src", "object": "data"}
#: The same in a style.
_ASKED = re.compile(r"(?:url\(|@import )[\"']?((?:https?:)?//[^\"')]+)")


def _build(source: Path, target: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", *options, str(source), str(target)]
    return subprocess.run(command, capture_output=True, text=True, timeout=200, check=False, cwd=ROOT)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, lacking: Lacking) -> Path:
    if any(importlib.util.find_spec(name) is None for name in ("sphinx", "myst_parser", "furo")):
        lacking("needs Sphinx, MyST and Furo: pip install 'featurestore[docs]'")
    target = tmp_path_factory.mktemp("site")
    ran = _build(DOCS, target)
    assert ran.returncode == 0, ran.stderr
    return target


class _Fetches(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        wanted = FETCHED.get(tag)
        self.found += [value or "" for name, value in attrs if name == wanted]


def test_a_browser_fetches_nothing_from_elsewhere(site: Path) -> None:
    outside = set()
    for page in site.rglob("*.html"):
        parser = _Fetches()
        parser.feed(page.read_text(encoding="utf-8"))
        outside |= {one for one in parser.found if re.match(r"(?:[a-z]+:)?//", one)}
    for style in site.rglob("*.css"):
        outside |= set(_ASKED.findall(style.read_text(encoding="utf-8")))
    assert outside == set()


def test_every_page_is_reached_from_the_index(site: Path) -> None:
    index = (site / "index.html").read_text(encoding="utf-8")
    pages = {one.relative_to(DOCS).with_suffix(".html").as_posix() for one in DOCS.rglob("*.md")} - {"index.html"}
    assert [one for one in sorted(pages) if f'href="{one}"' not in index] == []


def test_the_reference_has_every_public_name_and_commands_errors_and_messages(site: Path) -> None:
    python, commands, errors, contract = (
        (site / "reference" / f"{name}.html").read_text(encoding="utf-8")
        for name in ("python", "commands", "errors", "contract")
    )
    assert [name for name in public if f'id="featurestore.{name}"' not in python] == ["FeatureStoreError"]
    assert 'id="featurestore.FeatureStore.materialize"' in python
    named = ("plan", "monitor-backtest", "monitor-outbox-replay")
    assert all(f'id="featurestore-{name}"' in commands for name in named)
    assert 'id="featurestore.errors.LoadRefusedError"' in errors
    assert 'id="rowstatus"' in contract


def test_the_reference_has_what_methods_of_the_store_return_statistics_and_the_monitor(site: Path) -> None:
    python, results, monitor = (
        (site / "reference" / f"{name}.html").read_text(encoding="utf-8") for name in ("python", "results", "monitor")
    )
    returned = set()
    for name, method in inspect.getmembers(FeatureStore, inspect.isfunction):
        if not name.startswith("_"):
            names = vars(inspect.getmodule(method))
            found = [names.get(one) for one in re.findall(r"\w+", str(inspect.signature(method).return_annotation))]
            returned |= {one for one in found if inspect.isclass(one) and one.__module__.startswith("featurestore.")}
    described = re.findall(r'id="([\w.]+)"', python + results)
    assert len(returned) > 25
    assert [one for one in returned if not any(each.endswith(f".{one.__name__}") for each in described)] == []
    for package in ("pipeline", "decisions", "backtest", "parity", "quality", "report"):
        module = importlib.import_module(f"monitor.{package}")
        assert [name for name in module.__all__ if f'id="monitor.{package}.{name}"' not in monitor] == []
    statistics = [one.stem for one in (ROOT / "featurestore" / "statistics").glob("[a-z]*.py")]
    assert [one for one in statistics if f'id="featurestore.statistics.{one}.' not in python] == []


def test_a_link_that_leads_nowhere_fails_the_build(site: Path, tmp_path: Path) -> None:
    assert site.is_dir()
    links = ["[no page](nothing.md)", "[no heading there](other.md#no-such-heading)", "[none here](#nowhere)"]
    (tmp_path / "index.md").write_text("\n\n".join(["# Index", "## Learn", "- [Other](other.md#heading)", *links]))
    (tmp_path / "other.md").write_text("# Other\n\n## Heading\n\n```{eval-rst}\n.. py:function:: f() -> Nowhere\n```\n")
    ran = _build(tmp_path, tmp_path / "site", "-c", str(DOCS), "-b", "dummy")
    assert ran.returncode != 0
    # The first of them is missed in the tree of pages as well.
    assert {"7", "9", "11"} <= set(re.findall(r"index\.md:(\d+): WARNING", ran.stderr))
    assert "reference target not found: Nowhere" in ran.stderr  # a class that a signature names, and no page has
