"""Texts as they are written out: escaped, and with no say over what stands around them."""

from __future__ import annotations

import pytest

from monitor.dashboard.rendering import counted, duration, instant, number, plain, short, words


def test_what_turns_a_text_is_spelled_out_and_right_to_left_letters_keep_to_themselves() -> None:
    assert plain("a\u202eb\u2069") == "a<U+202E>b<U+2069>"
    assert plain("\u05e9\u05dc\u05d5\u05dd") == "\u2068\u05e9\u05dc\u05d5\u05dd\u2069"
    assert plain("plain") == "plain"


@pytest.mark.parametrize("text", ["<b>", "\"'&", "x" * 100 + "<b>"])
def test_filters_escape_what_they_are_given(text: str) -> None:
    for shown in (words(text), short(text, 10)):
        assert "<b>" not in str(shown) or not hasattr(shown, "__html__")
    assert str(words("a_b<b>")) == "a_<wbr>b&lt;b&gt;"


def test_numbers_and_times_read_well() -> None:
    assert [duration(one) for one in (None, 10_800.0, 86_400.0, 90.0, 0.0)] == [
        "for ever",
        "3 hours",
        "1 day",
        "90 s",
        "0 s",
    ]
    assert [counted(1, "entry", "entries"), counted(2_000, "entry", "entries"), counted(0, "row")] == [
        "1 entry",
        "2,000 entries",
        "0 rows",
    ]
    assert [number(None), number(12_345), number(0.123456)] == ["unknown", "12,345", "0.1235"]
    assert instant(None) == "never"
    assert ">2026-01-02 03:04 UTC<" in str(instant("2026-01-02T03:04:05+00:00"))
