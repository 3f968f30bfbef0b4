"""Where in the user's files an object was built, so that an error about it can say so.

A definition remembers the call that built it. Finding the number of its line costs as much as the file is long, so that
it is put off until somebody asks: a project of thousands of definitions is built as fast as without.
"""

from __future__ import annotations

import sys
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

_PACKAGE = "featurestore."

#: What stands between a definition and whoever wrote it; any other part of the package builds for itself.
_BUILDERS = (
    "featurestore.definitions.",
    "featurestore.testing.cases",
    "featurestore.types",
    "featurestore.places",
    "featurestore.errors",
)

#: What builds a changed copy for somebody: ``dataclasses.replace``, ``copy.replace``.
_COPIERS = ("dataclasses", "copy")

_ATTRIBUTE = "_place"


class Place:
    """A call in a file; as text ``definitions.py:12``."""

    __slots__ = ("_code", "_offset")

    def __init__(self, frame: FrameType) -> None:
        self._code: CodeType = frame.f_code
        self._offset = frame.f_lasti

    def __str__(self) -> str:
        lines = (line for start, end, line in self._code.co_lines() if start <= self._offset < end)
        return shown(self._code.co_filename, next(lines, None) or self._code.co_firstlineno)

    def __reduce__(self) -> tuple[Any, ...]:
        # Code cannot pass between processes, and means nothing in another.
        return (str, (str(self),))


_last: Place | None = None


def shown(file: str, line: int) -> str:
    """Return a place as people read it; a file below the current folder without the way to it."""
    try:
        here = f"{Path.cwd()}/"
    except OSError:  # the folder has been removed
        here = ""
    return f"{file.removeprefix(here)}:{line}"


def builder() -> Place | None:
    """Return the place outside this package that is building a definition just now; None where this package does."""
    return _builder(sys._getframe(1))


def remember(definition: object, place: Place | str | None = None) -> None:
    """Make a definition, from its ``__post_init__``, remember the place that builds it, or another that is given.

    The place is no field: it is in no comparison, no hash and no stored form.
    """
    if place is None:
        # Most often: this function, __post_init__, the dataclass's __init__, and then whoever builds it.
        place = _builder(sys._getframe(3))
    if place is not None:
        object.__setattr__(definition, _ATTRIBUTE, place)


def place_of(definition: object) -> str:
    """Return where a definition was built, as text; empty if it came from a registry."""
    return str(getattr(definition, _ATTRIBUTE, ""))


def _place(frame: FrameType) -> Place:
    # One call in a loop builds a hundred thousand fields: as many objects would keep the garbage collector busy.
    global _last
    last = _last
    if last is None or last._code is not frame.f_code or last._offset != frame.f_lasti:
        _last = last = Place(frame)
    return last


def _builder(start: FrameType) -> Place | None:
    frame: FrameType | None = start
    while frame is not None:
        module: str = frame.f_globals.get("__name__", "")
        if not module.startswith(_PACKAGE):
            if module not in _COPIERS:
                return _place(frame)
        elif not module.startswith(_BUILDERS):
            return None
        frame = frame.f_back
    return None
