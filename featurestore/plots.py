"""Data -> the specification of a chart -> SVG or PNG: the one path of all pictures (extra ``plots``)."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from featurestore.errors import ConfigError

if TYPE_CHECKING:
    import altair

#: What is drawn: a specification, which knows neither file nor format.
Chart: TypeAlias = "altair.VConcatChart | altair.LayerChart | altair.Chart"

#: Endings of files that a picture may have.
FORMATS = (".svg", ".png")
_WIDTH, _HEIGHT = 640, 180
#: Height of a bar that stands below others, and room for its name, in pixels.
_STEP, _LABEL = 20, 260
#: Around an SVG: the letters of a browser may be wider than those that it was measured with.
_ROOM = {"left": 10, "top": 5, "right": 20, "bottom": 20}
_PNG = b"\x89PNG\r\n\x1a\n"
#: Okabe and Ito's colours, which people tell apart who do not see all of them.
_INK, _RULE = "#e6e6e6", "#5a6372"
_ON_DARK = {
    "title": {"color": _INK},
    "axis": {"labelColor": _INK, "titleColor": _INK, "gridColor": _RULE, "domainColor": _RULE, "tickColor": _RULE},
    "legend": {"labelColor": _INK, "titleColor": _INK},
    "view": {"stroke": _RULE},
}
_DASHES = ([1, 0], [6, 3], [2, 2], [10, 3, 2, 3], [4, 6], [12, 4], [1, 4])
_COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")


@dataclass(frozen=True, kw_only=True)
class Line:
    """Points that are joined, in order; where y is None the line has a gap.

    Attributes:
        name: in the legend.
        x: of each point.
        y: the same.
        low: of each point, the lower end of its interval, which is drawn as a rule through the point; without any there
            are none.
        high: the upper end.
    """

    name: str
    x: Sequence[float]
    y: Sequence[float | None]
    low: Sequence[float | None] = ()
    high: Sequence[float | None] = ()


@dataclass(frozen=True, kw_only=True)
class Panel:
    """Lines over one axis of x.

    Attributes:
        x: the title of the axis, with the unit: ``seconds``.
        y: the other's.
        lines: what is drawn.
        logarithmic: whether y is: every value is over 0 then.
        zero: whether y reaches down to 0.
    """

    x: str
    y: str
    lines: Sequence[Line]
    logarithmic: bool = False
    zero: bool = True


@dataclass(frozen=True, kw_only=True)
class Ranked:
    """Bars below one another, each with its interval where one is known.

    Attributes:
        names: of the bars, the uppermost first; no two alike.
        values: how long each is; below 0 to the other side.
        intervals: of each, or None.
        x: the title of the axis.
    """

    names: Sequence[str]
    values: Sequence[float]
    intervals: Sequence[tuple[float, float] | None]
    x: str


@dataclass(frozen=True, kw_only=True)
class Bars:
    """Bars of several series side by side, a group for each label.

    Attributes:
        labels: under the groups, in order; no two alike, and short: nothing cuts them.
        series: by name, a share for each label.
        y: the title of the other axis.
    """

    labels: Sequence[str]
    series: Mapping[str, Sequence[float]]
    y: str


@dataclass(frozen=True, kw_only=True)
class Ratio:
    """One line of a picture of ratios.

    Attributes:
        label: what was measured; no two alike.
        value: ours over the floor, over 0.
        goal: what it should be at most, or at least; None where there is none.
        holds: whether the goal is reached; true where there is none.
    """

    label: str
    value: float
    goal: float | None = None
    holds: bool = True


def check_file(file: Path) -> Path:
    """Return the file of a picture, if one can be drawn into it: before the work that it is to show.

    Raises:
        ConfigError: its ending is no format of a picture, or what draws is not installed.
    """
    if file.suffix.lower() not in FORMATS:
        raise ConfigError(f"{file} is no name of a picture.", hint=f"Let it end in {' or '.join(FORMATS)}.")
    _libraries()
    return file


def chart(title: str, panels: Sequence[Panel]) -> Chart:
    """Return panels below one another, with one legend each.

    Args:
        title: above all of them.
        panels: the uppermost first.

    Raises:
        ConfigError: what draws is not installed.
    """
    alt, _ = _libraries()
    made: Chart = alt.vconcat(*(_drawn(alt, one) for one in panels), title=title).resolve_scale(
        color="independent", strokeDash="independent"
    )
    return made


def _drawn(alt: Any, panel: Panel) -> Any:
    points = [
        {"x": x, "y": y, "line": line.name}
        for line in panel.lines
        for x, y in zip(line.x, line.y, strict=True)
        if y is None or y > 0 or not panel.logarithmic
    ]
    names = [line.name for line in panel.lines]
    scale = alt.Scale(type="log") if panel.logarithmic else alt.Scale(zero=panel.zero)
    ends = [
        {"x": at, "low": low, "high": high, "line": line.name}
        for line in panel.lines
        for at, low, high in zip(line.x, line.low, line.high, strict=bool(line.low))
        if low is not None and high is not None
    ]
    x, y = alt.X("x:Q", title=panel.x, axis=alt.Axis(labelOverlap=True)), alt.Y("y:Q", title=panel.y, scale=scale)
    colors = alt.Scale(domain=names, range=list(_COLORS[: len(names)]))
    color = alt.Color("line:N", title=None, scale=colors)
    if ends:
        x = alt.X("x:Q", title=panel.x, axis=alt.Axis(labelFlush=False, labelOverlap=True))
        above = alt.Legend(orient="top", columnPadding=24, symbolOpacity=1, symbolType="stroke", symbolSize=300)
        color = alt.Color("line:N", title=None, scale=colors, legend=above)
    drawn = (
        alt.Chart(alt.Data(values=points))
        .mark_line(point=alt.OverlayMarkDef(size=12))
        .encode(x=x, y=y, color=color)
        .properties(width=_WIDTH, height=_HEIGHT)
    )
    if not ends:
        return drawn
    # Many lines lie upon one another here: whoever does not tell the colours apart has the dashes.
    dashes = alt.Scale(domain=names, range=list(_DASHES[: len(names)]))
    drawn = drawn.encode(strokeDash=alt.StrokeDash("line:N", title=None, scale=dashes, legend=above))
    rules = (
        alt.Chart(alt.Data(values=ends))
        .mark_rule(opacity=0.45, strokeWidth=2)
        .encode(x=x, y=alt.Y("low:Q", title=panel.y, scale=scale), y2="high:Q", color=color)
    )
    return alt.layer(rules, drawn)


def ranked(title: str, drawn: Ranked, *, width: int = _WIDTH) -> Chart:
    """Return bars below one another, each with its interval as a rule through its end.

    Args:
        title: above them.
        drawn: the bars.
        width: of the plotted area, in pixels.

    Raises:
        ConfigError: what draws is not installed.
    """
    alt, _ = _libraries()
    points = [
        {"name": name, "x": value} | ({} if ends is None else {"low": ends[0], "high": ends[1]})
        for name, value, ends in zip(drawn.names, drawn.values, drawn.intervals, strict=True)
    ]
    y = alt.Y("name:N", title=None, sort=None, axis=alt.Axis(labelLimit=_LABEL))
    data = alt.Data(values=points)
    bars = alt.Chart(data).mark_bar(color=_COLORS[0]).encode(x=alt.X("x:Q", title=drawn.x), y=y)
    rules = (
        alt.Chart(alt.Data(values=[one for one in points if "low" in one]))
        .mark_rule(color=_COLORS[4], strokeWidth=3)
        .encode(x=alt.X("low:Q", title=drawn.x), x2="high:Q", y=y)
    )
    made: Chart = alt.layer(bars, rules, title=title).properties(width=width, height=alt.Step(_STEP))
    return made


def bars(title: str, drawn: Bars, *, width: int = _WIDTH, height: int = _HEIGHT) -> Chart:
    """Return bars, with a legend.

    Args:
        title: above them.
        drawn: the bars.
        width: of the plotted area, in pixels.
        height: the same.

    Raises:
        ConfigError: what draws is not installed.
    """
    alt, _ = _libraries()
    points = [
        {"x": label, "y": share, "series": name}
        for name, shares in drawn.series.items()
        for label, share in zip(drawn.labels, shares, strict=True)
    ]
    names = list(drawn.series)
    # Labels stand on end, and a browser's font may be wider than the one that they were measured in.
    room = 5 + round(0.8 * max((len(one) for one in drawn.labels), default=0))
    made: Chart = (
        alt.Chart(alt.Data(values=points), title=title)
        .mark_bar()
        .encode(
            x=alt.X("x:N", title=None, sort=None, axis=alt.Axis(labelLimit=0, labelOverlap=True)),
            xOffset=alt.XOffset("series:N", sort=names),
            y=alt.Y("y:Q", title=drawn.y, axis=alt.Axis(format="%", tickCount=4)),
            color=alt.Color(
                "series:N",
                title=None,
                legend=alt.Legend(orient="top"),
                scale=alt.Scale(domain=names, range=list(_COLORS[: len(names)])),
            ),
        )
        .properties(width=width, height=height, padding={"left": 5, "top": 5, "right": 5, "bottom": room})
    )
    return made


def ratios(title: str, drawn: Sequence[Ratio], *, x: str = "ours / floor", width: int = _WIDTH) -> Chart:
    """Return ratios as points on a logarithmic axis, a line for each, with a rule at 1 and a tick at each goal.

    What misses its goal is a cross, so that its colour is not the only sign.

    Args:
        title: above them.
        drawn: the uppermost first.
        x: the title of the axis.
        width: of the plotted area, in pixels.

    Raises:
        ConfigError: what draws is not installed.
    """
    alt, _ = _libraries()
    points = [
        {"label": one.label, "ratio": one.value, "goal": one.goal, "state": "holds" if one.holds else "missed"}
        for one in drawn
    ]
    lines = alt.Chart(alt.Data(values=points)).encode(
        y=alt.Y("label:N", title=None, sort=None, axis=alt.Axis(labelLimit=0, grid=True))
    )
    scale = alt.Scale(type="log", nice=False, padding=20)
    states = ["holds", "missed"]
    shown = lines.mark_point(size=70, filled=True).encode(
        x=alt.X("ratio:Q", title=x, scale=scale, axis=alt.Axis(format="~g")),
        color=alt.Color("state:N", legend=None, scale=alt.Scale(domain=states, range=list(_COLORS[:2]))),
        shape=alt.Shape("state:N", legend=None, scale=alt.Scale(domain=states, range=["circle", "cross"])),
    )
    figures = lines.mark_text(dy=-9, fontSize=9).encode(x="ratio:Q", text=alt.Text("ratio:Q", format=".2f"))
    goals = lines.mark_tick(thickness=2, color="#666666").encode(x="goal:Q")
    floor = alt.Chart(alt.Data(values=[{"ratio": 1}])).mark_rule(strokeDash=[4, 3]).encode(x="ratio:Q")
    # A browser's letters may be wider than those that the picture was measured with.
    room = round(1.2 * max((len(one.label) for one in drawn), default=0))
    made: Chart = alt.layer(
        floor,
        goals,
        shown,
        figures,
        title=alt.TitleParams(title, subtitle="dashed: the floor; grey: the goal; a cross misses it"),
    ).properties(width=width, height=alt.Step(26), padding={"left": 5 + room, "right": 5, "top": 5, "bottom": 5})
    return made


def svg(drawing: Chart, *, dark: bool = False) -> str:
    """Return a chart as SVG, without a background of its own.

    Args:
        drawing: the chart.
        dark: whether it stands on a dark page.

    Raises:
        ConfigError: what draws is not installed.
    """
    _, convert = _libraries()
    given = {**drawing.to_dict(), "background": None, "padding": _ROOM}
    made: str = convert.vegalite_to_svg(given, config=_ON_DARK if dark else None)
    return made


def png(drawing: Chart, *, scale: float = 1) -> bytes:
    """Return a chart as PNG.

    Args:
        drawing: the chart.
        scale: pixels of the picture for each of the chart.

    Raises:
        ConfigError: what draws is not installed.
    """
    _, convert = _libraries()
    return _compressed(convert.vegalite_to_png(drawing.to_dict(), scale=scale))


def _compressed(picture: bytes) -> bytes:
    """Return a PNG with its pixels deflated as well as zlib can: a sixth of what the fast encoder leaves."""
    start, chunks = len(_PNG), []
    while start < len(picture):
        (size,) = struct.unpack_from(">I", picture, start)
        chunks.append((picture[start + 4 : start + 8], picture[start + 8 : start + 8 + size]))
        start += 12 + size  # the size, the kind and the checksum are four bytes each
    pixels = zlib.compress(zlib.decompress(b"".join(content for kind, content in chunks if kind == b"IDAT")), level=9)
    head = [one for one in chunks if one[0] not in (b"IDAT", b"IEND")]
    return _PNG + b"".join(
        struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        for kind, content in (*head, (b"IDAT", pixels), (b"IEND", b""))
    )


def write(drawing: Chart, file: Path) -> Path:
    """Write a chart as the format that the file's ending names, and return the file.

    Raises:
        ConfigError: it cannot be written, or has another ending.
    """
    check_file(file)
    _, convert = _libraries()
    if file.suffix.lower() == ".svg":
        content = convert.vegalite_to_svg(drawing.to_dict()).encode()
    else:
        content = png(drawing, scale=2)
    try:
        file.write_bytes(content)
    except OSError as error:
        raise ConfigError(f"{file} cannot be written: {error.strerror}.") from error
    return file


def _libraries() -> tuple[Any, Any]:
    try:
        import altair
        import vl_convert
    except ImportError:
        raise ConfigError("Pictures need the extra of plots.", hint="pip install 'featurestore[plots]'") from None
    return altair, vl_convert
