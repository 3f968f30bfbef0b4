"""Calendars by which alerts that are not urgent wait for working hours. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from featurestore.settings.alerts import MuteConfig

_DAY = timedelta(days=1)


@dataclass(frozen=True, kw_only=True)
class Calendar:
    """When which alerts are told to nobody.

    A span of hours is from one instant to another: each is the first at which clocks of the zone show the time. Where
    they skip it, as in spring, it is the instant at which they show the time that is later by as much as they skip.

    Attributes:
        name: the section's.
        days: weekdays on which spans begin, Monday 0.
        spans: minutes since midnight at which they begin and end; an end over a day's length is on the next day.
        timezone: of both, by its name in the tz database.
        severities: what is muted.
        policies: the policies whose alerts are muted; none for all.
    """

    name: str
    days: tuple[int, ...]
    spans: tuple[tuple[int, int], ...]
    timezone: str
    severities: tuple[str, ...]
    policies: tuple[str, ...] = ()

    def covers(self, now: datetime) -> bool:
        """Return whether an instant lies in one of its spans."""
        return self._end_at(now) is not None

    def until(self, now: datetime) -> datetime | None:
        """Return when the time ends that an instant lies in, spans that follow each other as one; None for no span."""
        end = self._end_at(now)
        while end is not None and (later := self._end_at(end)) is not None:
            end = later
        return end

    def mutes(self, policy: str, severity: str, now: datetime) -> bool:
        """Return whether alerts of a policy and a severity are told to nobody at an instant."""
        concerns = severity in self.severities and (not self.policies or policy in self.policies)
        return concerns and self.covers(now)

    def _end_at(self, now: datetime) -> datetime | None:
        """Return the last end of the spans that hold an instant."""
        return max((end for begin, end in self._near(now) if begin <= now < end), default=None)

    def _near(self, now: datetime) -> Iterator[tuple[datetime, datetime]]:
        """Give the spans that may hold an instant: those that begin on its day or within two days before."""
        zone = ZoneInfo(self.timezone)
        today = now.astimezone(zone).date()
        for back in range(3):
            day = today - back * _DAY
            if day.weekday() in self.days:
                for begin, end in self.spans:
                    yield _instant(day, begin, zone), _instant(day, end, zone)


def calendars_of(sections: Mapping[str, MuteConfig]) -> tuple[Calendar, ...]:
    """Return the calendars of ``[mute.NAME]``."""
    return tuple(
        Calendar(
            name=name,
            days=one.days,
            spans=one.spans,
            timezone=one.timezone,
            severities=one.severities,
            policies=one.policies,
        )
        for name, one in sections.items()
    )


def _instant(day: date, minute: int, zone: ZoneInfo) -> datetime:
    """Return the first instant at which clocks of a zone show a minute of a day."""
    hours, rest = divmod(minute, 60)
    days, hour = divmod(hours, 24)
    return datetime.combine(day + days * _DAY, time(hour, rest), tzinfo=zone).astimezone(UTC)
