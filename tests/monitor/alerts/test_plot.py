"""The picture of before and now."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from featurestore import plots
from featurestore.errors import ConfigError
from monitor.alerts import plot


def _payload(labels: list[Any], before: list[Any], now: list[Any], **more: Any) -> dict[str, Any]:
    histogram = {"labels": labels, "baseline": before, "current": now}
    return {"features": [{"feature": "temp", "histogram": histogram, **more}]}


def test_the_first_feature_that_has_shares_is_drawn() -> None:
    payload = _payload(["a", "b"], [0.5, 0.5], [0.1, 0.9], baselineRows="90000", currentRows="1000")
    payload["features"].insert(0, {"feature": "ssn"})  # tagged `pii`: it has none
    drawn = plot.png(payload)
    assert drawn is not None
    assert drawn.startswith(b"\x89PNG\r\n\x1a\n")
    assert len(drawn) < plot.LARGEST
    width, height = struct.unpack_from(">II", drawn, 16)
    assert 300 < width < 1_000
    assert 150 < height < 800
    assert plot.caption(payload) == "temp: share of rows, before (90,000 rows) and now (1,000 rows)"


def test_the_same_payload_is_the_same_picture() -> None:
    payload = _payload(["a", "b"], [0.5, 0.5], [0.1, 0.9])
    assert plot.png(payload) == plot.png(payload)


@pytest.mark.parametrize(
    "payload",
    [
        {},
        {"features": []},
        {"features": [{"feature": "temp"}]},
        {"features": [{"feature": "temp", "histogram": None}]},
        _payload([], [], []),
        _payload(["a"], [0.0], [0.0]),
        _payload(["a", "b"], [0.5, 0.5], [1.0]),
        _payload(["a"], ["NaN"], ["-Infinity"]),
    ],
)
def test_where_there_is_nothing_to_show_there_is_no_picture(payload: dict[str, Any]) -> None:
    assert plot.png(payload) is None
    assert plot.sparkline(payload) == ()
    assert plot.caption(payload) == ""


def test_a_picture_of_thousands_of_categories_is_as_small_and_lacks_none_of_the_rows() -> None:
    count = 10_000
    payload = _payload([f"c{number}" for number in range(count)], [1 / count] * count, [0.0] * (count - 1) + [1.0])
    found = plot.shares(payload)
    assert found is not None
    assert len(found.labels) <= plot.BARS
    assert sum(found.before) == pytest.approx(1)
    assert found.now[-1] == 1.0
    assert found.labels[0] == "c0 to c416"
    drawn = plot.png(payload)
    assert drawn is not None
    assert len(drawn) < plot.LARGEST


@pytest.mark.parametrize(
    "label", ["\x00\x1b[2J\x07", "\ud800", "\N{FIRE}" * 50, "</svg>&amp;", "", "datum.x[0]", "x" * 999]
)
def test_a_label_is_drawn_whatever_it_holds(label: str) -> None:
    # The library that draws ends the process over a control character, and refuses half a pair of surrogates.
    payload = _payload([label, label, "other"], [0.2, 0.3, 0.5], [0.5, 0.3, 0.2])
    payload["features"][0]["feature"] = label
    assert plot.png(payload) is not None
    assert all(line.isprintable() for line in plot.sparkline(payload))


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=80))
def test_two_lines_of_blocks_have_one_scale(rows: list[tuple[float, float]]) -> None:
    payload = _payload([str(number) for number in range(len(rows))], [one for one, _ in rows], [one for _, one in rows])
    drawn = plot.sparkline(payload)
    if not any(one or other for one, other in rows):
        assert drawn == ()
        return
    caption, before, now = drawn
    assert caption.startswith("temp: share of rows, before and now; from 0 on the left to ")
    assert (before[:8], now[:8]) == ("before  ", "now     ")
    assert len(before) == len(now) <= 8 + plot.BARS
    assert "█" in before[8:] + now[8:]


def test_without_the_extra_there_is_no_picture_and_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> Any:
        raise ConfigError("Pictures need the extra of plots.")

    monkeypatch.setattr(plots, "_libraries", missing)
    payload = _payload(["a"], [1.0], [0.5])
    assert plot.png(payload) is None
    assert len(plot.sparkline(payload)) == 3


def test_a_picture_that_is_too_large_is_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plot, "LARGEST", 1_000)
    assert plot.png(_payload(["a"], [1.0], [0.5])) is None
