"""The pages that explain: their code does what they say, and the table of what a change costs is true.

docs/explanation/versions.md needs a shop with two rows; tests/test_docs.py runs it.
"""

from __future__ import annotations

import dataclasses
import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from featurestore import Entity, FeatureView, Field, FileSource, LoadGate
from featurestore.definitions import content_hash, heritage, storage_hash
from featurestore.registry.differences import breaking
from featurestore.types import Float64, Int64, String
from tests.documents import ROOT, Walk, account

VERSIONS = ROOT / "docs" / "explanation" / "versions.md"
PAGES = sorted(set((ROOT / "docs" / "explanation").glob("*.md")) - {VERSIONS})


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.stem)
def test_a_page_that_explains_does_what_it_says(page: Path, tmp_path: Path) -> None:
    with Walk(tmp_path) as walk:
        walk.take(page)


def _spending(**changes: Any) -> FeatureView:
    before = FeatureView(
        name="spending",
        entities=[Entity(name="user", join_keys=["user_id"], dtypes=[Int64])],
        ttl=timedelta(days=90),
        source=FileSource(name="orders", path="orders.csv", timestamp_field="day"),
        schema=[Field(name="total", dtype=Float64), Field(name="orders", dtype=Int64)],
    )
    return dataclasses.replace(before, **changes)


TOTAL, ORDERS = _spending().schema
SHOPS = [Entity(name="user", join_keys=["user_id", "shop_id"], dtypes=[Int64, Int64])]
#: Changes by what the table of the page says that is changed.
CHANGES = {
    "a description": [
        _spending(description="What they spent."),
        _spending(owner="sales"),
        _spending(tags={"team": "sales"}),
        _spending(gate=LoadGate(on_anomaly="reject")),
    ],
    "a default": [
        _spending(schema=[TOTAL, dataclasses.replace(ORDERS, default=0)]),
        _spending(delay=timedelta(minutes=20)),
        _spending(ttl=timedelta(days=30)),
    ],
    "a longer TTL": [_spending(ttl=timedelta(days=180)), _spending(ttl=None)],
    "a field more": [_spending(schema=[TOTAL, ORDERS, Field(name="plan", dtype=String)])],
    "a check": [_spending(schema=[dataclasses.replace(TOTAL, ge=0), ORDERS]), _spending(on_bad_rows="reject")],
    "the source": [
        _spending(source=FileSource(name="orders", path="orders_2.csv", timestamp_field="day")),
        _spending(source=FileSource(name="orders", path="orders.csv", timestamp_field="ordered_at")),
    ],
    "a field taken away": [
        _spending(schema=[TOTAL]),
        _spending(schema=[TOTAL, dataclasses.replace(ORDERS, name="purchases")]),
        _spending(schema=[TOTAL, dataclasses.replace(ORDERS, dtype=Float64)]),
    ],
    "a join key": [_spending(entities=SHOPS)],
}


@pytest.mark.parametrize(("changed", "after"), [(name, one) for name, many in CHANGES.items() for one in many])
def test_a_change_costs_what_the_table_says(changed: str, after: FeatureView) -> None:
    text = VERSIONS.read_text(encoding="utf-8")
    (row,) = re.findall(rf"^\| {changed}.*$", text, re.MULTILINE)
    _, version, offline, online = (cell.strip() for cell in row.strip("|").split(" | "))
    before = _spending()
    assert (content_hash(before) == content_hash(after)) == version.startswith("the same")
    assert bool(breaking(before, after)) == ("breaking" in version)
    shared = storage_hash(before) == storage_hash(after)
    assert shared == offline.startswith(("stay", "shared")) == online.startswith(("stay", "shared"))
    assert bool(heritage(before, after).obstacle) == ("empty" in offline) == online.startswith("none until")


def test_a_field_more_that_may_be_neither_null_nor_a_default_begins_a_history() -> None:
    after = _spending(schema=[TOTAL, ORDERS, Field(name="plan", dtype=String, not_null=True)])
    assert heritage(_spending(), after).obstacle
    defaulted = _spending(schema=[TOTAL, ORDERS, Field(name="plan", dtype=String, not_null=True, default="basic")])
    assert not heritage(_spending(), defaulted).obstacle


def test_every_line_of_the_table_was_tried() -> None:
    section = VERSIONS.read_text(encoding="utf-8").partition("## What a change costs")[2].partition("\n## ")[0]
    rows = [line.removeprefix("| ") for line in section.splitlines() if line.startswith("| ")][2:]
    untried = [row.partition(" |")[0] for row in rows if not row.startswith(tuple(CHANGES))]
    assert untried == ["where a source lies, by `[sources.NAME]`"]  # no definition: tests of moved sources have it


def test_every_block_of_code_was_run_or_says_why_not(request: pytest.FixtureRequest, record_property: Any) -> None:
    taken = {item.callspec.params.get("page") for item in request.session.items if hasattr(item, "callspec")} & set(
        PAGES
    )
    if len(taken) < len(PAGES):
        pytest.skip("not all pages were asked for")
    found = account(PAGES)
    assert found.forgotten == []
    record_property("documents", str(found))
