"""When people are told of alerts, and when they are left in peace: ``[alerts]`` and ``[mute.NAME]``."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, Field, model_validator

from featurestore.settings.retention import Duration
from featurestore.settings.section import Section

WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")

_TIME = r"([01]\d|2[0-3]):([0-5]\d)"
_HOURS = re.compile(rf"{_TIME}-(?:{_TIME}|24:00)")
_DAY = 24 * 60
_WEEK = 7 * _DAY
_WHOLE_WEEK = (1 << _WEEK) - 1

#: When clocks are compared: in winter and in summer.
_SEASONS = (datetime(2013, 1, 1, tzinfo=UTC), datetime(2013, 7, 1, tzinfo=UTC))


class AlertsConfig(Section):
    """``[alerts]``: how long people are left in peace between messages of one incident."""

    group_wait: Annotated[Duration, Field(ge=timedelta(0))] = timedelta(minutes=2)
    group_interval: Annotated[Duration, Field(ge=timedelta(0))] = timedelta(hours=1)
    repeat_interval: Annotated[Duration, Field(gt=timedelta(0))] = timedelta(hours=24)
    settle_interval: Annotated[Duration, Field(ge=timedelta(0))] = timedelta(hours=24)

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.repeat_interval < self.group_interval:
            raise ValueError("repeat_interval is shorter than group_interval: old news would come before new")
        return self


def _weekday_names(value: str) -> str:
    first, dash, last = value.partition("-")
    if first not in WEEKDAYS or (dash and last not in WEEKDAYS):
        raise ValueError(f'{value!r} is no weekday: write "sat" or "mon-fri"')
    return value


def _hours(value: str) -> str:
    if not _HOURS.fullmatch(value):
        raise ValueError(f'{value!r} is no part of a day: write "22:00-07:00"')
    if (span := minutes(value))[0] == span[1]:
        raise ValueError(f'{value!r} has no length: a whole day is "00:00-24:00"')
    return value


def _timezone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f'{value!r} is no time zone: write "Europe/Berlin" or "UTC"') from None
    return value


class MuteConfig(Section):
    """``[mute.NAME]``: when what is not urgent is told to nobody; it is told when that time ends, if it is still so."""

    weekdays: tuple[Annotated[str, AfterValidator(_weekday_names)], ...] = ()  # none: every day
    hours: tuple[Annotated[str, AfterValidator(_hours)], ...] = ()  # none: the whole day
    timezone: Annotated[str, AfterValidator(_timezone)] = "UTC"
    severities: tuple[Literal["page", "ticket", "info"], ...] = ("ticket", "info")
    policies: tuple[str, ...] = ()  # none: all

    @model_validator(mode="after")
    def _ends(self) -> Self:
        if not self.severities:
            raise ValueError("a calendar without severities mutes nothing")
        if _muted([self], _SEASONS[0]) == _WHOLE_WEEK:
            raise ValueError("a calendar that mutes the whole week has no end at which anything is told")
        return self

    @property
    def days(self) -> tuple[int, ...]:
        """The days on which it begins, Monday 0."""
        found: set[int] = set()
        for one in self.weekdays:
            first, dash, last = one.partition("-")
            begin, end = WEEKDAYS.index(first), WEEKDAYS.index(last if dash else first)
            found.update((begin + step) % 7 for step in range((end - begin) % 7 + 1))
        return tuple(sorted(found)) if self.weekdays else tuple(range(7))

    @property
    def spans(self) -> tuple[tuple[int, int], ...]:
        """Minutes since midnight at which it begins and ends; an end over a day's length is on the next day."""
        return tuple(minutes(one) for one in self.hours) or ((0, _DAY),)


def _with_an_end(calendars: dict[str, MuteConfig]) -> dict[str, MuteConfig]:
    """Refuse calendars that together mute something for ever."""
    policies = {"", *(name for one in calendars.values() for name in one.policies)}
    for policy in sorted(policies):
        for severity in ("page", "ticket", "info"):
            those = {
                name: one
                for name, one in calendars.items()
                if severity in one.severities and (not one.policies or policy in one.policies)
            }
            if any(_muted(those.values(), season) == _WHOLE_WEEK for season in _SEASONS):
                whom = f'of policy "{policy}"' if policy else "of every policy"
                named = " and ".join(f'"{name}"' for name in those)
                raise ValueError(f"{named} together mute {severity} alerts {whom} the whole week, so none is ever told")
    return calendars


#: ``[mute.NAME]``, by name.
Calendars = Annotated[dict[str, MuteConfig], AfterValidator(_with_an_end)]


def minutes(hours: str) -> tuple[int, int]:
    """Return begin and end of ``22:00-07:00`` in minutes since midnight, the end after the begin."""
    begin, end = (int(one[:2]) * 60 + int(one[3:]) for one in hours.split("-"))
    return begin, end if end >= begin else end + _DAY


def _muted(calendars: Iterable[MuteConfig], season: datetime) -> int:
    """Return the minutes of a week, by UTC, that any of some calendars mutes: bit by bit."""
    week = 0
    for one in calendars:
        offset = ZoneInfo(one.timezone).utcoffset(season.replace(tzinfo=None)) or timedelta(0)
        for day in one.days:
            for begin, end in one.spans:
                first = (day * _DAY + begin - offset // timedelta(minutes=1)) % _WEEK
                week |= ((1 << (end - begin)) - 1) << first
    return (week | week >> _WEEK) & _WHOLE_WEEK
