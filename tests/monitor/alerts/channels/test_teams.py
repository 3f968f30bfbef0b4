"""Microsoft Teams: a card that fits, and in which no name becomes a link."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from featurestore.errors import ConfigError
from featurestore.settings.channels import TeamsConfig
from monitor.alerts.base import Kind, Status
from monitor.alerts.channels.teams import LARGEST, Teams, card
from monitor.alerts.wording import Words
from tests.contract.channel_far_sides.base import message
from tests.contract.channel_far_sides.receiving import Reply
from tests.contract.channel_far_sides.teams import workflow

_NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)


def _card(body: bytes) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(body)["attachments"][0]["content"]
    return content


def test_a_card_says_what_people_need() -> None:
    with workflow() as (receiver, section):
        assert Teams("ops", section).deliver(message(Kind.FIRING), now=_NOW).status is Status.DELIVERED
        content = _card(receiver.requests[0].body)
        shown = json.dumps(content, ensure_ascii=False)
        for text in ("PAGE 12", "temp: KS 0.71", "Fix the pipeline.", "featurestore monitor ack 12", "█"):
            assert text in shown
        title = content["body"][0]["inlines"][0]
        assert (title["text"], title["color"]) == ("PAGE 12", "attention")
        assert content["fallbackText"].startswith("PAGE 12")


def test_what_may_hold_a_name_stands_where_no_markup_is_read() -> None:
    with workflow() as (receiver, section):
        Teams("ops", section).deliver(message(Kind.FIRING, summary="[x](https://evil.example)"), now=_NOW)
        content = _card(receiver.requests[0].body)
        assert {one["type"] for one in content["body"]} == {"RichTextBlock"}
        assert {run["type"] for one in content["body"] for run in one["inlines"]} == {"TextRun"}


_text = st.text(max_size=400)


@given(
    st.builds(
        Words,
        title=_text,
        tone=st.sampled_from(["bad", "warning", "good", "neutral"]),
        subject=_text,
        first=_text,
        lines=st.lists(st.text(max_size=2_000), max_size=60).map(tuple),
        facts=st.lists(st.tuples(_text, _text), max_size=6).map(tuple),
        commands=st.lists(st.tuples(_text, _text), max_size=3).map(tuple),
    )
)
def test_a_card_fits_and_says_how_much_it_leaves_out(said: Words) -> None:
    body = card(said)
    assert len(body) <= LARGEST
    runs = [run["text"] for one in _card(body)["body"] for run in one["inlines"]]
    left_out = [one for one in runs if one.startswith("and ") and one.endswith(" lines more")]
    if len(runs) < 2 + len(said.lines) + 2 * len(said.facts) + len(said.commands):
        assert left_out


def test_a_large_card_keeps_what_to_do() -> None:
    said = Words(
        title="PAGE 12",
        tone="bad",
        subject="",
        first="first",
        lines=("\N{FIRE}" * 400,) * 60,
        facts=(("do", "Fix it."),),
        commands=(("acknowledge", "featurestore monitor ack 12"),),
    )
    shown = json.dumps(_card(card(said)))
    assert "Fix it." in shown
    assert "featurestore monitor ack 12" in shown
    assert "lines more" in shown


def test_a_connector_that_says_in_words_that_teams_refused_is_not_believed_to_have_delivered() -> None:
    with workflow() as (receiver, section):
        receiver.replies.append(Reply(200, body=b"Microsoft Teams endpoint returned HTTP error 429 with ContextId x"))
        outcome = Teams("ops", section).deliver(message(Kind.FIRING), now=_NOW)
        assert (outcome.status, outcome.untaken) == (Status.RETRY, True)
        assert "Teams answered 429" in outcome.reason


def test_a_probe_says_what_only_a_test_message_can_tell() -> None:
    with workflow() as (receiver, section):
        outcome = Teams("ops", section).probe(now=_NOW)
        assert outcome.status is Status.DELIVERED
        assert "test message" in outcome.reason
        assert receiver.requests == []


def test_an_address_that_is_none_is_refused_and_not_shown() -> None:
    with pytest.raises(ConfigError, match="webhook_url") as raised:
        Teams("ops", TeamsConfig.model_validate({"kind": "teams", "webhook_url": "hunter2"}))
    assert "hunter2" not in str(raised.value)
