"""Texts as they are written out: escaped, and with no say over what stands around them."""

from __future__ import annotations

import pytest

from monitor.dashboard.rendering import counted, duration, instant, latency, number, plain, rate, short, span, words


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
    assert [latency(one) for one in (None, 0.00042, 0.00125, 0.2, 2.5)] == [
        "-",
        "420 µs",
        "1.25 ms",
        "200 ms",
        "2.5 s",
    ]
    assert [rate(one) for one in (None, 0.0, 0.001, 0.25, 12.345, 2_780.4)] == [
        "-",
        "0",
        "< 0.01",
        "0.25",
        "12.3",
        "2,780",
    ]
    assert [span(one) for one in (1.2, 45.0, 89.0, 91.0, 300.0)] == [
        "1 second",
        "45 seconds",
        "89 seconds",
        "2 minutes",
        "5 minutes",
    ]
    assert instant(None) == "never"
    assert ">2026-01-02 03:04 UTC<" in str(instant("2026-01-02T03:04:05+00:00"))
