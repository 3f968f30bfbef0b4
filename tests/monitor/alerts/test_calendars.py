"""Calendars against clocks on the wall, minute by minute, and over the days on which clocks are moved."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from featurestore.settings.alerts import WEEKDAYS, MuteConfig
from monitor.alerts.calendars import Calendar, calendars_of

_MONDAY = datetime(2013, 7, 1, tzinfo=UTC)
_MINUTE = timedelta(minutes=1)


def calendar(**section: object) -> Calendar:
    (one,) = calendars_of({"nights": MuteConfig(**section)})  # type: ignore[arg-type]
    return one


def local(text: str, zone: str = "Europe/Berlin") -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone))


def test_a_night_belongs_to_the_day_on_which_it_begins() -> None:
    one = calendar(weekdays=["fri"], hours=["22:00-07:00"], timezone="Europe/Berlin")
    held = {
        text: one.covers(local(text))
        for text in (
            "2013-07-05T21:59",
            "2013-07-05T22:00",
            "2013-07-06T06:59",
            "2013-07-06T07:00",
            "2013-07-06T22:00",
            "2013-07-05T06:00",
        )
    }
    assert list(held.values()) == [False, True, True, False, False, False]
    assert one.until(local("2013-07-05T23:00")) == local("2013-07-06T07:00")
    assert one.until(local("2013-07-05T21:00")) is None


def test_spans_that_follow_each_other_end_as_one() -> None:
    weekend = calendar(weekdays=["sat-sun"])
    assert weekend.until(local("2013-07-06T10:00", "UTC")) == local("2013-07-08T00:00", "UTC")
    halves = calendar(weekdays=["mon"], hours=["08:00-12:00", "12:00-13:00", "12:30-15:00"])
    assert halves.until(_MONDAY + timedelta(hours=9)) == _MONDAY + timedelta(hours=15)


def test_weekdays_may_run_over_the_end_of_the_week() -> None:
    assert calendar(weekdays=["fri-mon"]).days == (0, 4, 5, 6)
    assert calendar(weekdays=["wed", "mon"]).days == (0, 2)
    assert calendar(weekdays=["sun"], hours=["22:00-02:00"]).covers(_MONDAY + timedelta(hours=1))


def test_it_mutes_what_it_names() -> None:
    at = _MONDAY
    assert not calendar(weekdays=["mon"]).mutes("flights", "page", at)
    assert calendar(weekdays=["mon"]).mutes("flights", "ticket", at)
    one = calendar(weekdays=["mon"], severities=["page"], policies=["flights"])
    assert one.mutes("flights", "page", at)
    assert not one.mutes("flights", "info", at)
    assert not one.mutes("other", "page", at)
    assert not one.mutes("flights", "page", at + timedelta(days=1))


@pytest.mark.parametrize(
    ("begin", "end", "hours"),
    [
        ("2013-03-30T22:00", "2013-03-31T07:00", 8),  # an hour is skipped
        ("2013-10-26T22:00", "2013-10-27T07:00", 10),  # an hour comes twice
        ("2013-07-05T22:00", "2013-07-06T07:00", 9),
    ],
)
def test_a_night_is_as_long_as_the_clocks_make_it(begin: str, end: str, hours: int) -> None:
    one = calendar(hours=["22:00-07:00"], timezone="Europe/Berlin")
    start = local(begin).astimezone(UTC)
    covered = sum(one.covers(start + n * _MINUTE) for n in range(-60, 11 * 60))
    assert covered == hours * 60
    assert one.until(start) == local(end).astimezone(UTC) == start + timedelta(hours=hours)


def test_hours_that_clocks_skip_are_no_fault() -> None:
    one = calendar(hours=["02:15-02:45"], timezone="Europe/Berlin")
    day = [local("2013-03-31T00:00").astimezone(UTC) + n * _MINUTE for n in range(23 * 60)]
    assert sum(map(one.covers, day)) == 30
    assert one.until(next(at for at in day if one.covers(at))) == datetime(2013, 3, 31, 1, 45, tzinfo=UTC)


_TIMES = st.integers(0, 23).flatmap(lambda hour: st.sampled_from([f"{hour:02}:00", f"{hour:02}:30"]))


@given(
    st.lists(st.sampled_from(WEEKDAYS), max_size=3),
    st.lists(st.tuples(_TIMES, _TIMES).filter(lambda pair: pair[0] != pair[1]), max_size=2),
    st.sampled_from(["UTC", "Asia/Kolkata", "America/Phoenix"]),  # none of them moves its clocks
    st.integers(0, 14 * 24 * 2),
)
def test_it_covers_what_the_clock_on_the_wall_says(
    weekdays: list[str], hours: list[tuple[str, str]], zone: str, half_hours: int
) -> None:
    if not weekdays and not hours:
        return
    try:
        one = calendar(weekdays=weekdays, hours=[f"{a}-{b}" for a, b in hours], timezone=zone)
    except ValueError as error:
        if "whole week" not in str(error):
            raise
        return

    def on_the_wall(at: datetime) -> bool:
        clock = at.astimezone(ZoneInfo(zone))
        time, today = f"{clock:%H:%M}", WEEKDAYS[clock.weekday()]
        before = WEEKDAYS[clock.weekday() - 1]
        for begin, end in hours or [("00:00", "24:00")]:
            if begin < end and begin <= time < end and (not weekdays or today in weekdays):
                return True
            if begin > end and time >= begin and (not weekdays or today in weekdays):
                return True
            if begin > end and time < end and (not weekdays or before in weekdays):
                return True
        return False

    at = _MONDAY + half_hours * timedelta(minutes=30)
    assert one.covers(at) == on_the_wall(at)
    end = one.until(at)
    assert (end is None) == (not on_the_wall(at))
    if end is not None:
        assert not on_the_wall(end)
        steps = range(int((end - at) / timedelta(minutes=30)))
        assert all(on_the_wall(at + n * timedelta(minutes=30)) for n in steps)
