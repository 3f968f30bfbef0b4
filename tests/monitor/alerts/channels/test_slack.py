"""Slack, against a workspace that keeps to its documents."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from structlog.testing import capture_logs

from featurestore.errors import ConfigError
from featurestore.settings.channels import SlackConfig
from monitor.alerts.base import Kind, Message, Outcome, Status
from monitor.alerts.channels.slack import open_slack
from tests.contract.channel_far_sides.base import message
from tests.contract.channel_far_sides.receiving import Reply, Request, receiving
from tests.contract.channel_far_sides.slack import CHANNEL, workspace

_NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
_WEBHOOK = "/services/T0/B0/the-secret-of-the-tests"


def _told(section: SlackConfig, *messages: Message) -> list[Outcome]:
    channel = open_slack("ops", section)
    return [channel.deliver(one, now=_NOW) for one in messages]


def _texts(blocks: list[dict[str, Any]]) -> str:
    """Return all that people read of blocks."""
    found: list[str] = []

    def walk(value: Any) -> None:
        if isinstance(value, dict):
            found.extend(text for key, text in value.items() if key in ("text", "url") and isinstance(text, str))
            for one in value.values():
                walk(one)
        elif isinstance(value, list):
            for one in value:
                walk(one)

    walk(blocks)
    return "\n".join(found)


def test_an_incident_has_a_thread_and_its_first_message_says_how_things_stand() -> None:
    with workspace() as (slack, section):
        thread = ""
        for kind in (Kind.FIRING, Kind.ACKNOWLEDGED, Kind.RESOLVED):
            (outcome,) = _told(section, message(kind, key=f"msg_{kind}", thread=thread))
            assert outcome.status is Status.DELIVERED
            thread = outcome.reference
        first, *replies = slack.posts
        assert first["channel"] == "#alerts"
        assert "thread_ts" not in first
        assert [one["thread_ts"] for one in replies] == ["1.000100"] * 2
        assert [one["channel"] for one in replies] == [CHANNEL] * 2
        assert [ts for ts, _ in slack.edits] == ["1.000100"] * 2
        assert "PAGE 12" in _texts(first["blocks"])
        assert "RESOLVED 12" in _texts(slack.edits[-1][1]["blocks"])
        assert thread == f"{CHANNEL}:1.000100"


def test_a_message_shows_what_people_need_and_carries_its_key() -> None:
    with workspace() as (slack, section):
        _told(section, message(Kind.FIRING))
        (post,) = slack.posts
        shown = _texts(post["blocks"])
        for text in ("null spike", "temp: KS 0.71", "Fix the pipeline.", "featurestore monitor ack 12"):
            assert text in shown
        assert {"type": "link", "url": "https://runbooks.example.com/weather"} in post["blocks"][-1]["elements"][1][
            "elements"
        ]
        assert post["text"].startswith("PAGE 12")
        assert post["metadata"]["event_payload"] == {"key": "msg_1"}
        assert (post["unfurl_links"], post["unfurl_media"]) == (False, False)


def test_no_name_becomes_a_mention_or_a_link() -> None:
    with workspace() as (slack, section):
        _told(section, message(Kind.FIRING, summary="<!channel> & <https://evil.example|here>"))
        (post,) = slack.posts
        assert "&lt;!channel&gt; &amp; &lt;https://evil.example|here&gt;" in post["text"]
        assert {one["text"]["type"] for one in post["blocks"] if "text" in one} == {"plain_text"}


def test_the_plot_goes_into_the_thread_of_the_first_message() -> None:
    with workspace() as (slack, section):
        first = _told(section, message(Kind.FIRING))[0]
        _told(section, message(Kind.RESOLVED, key="msg_2", thread=first.reference))
        ((thread, picture),) = slack.files
        assert thread == "1.000100"
        assert picture.startswith(b"\x89PNG")


@pytest.mark.parametrize("method", ["files.getUploadURLExternal", "files.completeUploadExternal"])
def test_a_message_does_not_fail_by_its_picture(method: str) -> None:
    with workspace() as (slack, section), capture_logs() as logs:
        slack.errors[method] = ["missing_scope"]
        (outcome,) = _told(section, message(Kind.FIRING))
        assert (outcome.status, len(slack.posts), slack.files) == (Status.DELIVERED, 1, [])
        (entry,) = logs
        assert (entry["event"], entry["channel"]) == ("delivered without its picture", "ops")
        assert "missing_scope files:write; add the scope" in entry["reason"]


@pytest.mark.parametrize("change", ["ALERT_CHANGE_REPEATED", "ALERT_CHANGE_ESCALATED", "ALERT_CHANGE_ALERT_ADDED"])
def test_a_repetition_and_an_escalation_are_seen_outside_of_the_thread_too(change: str) -> None:
    with workspace() as (slack, section):
        _told(section, message(Kind.UPDATED, thread=f"{CHANNEL}:1.000100", change=change))
        assert slack.posts[0]["reply_broadcast"] is (change != "ALERT_CHANGE_ALERT_ADDED")


@pytest.mark.parametrize("error", ["message_not_found", "edit_window_closed", "cant_update_message"])
def test_a_first_message_that_cannot_be_edited_stops_nothing(error: str) -> None:
    with workspace() as (slack, section):
        slack.errors["chat.update"] = [error]
        (outcome,) = _told(section, message(Kind.RESOLVED, thread=f"{CHANNEL}:1.000100"))
        assert (outcome.status, len(slack.posts)) == (Status.DELIVERED, 1)


def test_a_busy_edit_is_tried_again_before_anything_is_posted() -> None:
    with workspace() as (slack, section):
        slack.receiver.replies.append(Reply(429, {"retry-after": "30"}))
        (outcome,) = _told(section, message(Kind.RESOLVED, thread=f"{CHANNEL}:1.000100"))
        assert (outcome.status, outcome.retry_after, slack.posts) == (Status.RETRY, 30.0, [])


def test_an_incident_that_began_in_a_channel_of_before_goes_on_in_the_present_one() -> None:
    with workspace() as (slack, section):
        slack.errors["chat.postMessage"] = ["channel_not_found"]
        (outcome,) = _told(section, message(Kind.RESOLVED, thread="C0OLD:1.000100"))
        (post,) = slack.posts
        assert (post["channel"], "thread_ts" in post) == ("#alerts", False)
        assert outcome.reference == f"{CHANNEL}:1.000100"


def test_a_reference_of_another_kind_of_channel_is_none() -> None:
    with workspace() as (slack, section):
        (outcome,) = _told(section, message(Kind.RESOLVED, thread='{"alertname": "FeatureStoreIncident"}'))
        assert (outcome.status, slack.edits, len(slack.posts)) == (Status.DELIVERED, [], 1)


def test_a_thread_that_was_deleted_leaves_the_message_to_the_channel() -> None:
    with workspace() as (slack, section):
        slack.errors["chat.update"] = ["message_not_found"]
        slack.errors["chat.postMessage"] = ["thread_not_found"]
        (outcome,) = _told(section, message(Kind.RESOLVED, thread=f"{CHANNEL}:9.000100"))
        (post,) = slack.posts
        assert "thread_ts" not in post
        assert outcome.reference == f"{CHANNEL}:1.000100"


@pytest.mark.parametrize(
    ("error", "status", "untaken", "said"),
    [
        ("msg_too_long", Status.REFUSED, False, "msg_too_long"),
        ("invalid_blocks", Status.REFUSED, False, "invalid_blocks"),
        ("is_archived", Status.GONE, False, "is_archived"),
        ("account_inactive", Status.GONE, False, "account_inactive"),
        ("token_revoked", Status.GONE, False, "token_revoked"),
        ("channel_not_found", Status.RETRY, True, "invite the bot"),
        ("not_in_channel", Status.RETRY, True, "invite the bot"),
        ("invalid_auth", Status.RETRY, True, "check the token"),
        ("missing_scope", Status.RETRY, True, "files:write; add the scope"),
        ("ratelimited", Status.RETRY, True, "ratelimited"),
        ("internal_error", Status.RETRY, False, "internal_error"),
        ("an_error_of_tomorrow", Status.RETRY, True, "an_error_of_tomorrow"),
    ],
)
def test_what_an_error_means(error: str, status: Status, untaken: bool, said: str) -> None:
    with workspace() as (slack, section):
        slack.errors["chat.postMessage"] = [error]
        (outcome,) = _told(section, message(Kind.FIRING))
        assert (outcome.status, outcome.untaken) == (status, untaken)
        assert said in outcome.reason


def test_an_answer_that_is_not_of_slack_is_told_without_its_text() -> None:
    with workspace() as (slack, section):
        slack.receiver.replies += [
            Reply(200, body=b"<html>xoxb-echo</html>"),
            Reply(200, body=b'{"error": "xoxb-Echo!"}'),
        ]
        for outcome in _told(section, message(Kind.FIRING), message(Kind.FIRING)):
            assert outcome.status is Status.RETRY
            assert "what is not of Slack" in outcome.reason
            assert "xoxb" not in outcome.reason


@pytest.mark.parametrize(
    ("scopes", "channel", "status", "said"),
    [
        ("chat:write,files:write", "#alerts", Status.DELIVERED, ""),
        ("chat:write", "#alerts", Status.DELIVERED, "files:write"),
        ("files:write", "#alerts", Status.RETRY, "chat:write"),
        ("chat:write,channels:read", CHANNEL, Status.RETRY, "not in channel"),
        ("chat:write,channels:read,chat:write.public,files:write", CHANNEL, Status.DELIVERED, ""),
    ],
)
def test_a_probe_asks_what_the_token_may_do(scopes: str, channel: str, status: Status, said: str) -> None:
    with workspace(channel=channel) as (slack, section):
        slack.scopes = scopes
        outcome = open_slack("ops", section).probe(now=_NOW)
        assert outcome.status is status
        assert said in outcome.reason


def test_a_probe_finds_a_token_that_slack_does_not_know() -> None:
    with workspace(token="xoxb-another") as (_, section):
        outcome = open_slack("ops", section).probe(now=_NOW)
        assert (outcome.status, outcome.reason) == (Status.RETRY, "Slack refuses it: invalid_auth; check the token")


def _incoming(request: Request) -> Reply:
    if request.path != _WEBHOOK:
        return Reply(404, body=b"no_service")
    return Reply(200, body=b"ok") if b'"blocks"' in request.body else Reply(400, body=b"no_text")


def _webhook(url: str) -> SlackConfig:
    return SlackConfig.model_validate({"kind": "slack", "webhook_url": url, "allow_private_addresses": True})


def test_an_incoming_webhook_posts_and_no_more() -> None:
    with receiving(_incoming) as receiver:
        channel = open_slack("ops", _webhook(receiver.url + _WEBHOOK))
        assert channel.probe(now=_NOW).status is Status.DELIVERED
        outcome = channel.deliver(message(Kind.FIRING), now=_NOW)
        assert outcome == Outcome(Status.DELIVERED)
        assert len(receiver.requests) == 2


def test_a_webhook_that_was_removed_is_found_without_a_word_of_its_address() -> None:
    with receiving(_incoming) as receiver:
        outcome = open_slack("ops", _webhook(receiver.url + _WEBHOOK + "x")).probe(now=_NOW)
        assert outcome.status is Status.RETRY
        assert outcome.reason == f"{receiver.url} answered 404: no_service"
        assert "secret" not in outcome.reason


@pytest.mark.parametrize(
    ("reply", "status", "wait"),
    [
        (Reply(400, body=b"invalid_payload"), Status.REFUSED, None),
        (Reply(410, body=b"channel_is_archived"), Status.GONE, None),
        (Reply(403, body=b"action_prohibited"), Status.RETRY, None),
        (Reply(429, {"retry-after": "7"}), Status.RETRY, 7.0),
        (Reply(500, body=b"rollup_error"), Status.RETRY, None),
    ],
)
def test_what_an_incoming_webhook_may_answer(reply: Reply, status: Status, wait: float | None) -> None:
    with receiving(lambda _: reply) as receiver:
        outcome = open_slack("ops", _webhook(receiver.url)).deliver(message(Kind.FIRING), now=_NOW)
        assert (outcome.status, outcome.retry_after) == (status, wait)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({}, "neither a token nor a webhook_url"),
        ({"token": "xoxb-1", "webhook_url": "https://hooks.slack.com/x", "channel": "#a"}, "both a token"),
        ({"token": "hunter2", "channel": "#a"}, "none of Slack"),
        ({"token": "xoxb-1"}, "which channel"),
        ({"token": "xoxb-1", "channel": "#a", "api_url": "slack.com"}, "api_url"),
        ({"webhook_url": "hunter2"}, "webhook_url"),
        ({"token": "xoxb-1", "channel": "#a", "template": "{nothing}"}, "nothing"),
    ],
)
def test_settings_that_cannot_be_right_are_refused(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said) as raised:
        open_slack("ops", SlackConfig.model_validate({"kind": "slack"} | settings))
    assert raised.value.hint
    assert "hunter2" not in str(raised.value)
