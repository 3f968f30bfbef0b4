"""Texts are shown as they are written, whatever they hold; and what notebooks show of a plan and of a dataset."""

from __future__ import annotations

from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from featurestore import Entity, FeatureService, FeatureStore, FeatureView, Field
from featurestore.markup import element, listed, table, text_of
from featurestore.types import Float64, Int64

HOSTILE = "<script>alert(1)</script> \"'&<!-- -->"


class Read(HTMLParser):
    """The tags of a text, and what stands between them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.said: list[str] = []
        self.attributes: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [value or "" for _, value in attrs]

    def handle_data(self, data: str) -> None:
        self.said.append(data)


@given(st.text(st.characters(exclude_categories=("Cs", "Cc"))))
def test_a_text_comes_back_as_it_was_and_adds_no_tag(text: str) -> None:
    read = Read(text_of(element("p", "before ", text, element("b", text), text, title=text)))
    assert read.tags == ["p", "b"]
    assert "".join(read.said) == f"before {text}{text}{text}"
    assert read.attributes == [text]


def test_a_table_has_titles_cells_and_a_caption() -> None:
    read = Read(text_of(table(("a", "b"), [("1", element("i", HOSTILE)), (None, "")], caption="C"), listed(["x"])))
    assert read.tags.count("td") == 4
    assert [one for one in read.said if one] == ["C", "a", "b", "1", HOSTILE, "x"]
    assert "script" not in read.tags


def test_a_notebook_shows_a_plan_and_a_training_dataset(tmp_path: Path) -> None:
    user = Entity(name="user", join_keys=["user_id"], dtypes=[Int64])
    spending = FeatureView(
        name="spending", entities=[user], schema=[Field(name="total", dtype=Float64)], description=HOSTILE
    )
    at = datetime(2026, 3, 1, tzinfo=UTC)
    with FeatureStore.init(tmp_path, project="shop") as store:
        wanted = [FeatureService(name="churn", features=[spending])]
        plan = store.plan(wanted)
        shown = Read(plan._repr_html_())
        assert "Plan: 3 to create." in shown.said
        assert "feature_view spending@1" in shown.said
        assert "script" not in shown.tags
        store.apply(wanted)
        assert "No changes: 3 definitions are as registered." in store.plan(wanted)._repr_html_()
        store.ingest("spending", [{"user_id": 1, "total": 7777.5, "event_timestamp": at}])
        asked = [{"user_id": 1, "event_timestamp": at, HOSTILE: True}]
        made = store.create_training_dataset("set", entity_df=asked, features="churn", label=HOSTILE)
        shown = Read(made._repr_html_())
    assert {"Training dataset set@1", "churn@1", "1", HOSTILE} <= set(shown.said)
    assert "script" not in shown.tags
    assert not any("7777.5" in one for one in shown.said)
