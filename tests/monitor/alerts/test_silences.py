"""What a silence covers, and which silences nobody may write."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from featurestore.errors import MonitorError
from monitor.alerts.incident_state import Member
from monitor.alerts.silences import FIELDS, Matcher, Silence, new_silence, parse, silenced_by

_NOW = datetime(2013, 7, 1, 12, tzinfo=UTC)
_HOUR = timedelta(hours=1)


def member(**about: object) -> Member:
    values: dict[str, object] = {
        "alert": "a",
        "episode": 1,
        "policy": "flights",
        "service": "flight_delay@1",
        "rule": "drift",
        "slice": "carrier=AA",
        "features": ("temp",),
        "severity": "ticket",
        "joined_at": _NOW,
    }
    return Member(**(values | about))  # type: ignore[arg-type]


def silence(*texts: str, start: datetime = _NOW, end: datetime = _NOW + _HOUR) -> Silence:
    return new_silence(texts, starts_at=start, expires_at=end, author="ann", reason="planned work")


def silenced(one: Member, *silences: Silence, now: datetime = _NOW) -> bool:
    return bool(silenced_by(one, "12", silences, now))


@pytest.mark.parametrize(
    ("text", "covers"),
    [
        ("policy=flights", True),
        ("policy=flight", False),
        ("policy!=flights", False),
        ("policy!=other", True),
        ("service=~flight_.*", True),
        ("service=~flight", False),
        ("service!~flight_.*", False),
        ("rule=drift", True),
        ("rule=~null spike|drift", True),
        ("slice=carrier=AA", True),
        ("slice=~carrier=.*", True),
        ("slice=", False),
        ("feature=temp", True),
        ("feature=~t.*p", True),
        ("severity=ticket", True),
        ("severity!=page", True),
        ("incident=12", True),
        ("incident=1", False),
        (" rule =drift", True),
    ],
)
def test_a_matcher_is_of_the_whole_value(text: str, covers: bool) -> None:
    assert silenced(member(), silence(text)) == covers


def test_all_matchers_must_match() -> None:
    assert silenced(member(), silence("rule=drift", "feature=temp"))
    assert not silenced(member(), silence("rule=drift", "feature=dewp"))


def test_it_holds_from_its_start_until_its_end() -> None:
    one = silence("rule=drift", start=_NOW + _HOUR, end=_NOW + 2 * _HOUR)
    held = [silenced(member(), one, now=_NOW + minutes * timedelta(minutes=1)) for minutes in (59, 60, 119, 120)]
    assert held == [False, True, True, False]


def test_a_silence_of_one_feature_hides_no_other() -> None:
    both = member(features=("temp", "dewp"))
    temp, dewp = silence("feature=temp"), silence("feature=dewp")
    assert not silenced(both, temp)
    assert silenced_by(both, "12", (temp, dewp), _NOW) == (temp, dewp)
    assert silenced(both, silence("feature=~temp|dewp"))
    assert not silenced(both, silence("feature!=temp"))


def test_what_is_about_all_rows_or_no_feature_has_empty_ones() -> None:
    assert silenced(member(slice=""), silence("slice="))
    assert silenced(member(features=()), silence("feature="))
    assert not silenced(member(features=()), silence("feature=temp"))


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("rule", '"rule" does not say what to match', "FIELD=VALUE"),
        ("", '"" does not say what to match', "FIELD=VALUE"),
        ("fature=temp", 'no "fature"', "feature"),
        ("=temp", 'no ""', "policy"),
        ("feature=~(", "no regular expression: missing", "RE2"),
        ("feature=~[", "no regular expression: missing ]: [.", "RE2"),
        ("feature=~(?=a)", "no regular expression", "RE2"),
        ("severity=pgae", 'no severity "pgae"', "page"),
        ("feature=" + "x" * 1001, "1,001 letters", "1,000"),
    ],
)
def test_a_matcher_that_says_nothing_is_refused(text: str, message: str, hint: str) -> None:
    with pytest.raises(MonitorError, match=re.escape(message)) as raised:
        parse(text)
    assert hint in raised.value.hint


def test_a_matcher_whose_text_would_be_another_is_refused() -> None:
    with pytest.raises(MonitorError, match="cannot be compared"):
        Matcher("feature", "=", "~temp")
    with pytest.raises(MonitorError, match="compares nothing"):
        Matcher("feature", "==", "temp")


@given(
    st.sampled_from([one for one in FIELDS if one != "severity"]), st.sampled_from(["=", "!="]), st.text(max_size=30)
)
def test_a_matcher_is_read_as_it_is_written(field: str, operator: str, value: str) -> None:
    if not value.startswith("~"):
        one = Matcher(field, operator, value)
        assert parse(str(one)) == one
    regular = Matcher(field, f"{operator[0]}~", re.escape(value) if value.isalnum() else "a.*")
    assert parse(str(regular)) == regular


def test_no_regular_expression_stops_the_monitor() -> None:
    # Backtracking would take longer than the universe is old.
    begin = time.perf_counter()
    assert not silenced(member(features=("a" * 100,)), silence("feature=~(a|aa)+b|(a*)*b"))
    assert time.perf_counter() - begin < 5


@pytest.mark.parametrize(
    ("texts", "days", "author", "reason", "message"),
    [
        ((), 1.0, "ann", "work", "one of everything"),
        (("rule=drift",), 0.0, "ann", "work", "is none"),
        (("rule=drift",), -1.0, "ann", "work", "is none"),
        (("rule=drift",), 367.0, "ann", "work", "367 days is too long"),
        (("rule=drift",), 1.0, " ", "work", "who wants it"),
        (("rule=drift",), 1.0, "ann", "", "why"),
    ],
)
def test_a_silence_says_what_until_when_who_and_why(
    texts: tuple[str, ...], days: float, author: str, reason: str, message: str
) -> None:
    with pytest.raises(MonitorError, match=message):
        new_silence(texts, starts_at=_NOW, expires_at=_NOW + timedelta(days=days), author=author, reason=reason)


def test_the_same_matcher_twice_is_one() -> None:
    assert len(silence("rule=drift", " rule=drift").matchers) == 1
