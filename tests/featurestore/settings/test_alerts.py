"""The settings of when people are told, and when they are left in peace."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from featurestore import config
from featurestore.errors import ConfigError


def loaded(folder: Path, text: str) -> config.Config:
    (folder / "featurestore.toml").write_text(text, encoding="utf-8")
    return config.load(folder)


def test_they_need_not_be_written(tmp_path: Path) -> None:
    alerts = loaded(tmp_path, "").alerts
    assert (alerts.group_wait, alerts.group_interval, alerts.repeat_interval) == (
        timedelta(minutes=2),
        timedelta(hours=1),
        timedelta(hours=24),
    )
    assert loaded(tmp_path, "").mute == {}


def test_they_are_read(tmp_path: Path) -> None:
    text = """
    [alerts]
    group_wait = "0s"
    group_interval = "15 minutes"
    repeat_interval = "12h"

    [mute.nights]
    weekdays = ["mon-fri"]
    hours = ["22:00-24:00", "00:00-07:00"]
    timezone = "America/New_York"
    severities = ["page"]
    policies = ["flights"]
    """
    read = loaded(tmp_path, text)
    assert (read.alerts.group_wait, read.alerts.repeat_interval) == (timedelta(0), timedelta(hours=12))
    nights = read.mute["nights"]
    assert (nights.days, nights.spans) == ((0, 1, 2, 3, 4), ((1320, 1440), (0, 420)))
    assert (nights.timezone, nights.severities, nights.policies) == ("America/New_York", ("page",), ("flights",))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[alerts]\ngroup_wait = "soon"', "alerts.group_wait.*no duration"),
        ("[alerts]\ngroup_wait = 120", "alerts.group_wait.*no duration"),
        ('[alerts]\nrepeat_interval = "0s"', "alerts.repeat_interval"),
        ('[alerts]\nrepeat_interval = "30m"', "repeat_interval is shorter than group_interval"),
        ('[alerts]\nwait = "2m"', 'no setting "alerts.wait"'),
        ('[mute.nights]\nhours = ["22-7"]', "mute.nights.hours.*22:00-07:00"),
        ('[mute.nights]\nhours = ["24:00-07:00"]', "mute.nights.hours"),
        ('[mute.nights]\nhours = ["07:00-07:00"]', "has no length"),
        ('[mute.nights]\nweekdays = ["monday"]', "no weekday"),
        ('[mute.nights]\nweekdays = ["mon-"]', "no weekday"),
        ('[mute.nights]\nweekdays = ["sat"]\ntimezone = "Berlin"', "no time zone"),
        ('[mute.nights]\nweekdays = ["sat"]\ntimezone = "../../etc/passwd"', "no time zone"),
        ('[mute.nights]\nweekdays = ["sat"]\nseverities = ["loud"]', "mute.nights.severities"),
        ('[mute.nights]\nweekdays = ["sat"]\nseverities = []', "mutes nothing"),
        ("[mute.nights]\n", "whole week"),
        ('[mute.nights]\nhours = ["07:00-19:00", "19:00-07:00"]', "whole week"),
        (
            '[mute.nights]\nhours = ["20:00-08:00"]\n[mute.days]\nhours = ["08:00-20:00"]\nseverities = ["ticket"]',
            '"nights" and "days" together mute ticket alerts of every policy the whole week',
        ),
        (
            '[mute.nights]\nhours = ["20:00-08:00"]\n[mute.days]\nhours = ["06:00-21:00"]\npolicies = ["flights"]',
            'together mute ticket alerts of policy "flights"',
        ),
        (
            # Berlin's night is over at 06:00 UTC in summer, and at 07:00 in winter.
            '[mute.nights]\nhours = ["20:00-08:00"]\ntimezone = "Europe/Berlin"\n[mute.days]\nhours = ["07:00-19:00"]',
            "together mute ticket",
        ),
        ('[mute.nights]\nday = ["sat"]', 'no setting "mute.nights.day"'),
    ],
)
def test_a_mistake_is_told_with_its_setting(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        loaded(tmp_path, text)


def test_calendars_of_other_things_may_cover_the_week(tmp_path: Path) -> None:
    text = """
    [mute.nights]
    hours = ["20:00-08:00"]
    severities = ["info"]
    [mute.days]
    hours = ["08:00-20:00"]
    severities = ["ticket"]
    [mute.others]
    hours = ["08:00-20:00"]
    policies = ["one"]
    severities = ["page"]
    [mute.another]
    hours = ["20:00-08:00"]
    policies = ["another"]
    severities = ["page"]
    """
    assert set(loaded(tmp_path, text).mute) == {"nights", "days", "others", "another"}
