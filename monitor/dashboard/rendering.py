"""Values -> HTML: every text is escaped, whoever wrote it, and a name that a template misspells is an error."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import datetime
from json import dumps
from typing import Any
from unicodedata import bidirectional
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

#: Characters that turn the direction of a text, and the classes of letters that are read from right to left.
_TURNS = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_RIGHT_TO_LEFT = frozenset({"R", "AL", "AN"})
#: Letters of a text that a table shows.
_SHORT = 60


class Templates:
    """The templates of the package."""

    def __init__(self) -> None:
        self._made = Environment(
            loader=PackageLoader("monitor.dashboard"),
            autoescape=True,
            undefined=StrictUndefined,
            finalize=_finalized,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._made.filters |= {
            "instant": instant,
            "percent": percent,
            "number": number,
            "counted": counted,
            "duration": duration,
            "hundredths": hundredths,
            "latency": latency,
            "rate": rate,
            "said": said,
            "short": short,
            "span": span,
            "part": part,
            "user": user,
            "when": when,
            "words": words,
        }

    def html(self, name: str, values: Mapping[str, Any]) -> str:
        """Return a template with values in it."""
        return self._made.get_template(f"{name}.html").render(values)


def instant(text: str | None) -> Markup | str:
    """Return an instant of ISO 8601 as it is read here: to the minute, UTC."""
    if not text:
        return "never"
    return Markup('<time datetime="{}">{}</time>').format(text, when(text))


def when(text: str | None) -> str:
    """Return the same within a sentence that is made of texts: those are escaped as one."""
    return f"{datetime.fromisoformat(text):%Y-%m-%d %H:%M} UTC" if text else "never"


def percent(share: float | None) -> str:
    """Return a share as a percentage."""
    return "unknown" if share is None else f"{share:.1%}"


def number(value: float | None) -> str:
    """Return a number as people read it."""
    if value is None:
        return "unknown"
    return f"{value:,}" if isinstance(value, int) else f"{value:,.4g}"


def hundredths(value: float | None) -> str:
    """Return a number between 0 and 1 as messages write it."""
    return "unknown" if value is None or not math.isfinite(value) else f"{value:.2f}"


def counted(count: int, thing: str, things: str = "") -> str:
    """Return a number of things: ``1 window``, ``3 windows``."""
    return f"{count:,} {thing if count == 1 else things or f'{thing}s'}"


def duration(seconds: float | None) -> str:
    """Return a duration as people say it: in its largest unit that divides it."""
    if seconds is None:
        return "for ever"
    for unit, size in (("day", 86_400), ("hour", 3_600), ("minute", 60)):
        if seconds and seconds % size == 0:
            count = seconds / size
            return f"{count:,g} {unit}{'s' * (count != 1)}"
    return f"{seconds:,g} s"


def latency(seconds: float | None) -> str:
    """Return how long a call took, in three digits: ``420 µs``, ``1.25 ms``, ``2.5 s``."""
    if seconds is None:
        return "-"
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds / 1e-6:.3g} µs"


def said(value: object) -> str:
    """Return what a manifest says, of whatever type; what it does not say is ``none``."""
    if value in (None, "", {}):
        return "none"
    return dumps(value, ensure_ascii=False) if isinstance(value, dict) else str(value)


def span(seconds: float) -> str:
    """Return about how long something was looked at: ``12 seconds``, ``5 minutes``."""
    minutes = round(seconds / 60)
    return counted(minutes, "minute") if seconds >= 90 else counted(round(seconds), "second")


def rate(per_second: float | None) -> str:
    """Return how often something happens in a second; what is rare is not shown as never."""
    if per_second is None:
        return "-"
    if 0 < per_second < 0.01:
        return "< 0.01"
    return f"{per_second:,.0f}" if per_second >= 100 else f"{per_second:.3g}"


def plain(text: str) -> str:
    """Return a text that leaves the direction of what stands around it alone, whoever wrote it.

    Characters that turn it by themselves are spelled out: in a name they are there to deceive. Letters that are read
    from right to left stay, in a place of their own.
    """
    turned = _TURNS.sub(lambda found: f"<U+{ord(found[0]):04X}>", text)
    return f"\u2068{turned}\u2069" if any(bidirectional(one) in _RIGHT_TO_LEFT for one in turned) else turned


def _finalized(value: object) -> object:
    """Return what a template writes out: what is marked as HTML was made here, out of plain texts."""
    return plain(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def short(text: str, most: int = _SHORT) -> Markup | str:
    """Return a text that fits into a table, with all of it where one points."""
    text = plain(text)
    if len(text) <= most:
        return text
    return Markup('<span title="{}">{}…</span>').format(text, text[: most - 1])


def part(text: str) -> str:
    """Return a text as one part of an address."""
    return quote(text, safe="@")


def words(text: str) -> Markup:
    """Return a name in which a narrow screen may break the line."""
    return Markup("_<wbr>").join(escape(one) for one in plain(text).split("_"))


def user(text: str) -> Markup:
    """Return what uses something, ``feature_service flight_delay@1``, as people read it."""
    kind, space, name = text.partition(" ")
    return escape(plain(kind.replace("_", " ")) + space) + words(name)
