"""Charts as SVG and PNG."""

from __future__ import annotations

import struct
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from featurestore import plots
from featurestore.errors import ConfigError
from featurestore.plots import Bars, Line, Panel, Ranked


def panels() -> list[Panel]:
    lines = [Line(name="p50", x=[0, 1, 2], y=[1.0, None, 3.0]), Line(name="p99", x=[0, 1, 2], y=[0.0, 20.0, 300.0])]
    return [Panel(x="seconds", y="latency, ms", lines=lines, logarithmic=True), Panel(x="s", y="rate", lines=lines[:1])]


def test_a_chart_is_a_specification_with_titles_units_and_points() -> None:
    made = plots.chart("Latency", panels()).to_dict()
    upper, lower = made["vconcat"]
    assert made["title"] == "Latency"
    assert (upper["encoding"]["x"]["title"], upper["encoding"]["y"]["title"]) == ("seconds", "latency, ms")
    assert upper["encoding"]["y"]["scale"]["type"] == "log"
    points = [(one["x"], one["y"]) for one in upper["data"]["values"] if one["line"] == "p99"]
    assert points == [(1, 20.0), (2, 300.0)]  # a logarithm of 0 there is not
    assert {"x": 1, "y": None, "line": "p50"} in lower["data"]["values"]


def test_an_interval_is_a_rule_through_its_point() -> None:
    told = Line(name="told", x=[0, 1, 2], y=[1.0, None, 3.0], low=[0.5, None, 2.0], high=[1.5, None, 4.0])
    bare = Line(name="bare", x=[0, 2], y=[2.0, 2.0])
    (panel,) = plots.chart("", [Panel(x="days", y="error", lines=[told, bare], zero=False)]).to_dict()["vconcat"]
    rules, lines = panel["layer"]
    assert [tuple(one.values()) for one in rules["data"]["values"]] == [(0, 0.5, 1.5, "told"), (2, 2.0, 4.0, "told")]
    assert (rules["encoding"]["y"]["field"], rules["encoding"]["y2"]["field"]) == ("low", "high")
    assert lines["encoding"]["y"]["scale"] == {"zero": False}
    short = Line(name="short", x=[0, 1], y=[1.0, 2.0], low=[0.5], high=[1.5])
    with pytest.raises(ValueError, match="zip"):
        plots.chart("", [Panel(x="days", y="error", lines=[short])])


def test_bars_below_one_another_have_the_order_that_they_are_given_in_and_their_intervals() -> None:
    drawn = Ranked(names=["b", "a"], values=[0.4, -0.1], intervals=[(0.3, 0.5), None], x="importance")
    made = plots.ranked("", drawn, width=300)
    bars, rules = made.to_dict()["layer"]
    assert bars["encoding"]["y"]["sort"] is None
    assert [(one["name"], one["x"]) for one in bars["data"]["values"]] == [("b", 0.4), ("a", -0.1)]
    assert [(one["low"], one["high"]) for one in rules["data"]["values"]] == [(0.3, 0.5)]
    assert plots.svg(made, dark=True).startswith("<svg")


def test_a_picture_is_written_in_the_format_that_its_name_says(tmp_path: Path) -> None:
    drawing = plots.chart("Latency", panels())
    svg = plots.write(drawing, tmp_path / "a.svg").read_text()
    assert ET.fromstring(svg).tag.endswith("svg")
    assert "latency, ms" in svg
    assert plots.write(drawing, tmp_path / "a.PNG").read_bytes().startswith(b"\x89PNG")


def test_bars_of_a_label_stand_side_by_side_in_the_order_of_the_series() -> None:
    bars = Bars(labels=["b", "a"], series={"before": [0.25, 0.75], "now": [1.0, 0.0]}, y="share")
    made = plots.bars("temp", bars, width=300, height=100).to_dict()
    assert (made["title"], made["width"], made["height"]) == ("temp", 300, 100)
    assert made["encoding"]["x"]["sort"] is None  # as given
    assert made["encoding"]["xOffset"]["sort"] == ["before", "now"]
    assert [tuple(one.values()) for one in made["data"]["values"]] == [
        ("b", 0.25, "before"),
        ("a", 0.75, "before"),
        ("b", 1.0, "now"),
        ("a", 0.0, "now"),
    ]
    with pytest.raises(ValueError, match="zip"):
        plots.bars("temp", Bars(labels=["a"], series={"now": [0.5, 0.5]}, y="share"))


def test_a_png_is_deflated_anew_and_shows_the_same_pixels() -> None:
    drawing = plots.chart("Latency", panels())
    _, convert = plots._libraries()
    fast, small = convert.vegalite_to_png(drawing.to_dict(), scale=1), plots.png(drawing)
    assert len(small) < len(fast) / 2
    before, after = dict(chunks(fast)), dict(chunks(small))
    assert list(after) == [b"IHDR", b"pHYs", b"IDAT", b"IEND"]
    assert zlib.decompress(after.pop(b"IDAT")) == zlib.decompress(before.pop(b"IDAT"))
    assert after == before


def chunks(picture: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield the parts of a PNG, each with its checksum checked."""
    start = 8
    while start < len(picture):
        (size,) = struct.unpack_from(">I", picture, start)
        kind, content = picture[start + 4 : start + 8], picture[start + 8 : start + 8 + size]
        assert struct.unpack_from(">I", picture, start + 8 + size) == (zlib.crc32(kind + content),)
        yield kind, content
        start += 12 + size


def test_a_file_that_can_be_no_picture_is_refused_before_anything_is_drawn(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"a\.pdf is no name of a picture") as caught:
        plots.check_file(tmp_path / "a.pdf")
    assert ".svg or .png" in caught.value.hint
    with pytest.raises(ConfigError, match="cannot be written"):
        plots.write(plots.chart("Latency", panels()), tmp_path / "none" / "a.svg")


def test_without_the_extra_its_name_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "altair", None)
    with pytest.raises(ConfigError, match="extra of plots") as caught:
        plots.check_file(tmp_path / "a.svg")
    assert caught.value.hint == "pip install 'featurestore[plots]'"
