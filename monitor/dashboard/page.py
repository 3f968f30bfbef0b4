"""What a page is, and what it is asked: a module of :mod:`monitor.dashboard.pages` has one, called ``PAGE``."""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from monitor.dashboard.people import Role
from monitor.dashboard.reading import Reader

#: JSON values: what a page shows, and what stands behind its address with ``.json``.
Values = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What a page was asked.

    Attributes:
        path: the parts of its address, by name.
        query: what stands behind the question mark, the last of each name.
        now: the wall clock.
    """

    path: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)
    now: datetime

    def number(self, name: str) -> int:
        """Return a part of the address that is a number."""
        return int(self.path[name])


@dataclass(frozen=True, kw_only=True)
class Page:
    """One page.

    Attributes:
        name: of the template, ``NAME.html``.
        path: its address: ``/incidents/{number:int}``.
        read: returns the JSON values; ``title`` among them. No value of a ``pii`` field is among them, and no key.
        twin: returns the command that shows the same in a terminal, without ``featurestore``, as its words.
        menu: what the menu calls it; "" where it is not in the menu.
        query: the names of what it takes behind the question mark.
        seconds: for how long its values may be shown again while nothing has changed.
        steady: whether they may be shown so long whatever has changed: those that take long to get.
    """

    name: str
    path: str
    read: Callable[[Reader, Asked], Values]
    twin: Callable[[Asked], tuple[str, ...]]
    menu: str = ""
    query: tuple[str, ...] = ()
    seconds: float = 5.0
    steady: bool = False


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A picture of a page, as SVG. What it shows stands on the page in words as well.

    Attributes:
        path: its address; with ``?dark`` it is drawn for a dark page.
        seconds: for how long it may be shown again while nothing has changed.
        draw: returns it.
        query: the names of what else it takes behind the question mark.
    """

    path: str
    seconds: float = 3_600.0
    draw: Callable[[Reader, Asked], str]
    query: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Action:
    """Something that a person can have done from a page.

    Attributes:
        path: where its form is sent.
        role: who may.
        act: does it as somebody, and returns a sentence that says what was done.
        back: returns the address that is shown next.
    """

    path: str
    role: Role
    act: Callable[[Reader, Doing], str]
    back: Callable[[Mapping[str, str]], str]


@dataclass(frozen=True, kw_only=True)
class Doing:
    """An action that somebody has asked for.

    Attributes:
        path: the parts of its address, by name.
        form: what its form says.
        who: what the audit log calls whoever does it.
        now: the wall clock.
    """

    path: Mapping[str, str]
    form: Mapping[str, str]
    who: str
    now: datetime


def drawn_from(*values: Any) -> str:
    """Return a short text that is another one when a picture shows other values: a part of its address.

    A browser shows what it has of an address again, as long as a page is open and whatever it was told to keep.
    """
    return hashlib.sha256(json.dumps(values, default=str).encode()).hexdigest()[:12]


def command(words: tuple[str, ...], replay: str) -> str:
    """Return a command as it is typed."""
    of = ("--replay", replay) if replay and words[0] == "monitor" else ()
    return shlex.join(("featurestore", *words, *of))
