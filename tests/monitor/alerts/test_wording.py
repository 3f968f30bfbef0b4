"""What people read of a message."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.alerts.base import OF_INCIDENTS, Kind, Message
from monitor.alerts.phrases import evidence, finding, instant
from monitor.alerts.wording import Limits, words
from tests.contract.channel_far_sides import base
from tests.contract.channel_far_sides.base import message


@pytest.mark.parametrize(
    ("kind", "changes", "title", "tone"),
    [
        (Kind.FIRING, {}, "PAGE 12", "bad"),
        (Kind.FIRING, {"severity": "ticket"}, "TICKET 12", "warning"),
        (Kind.FIRING, {"severity": "info", "name": ""}, "INFO", "neutral"),
        (Kind.FIRING, {"state": "ALERT_STATE_NO_DATA"}, "PAGE 12, NO DATA", "bad"),
        (Kind.FIRING, {"state": "ALERT_STATE_ERROR"}, "PAGE 12, ERROR", "bad"),
        (Kind.UPDATED, {}, "PAGE 12, escalated", "bad"),
        (Kind.UPDATED, {"change": "ALERT_CHANGE_REPEATED"}, "PAGE 12, still firing", "bad"),
        (Kind.UPDATED, {"change": "ALERT_CHANGE_ALERT_ADDED"}, "PAGE 12, more is wrong", "bad"),
        (Kind.ACKNOWLEDGED, {"acknowledgedBy": "ada"}, "ACKNOWLEDGED 12 by ada", "neutral"),
        (Kind.RESOLVED, {}, "RESOLVED 12", "good"),
        (Kind.RETRAINING, {}, "RETRAIN? Approval is wanted", "warning"),
        (Kind.RETRAINING, {"state": "SIGNAL_STATE_APPROVED"}, "RETRAIN", "warning"),
        (Kind.RETRAINING, {"state": "SIGNAL_STATE_DONE"}, "RETRAINING DONE", "good"),
        (Kind.RETRAINED, {}, "RETRAINED", "neutral"),
        (Kind.ACTION, {}, "ACTION DONE", "warning"),
        (Kind.ACTION, {"state": "ACTION_STATE_FAILED"}, "ACTION FAILED", "bad"),
        (Kind.TEST, {}, "TEST", "neutral"),
    ],
)
def test_the_title_says_what_has_happened(kind: Kind, changes: dict[str, Any], title: str, tone: str) -> None:
    said = words(message(kind, **changes))
    assert (said.title, said.tone) == (title, tone)
    assert said.first.startswith(f"{title}: ")


def test_the_first_line_says_what_where_how_bad_and_what_to_do() -> None:
    first = "PAGE 12: f@1, null spike: temp is missing in 40 % of the rows; fix source weather_csv"
    assert words(message(Kind.FIRING)).first == first
    test = "TEST: messages arrive here. Nothing is wrong, and there is nothing to do."
    assert words(message(Kind.TEST)).first == test


def test_all_of_it_in_its_order() -> None:
    assert words(message(Kind.FIRING, members=[_MEMBER, _MEMBER])).text() == (
        "PAGE 12: f@1, null spike: temp is missing in 40 % of the rows; fix source weather_csv\n"
        "  do        Fix the pipeline.\n"
        "  since     2026-05-01 11:00 UTC\n"
        "  cause     source weather_csv\n"
        "  evidence  ln 9.10 against a limit of ln 7.70 after 9 windows\n"
        "  baseline  delays@1\n"
        "  runbook   https://runbooks.example.com/weather\n"
        "  temp: KS 0.71 [0.48, 0.94], threshold 0.1; mean 35.25 -> nan; null 0.0% -> 2.0%; rows 90,000 and 1,000; of "
        "weather_csv\n"
        "  temp: share of rows, before (90,000 rows) and now (1,000 rows); from 0 on the left to 9\n"
        "  before  ▅▅▅▅▅▅▅▅▅▅\n"
        "  now     ▁▂▃▃▄▅▆▆▇█\n"
        "  alert of weather_rules on f@1 (carrier=AA), firing: null spike\n"
        "  alert of weather_rules on f@1 (carrier=AA), firing: null spike\n"
        "  acknowledge  featurestore monitor ack 12"
    )


_MEMBER = {
    "policy": "weather_rules",
    "service": "f@1",
    "slice": "carrier=AA",
    "state": "ALERT_STATE_FIRING",
    "rule": "null_spike",
}


def test_an_incident_keeps_its_subject_so_that_its_mails_are_a_thread() -> None:
    # The alert that comes first is another one when that is over, and the severity is the most urgent one's.
    changes = {"rule": "stale", "severity": "ticket", "slice": "carrier=AA"}
    subjects = {words(message(kind, **more)).subject for kind in OF_INCIDENTS for more in ({}, changes)}
    assert subjects == {"Incident 12: source weather_csv"}
    assert words(message(Kind.RETRAINING)).subject == "RETRAIN f@1: drift"
    assert words(message(Kind.ACTION)).subject == "ACTION f@1: restore load view weather"


def test_a_signal_names_what_to_train_on_and_offers_no_dataset_before_it_may_be_made() -> None:
    request = {
        "since": "2026-04-01T00:00:00Z",
        "until": "2026-05-01T00:00:00Z",
        "command": "featurestore monitor dataset sig_1",
    }
    facts = dict(words(message(Kind.RETRAINING, request=request)).facts)
    assert facts["train on"] == "2026-04-01 00:00 UTC to 2026-05-01 00:00 UTC"
    assert "dataset" not in facts, "the commands have it where it may be made"
    assert facts["expires"] == "2026-05-08 12:00 UTC"
    assert facts["signal"] == "sig_1"


def test_a_signal_names_the_service_that_a_reason_of_a_person_leaves_out() -> None:
    asked = {"state": "SIGNAL_STATE_APPROVED", "reason": "ada asks for it: new prices"}
    assert words(message(Kind.RETRAINING, **asked)).first == "RETRAIN: f@1, ada asks for it: new prices"
    rehearsed = asked | {"reason": "REPLAY july: ada asks for it: new prices", "replay": True}
    assert words(message(Kind.RETRAINING, **rehearsed)).first.startswith("REPLAY july: RETRAIN: f@1, ada asks")
    assert words(message(Kind.RETRAINING)).first.endswith(": f@1 drifted in temp")


def test_nothing_is_said_twice() -> None:
    command = "featurestore monitor dataset sig_1"
    said = message(Kind.RETRAINING, request={"command": command}, commands=[{"name": "dataset", "text": command}])
    assert words(said).text().count(command) == 1
    its_own = replace(said, incident="sig_1")
    assert "incident" not in dict(words(its_own).facts)


@pytest.mark.parametrize("kind", list(Kind))
def test_a_rehearsal_is_marked_in_front_once(kind: Kind) -> None:
    said = message(kind, summary="REPLAY july: f@1 drifted", reason="REPLAY july: f@1 drifted", replay=True)
    for line in (words(said).first, words(said).subject):
        assert line.startswith("REPLAY july: ")
        assert line.count("REPLAY") == 1
    bare = message(kind, summary="f@1 drifted", reason="f@1 drifted", replay=True)
    assert words(bare).first.startswith("REPLAY: ")


def test_a_storm_is_counted_and_not_listed() -> None:
    said = message(
        Kind.FIRING,
        features=[base.finding(f"feature_{number}") for number in range(100)],
        featuresLeftOut=9_900,
        members=[_MEMBER] * 20,
        membersLeftOut=80,
        reasons=[f"reason {number}" for number in range(1_000)],
    )
    lines = words(said).lines
    assert "and 9,994 more features" in lines
    assert "and 95 more alerts" in lines
    assert "and 994 more reasons" in lines
    assert len(lines) <= Limits().lines


def test_a_command_that_does_not_fit_is_left_out_as_half_of_it_is_another() -> None:
    commands = [{"name": "show", "text": "featurestore " + "x" * 400}, {"name": "ack", "text": "featurestore ack"}]
    assert words(message(Kind.FIRING, commands=commands)).commands == (("ack", "featurestore ack"),)


_TEXTS = st.text(st.characters(exclude_categories=()), max_size=80)


@given(
    st.sampled_from(list(Kind)),
    _TEXTS,
    st.lists(_TEXTS, max_size=40),
    st.integers(0, 200),
    st.integers(1, 4_000),
    st.integers(1, 30),
)
def test_no_channel_gets_more_than_it_shows_and_no_line_breaks(
    kind: Kind, text: str, reasons: list[str], line: int, most: int, lines: int
) -> None:
    limits = Limits(subject=line, first=line, line=line, lines=lines, text=most)
    said = words(message(kind, summary=text, reason=text, reasons=reasons, cause=text, rule=text, model=text), limits)
    assert len(said.text()) <= most
    assert len(said.lines) <= lines
    for one in (said.first, said.subject, *said.lines, *(value for _, value in said.facts)):
        assert len(one) <= line or one.endswith("lines more")
        assert one.isprintable()


@pytest.mark.parametrize("kind", list(Kind))
def test_a_payload_that_lacks_everything_is_said_too(kind: Kind) -> None:
    bare = Message(**{**vars(message(kind)), "payload": {}})
    assert words(bare).first


def test_numbers_that_are_none_are_said_as_they_are() -> None:
    text = finding(
        {"feature": "x", "statistic": "ks", "effect": "NaN", "effectLow": "-Infinity", "effectHigh": "Infinity"}
    )
    assert text == "x: ks nan [-inf, inf], threshold 0"
    assert evidence({"logValue": "Infinity", "logLimit": 7.5, "windows": 2}) == (
        "ln inf against a limit of ln 7.50 after 2 windows"
    )
    assert evidence({"logValue": 1.0, "logLimit": 0.0}) == ""
    assert instant("2026-05-01T12:34:56.789Z") == "2026-05-01 12:34 UTC"
    assert instant("soon") == "soon"
