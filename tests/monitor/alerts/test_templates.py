"""Texts that users write, and the mistakes in them."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from featurestore.errors import ConfigError
from featurestore.settings.channels import ConsoleConfig
from monitor.alerts.base import Kind, Message
from monitor.alerts.templates import NAMES
from monitor.alerts.wording import Limits, Template, values, words
from tests.contract.channel_far_sides.base import finding, message


def _template(body: str = "", subject: str = "") -> Template:
    return Template("ops", ConsoleConfig(template=body, subject_template=subject))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{sumary}", 'has an unknown name "sumary"'),
        ("{summary", "cannot be read: expected '}'"),
        ("a } b", "cannot be read: Single '}'"),
        ("{}", 'has an unknown name ""'),
        ("{0}", 'has an unknown name "0"'),
        ("{summary.__class__}", 'has an unknown name "summary.__class__"'),
        ("{summary[0]}", r'has an unknown name "summary\[0\]"'),
        ("{summary:>1000000000}", '"summary" takes no format'),
        ("{summary!r}", '"summary" takes no format'),
    ],
)
def test_a_mistake_is_found_when_the_channel_is_opened(text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=rf'"channels\.ops\.template".*{said}'):
        _template(text)
    with pytest.raises(ConfigError, match=r'"channels\.ops\.subject_template"'):
        _template(subject=text)


def test_a_name_that_is_nearly_one_is_hinted_at() -> None:
    with pytest.raises(ConfigError) as raised:
        _template("{sumary}")
    assert "summary" in raised.value.hint


def test_the_document_lists_every_name_and_no_other() -> None:
    document = Path(__file__).parents[3] / "docs" / "messages.md"
    assert set(re.findall(r"^\| `\{(\w+)\}` \|", document.read_text("utf-8"), re.MULTILINE)) == NAMES


def test_the_document_shows_what_is_written() -> None:
    document = (Path(__file__).parents[3] / "docs" / "messages.md").read_text("utf-8")
    shown = re.search(r"```text\n(.*?)\n```", document, re.DOTALL)
    assert shown is not None
    summary = "flight_delay@1, null spike: temp is missing in 40 % of the rows; fix source weather_csv"
    said = message(Kind.FIRING, summary=summary, features=[finding() | {"currentMean": 61.5}])
    assert shown[1] == words(said).text()


@pytest.mark.parametrize("kind", list(Kind))
def test_every_name_has_a_value_in_every_kind_of_message(kind: Kind) -> None:
    for said in (message(kind), Message(**{**vars(message(kind)), "payload": {}})):
        found = values(said, words(said))
        assert set(found) == NAMES
        assert all(isinstance(value, str) for value in found.values())


def test_a_template_takes_the_place_of_our_text_and_braces_are_written_twice() -> None:
    template = _template(
        "{severity} {name} of {service} {{{rule}}}\nsince {since}\n\n{commands}", "On {service}: {title}"
    )
    said = words(message(Kind.FIRING), None, template)
    assert said.subject == "On f@1: PAGE 12"
    assert said.first == "page 12 of f@1 {null spike}"
    assert said.lines == ("since 2026-05-01 11:00 UTC", "", "acknowledge  featurestore monitor ack 12")
    assert (said.facts, said.commands) == ((), ())
    assert said.text().splitlines()[:2] == ["page 12 of f@1 {null spike}", "  since 2026-05-01 11:00 UTC"]


def test_one_alone_leaves_the_other_as_it_is() -> None:
    plain = words(message(Kind.FIRING))
    assert words(message(Kind.FIRING), None, _template()) == plain
    assert words(message(Kind.FIRING), None, _template(subject="x")).text() == plain.text()
    assert words(message(Kind.FIRING), None, _template("x")).subject == plain.subject


def test_a_rehearsal_is_marked_whatever_the_template_says() -> None:
    said = message(Kind.FIRING, summary="REPLAY july: f@1 drifted", replay=True)
    written = words(said, None, _template("all is well", "nothing"))
    assert written.first == "REPLAY july: all is well"
    assert written.subject == "REPLAY july: nothing"
    once = words(said, None, _template("{first}", "{subject}"))
    assert once.first.count("REPLAY") == once.subject.count("REPLAY") == 1


def test_a_value_is_no_template_and_no_line_of_its_own() -> None:
    said = message(Kind.FIRING, summary="{service}\r\nBcc: x", cause="a\nb")
    written = words(said, None, _template("{summary}|{cause}"))
    assert written.text() == "{service} Bcc: x|a b"


def test_a_template_is_cut_to_what_the_channel_shows() -> None:
    written = words(message(Kind.FIRING), Limits(first=20, text=60), _template("{first}\n" * 50))
    assert len(written.first) <= 20
    assert len(written.text()) <= 60


def test_a_message_of_long_ago_fills_a_template() -> None:
    old = Message(
        key="m",
        kind=Kind.FIRING,
        project="p",
        service="f@1",
        incident="abc",
        created_at=datetime(2026, 5, 1, tzinfo=UTC),
        payload={"summary": "f@1 drifted", "onset": None, "evidence": None},
    )
    assert words(old, None, _template("{summary}{since}{evidence}{name}.")).first == "f@1 drifted."
