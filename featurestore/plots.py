"""Data -> the specification of a chart -> SVG or PNG: the one path of all pictures (extra ``plots``)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from featurestore.errors import ConfigError

if TYPE_CHECKING:
    import altair

#: What is drawn: a specification, which knows neither file nor format.
Chart: TypeAlias = "altair.VConcatChart"

#: Endings of files that a picture may have.
FORMATS = (".svg", ".png")
_WIDTH, _HEIGHT = 640, 180
#: Okabe and Ito's colours, which people tell apart who do not see all of them.
_COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")


@dataclass(frozen=True, kw_only=True)
class Line:
    """Points that are joined, in order; where y is None the line has a gap."""

    name: str
    x: Sequence[float]
    y: Sequence[float | None]


@dataclass(frozen=True, kw_only=True)
class Panel:
    """Lines over one axis of x.

    Attributes:
        x: the title of the axis, with the unit: ``seconds``.
        y: the other's.
        lines: what is drawn.
        logarithmic: whether y is: every value is over 0 then.
    """

    x: str
    y: str
    lines: Sequence[Line]
    logarithmic: bool = False


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
    made: Chart = alt.vconcat(*(_drawn(alt, one) for one in panels), title=title).resolve_scale(color="independent")
    return made


def _drawn(alt: Any, panel: Panel) -> Any:
    points = [
        {"x": x, "y": y, "line": line.name}
        for line in panel.lines
        for x, y in zip(line.x, line.y, strict=True)
        if y is None or y > 0 or not panel.logarithmic
    ]
    names = [line.name for line in panel.lines]
    scale = alt.Scale(type="log") if panel.logarithmic else alt.Scale(zero=True)
    return (
        alt.Chart(alt.Data(values=points))
        .mark_line(point=alt.OverlayMarkDef(size=12))
        .encode(
            x=alt.X("x:Q", title=panel.x),
            y=alt.Y("y:Q", title=panel.y, scale=scale),
            color=alt.Color("line:N", title=None, scale=alt.Scale(domain=names, range=list(_COLORS[: len(names)]))),
        )
        .properties(width=_WIDTH, height=_HEIGHT)
    )


def write(drawing: Chart, file: Path) -> Path:
    """Write a chart as the format that the file's ending names, and return the file.

    Raises:
        ConfigError: it cannot be written, or has another ending.
    """
    check_file(file)
    _, convert = _libraries()
    specification = drawing.to_dict()
    if file.suffix.lower() == ".svg":
        content = convert.vegalite_to_svg(specification).encode()
    else:
        content = convert.vegalite_to_png(specification, scale=2)
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
