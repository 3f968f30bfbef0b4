"""Texts of others as one line."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.alerts.lines import keeping_the_end, plain, shortened

_ANY = st.text(st.characters(exclude_categories=()), max_size=60)


@given(_ANY)
def test_a_line_is_printable_whatever_the_text_holds(text: str) -> None:
    assert plain(text).isprintable()


@given(_ANY, st.integers(0, 70))
def test_a_line_is_no_longer_than_its_limit(text: str, limit: int) -> None:
    for cut in (shortened(text, limit), keeping_the_end(text, limit)):
        assert len(cut) <= limit
        assert cut.isprintable()
    if len(plain(text)) <= limit:
        assert shortened(text, limit) == keeping_the_end(text, limit) == plain(text)


@pytest.mark.parametrize(
    ("text", "limit", "cut"),
    [
        ("temp drifted, and more", 14, "temp drifted…"),
        ("temperature", 5, "temp…"),
        ("ab temperatureoftheair", 12, "ab temperat…"),
        ("temp", 0, ""),
    ],
)
def test_a_cut_is_after_a_word_where_that_loses_little(text: str, limit: int, cut: str) -> None:
    assert shortened(text, limit) == cut


def test_what_to_do_is_not_what_a_cut_takes() -> None:
    line = f"PAGE 12: {'feature, ' * 40}since May; check the source"
    cut = keeping_the_end(line, 60)
    assert cut.startswith("PAGE 12: feature")
    assert cut.endswith("…; check the source")
    assert len(cut) <= 60
