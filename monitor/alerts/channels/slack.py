"""Slack: a bot that posts, answers in a thread and edits what it posted; or an incoming webhook, which only posts.

What Slack documents, and this relies on:

- Methods answer 200 with ``ok`` and an ``error`` that is a word, and 429 with Retry-After:
  https://docs.slack.dev/apis/web-api/rate-limits
- ``chat.postMessage``, ``chat.update`` (which wants the channel's id, as the answer to a post gives it):
  https://docs.slack.dev/reference/methods/chat.postMessage, https://docs.slack.dev/reference/methods/chat.update
- A file goes up in three calls, the second of which is a POST of its bytes:
  https://docs.slack.dev/reference/methods/files.getUploadURLExternal,
  https://docs.slack.dev/reference/methods/files.completeUploadExternal
- At most 50 blocks a message, a header of 150 letters, a text of 3,000:
  https://docs.slack.dev/reference/block-kit/blocks. ``text`` is best under 4,000 letters.
- Incoming webhooks answer in plain words: https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks

No method takes an idempotency key: a post whose answer is lost is posted again. Each carries the message's key as
metadata, so that who reads the channel by program can tell.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

import structlog

from featurestore.errors import ConfigError
from featurestore.settings.channels import SlackConfig
from monitor.alerts import plot
from monitor.alerts.base import Kind, Message, Outcome, Status
from monitor.alerts.channels.addresses import UnreachableError
from monitor.alerts.channels.http import Address, Answer, encoded
from monitor.alerts.channels.over_http import HttpChannel
from monitor.alerts.channels.slack_blocks import LIMITS, blocks, escaped
from monitor.alerts.templates import Template
from monitor.alerts.wording import words

#: Errors that are of this message, and stay.
_OF_THE_MESSAGE = frozenset(
    {
        "invalid_blocks",
        "invalid_blocks_format",
        "invalid_payload",
        "markdown_text_conflict",
        "metadata_too_large",
        "msg_blocks_too_long",
        "msg_too_long",
        "no_text",
        "too_many_attachments",
    }
)
#: Errors by which somebody says that nothing more is wanted here: the rest may be mended, and is tried again.
_TAKEN_AWAY = frozenset({"account_inactive", "channel_is_archived", "is_archived", "token_revoked"})
#: Errors of a place that an incident has begun in: settings may have moved since, to where the rest of it goes.
_MOVED = frozenset({"channel_not_found", "is_archived", "not_in_channel"})
#: Errors of an edit that leave the post to be made.
_NOT_EDITABLE = _MOVED | {"cant_update_message", "edit_window_closed", "message_not_found"}
#: Errors of an answer whose thread is not there any more.
_NO_THREAD = _MOVED | {"cannot_reply_to_message", "invalid_thread_ts", "message_not_found", "thread_not_found"}
_TO_DO = {
    "channel_not_found": "check the channel's id, and invite the bot to a private channel",
    "invalid_auth": "check the token",
    "invalid_token": "check the address of the webhook",
    "missing_scope": "add the scope to the app and install it again",
    "no_service": "the webhook was removed, or its address is wrong",
    "not_in_channel": "invite the bot to the channel",
}
#: Changes of an incident that those who do not follow the thread are to see too.
_BROADCAST = frozenset({"ALERT_CHANGE_REPEATED", "ALERT_CHANGE_ESCALATED"})

_log = structlog.get_logger("monitor.slack")


def open_slack(name: str, section: SlackConfig) -> HttpChannel:
    """Return the bot or the webhook of a section.

    Raises:
        ConfigError: it has neither a token nor the address of a webhook, or both; or one cannot be right.
    """
    token, webhook = section.token.get_secret_value(), section.webhook_url.get_secret_value()
    if bool(token) == bool(webhook):
        said = "both a token and a webhook_url" if token else "neither a token nor a webhook_url"
        raise ConfigError(
            f'Channel "{name}" has {said}.',
            hint="A bot's token and channel allow threads and edits; a webhook_url of an incoming webhook only posts.",
        )
    return Bot(name, section) if token else IncomingWebhook(name, section)


class Bot(HttpChannel):
    """Posts by ``chat.postMessage``; what follows a first message goes into its thread, and into the message itself.

    The first message thus always says how things stand, and the thread how they came there.

    Args:
        name: the channel's name in ``featurestore.toml``.
        section: its section, with a token.

    Raises:
        ConfigError: the token is none of Slack's, or no channel of Slack is named.
    """

    def __init__(self, name: str, section: SlackConfig) -> None:
        super().__init__(name, section)
        token = section.token.get_secret_value()
        if not re.fullmatch(r"xox[a-z]?[.-][\x21-\x7e]+", token):
            raise ConfigError(
                f'The token of channel "{name}" is none of Slack.', hint="A bot's token begins with xoxb-."
            )
        if not section.channel:
            raise ConfigError(
                f'Channel "{name}" does not say which channel of Slack.',
                hint='Write channel = "C0123456789": the id stands at the end of the channel\'s details.',
            )
        self._api = Address(section.api_url, f'The api_url of channel "{name}"')
        self._headers = {"authorization": f"Bearer {token}", "content-type": "application/json; charset=utf-8"}
        self._channel = section.channel
        self._template = Template(name, section)

    def _send(self, message: Message, now: datetime) -> Outcome:
        said = words(message, LIMITS, self._template)
        shown = {"text": escaped(said.first), "blocks": blocks(said)}
        began = re.fullmatch(r"([A-Z0-9]+):([0-9.]+)", message.thread)
        place, first = began.groups() if began else ("", "")
        if first:
            # The edit comes first, as it may be repeated; the post is the last step that is, so it is not made twice.
            edited, error, _ = self._call("chat.update", {"channel": place, "ts": first, **shown}, now)
            if edited.status in (Status.RETRY, Status.GONE) and error not in _NOT_EDITABLE:
                return edited
        post = {
            "channel": place or self._channel,
            "unfurl_links": False,
            "unfurl_media": False,
            "metadata": {"event_type": "featurestore_message", "event_payload": {"key": message.key}},
            **shown,
        }
        in_thread = {"thread_ts": first, "reply_broadcast": message.payload.get("change") in _BROADCAST}
        outcome, error, fields = self._call("chat.postMessage", post | (in_thread if first else {}), now)
        if first and error in _NO_THREAD:
            first = ""
            outcome, _, fields = self._call("chat.postMessage", post | {"channel": self._channel}, now)
        if outcome.status is not Status.DELIVERED:
            return outcome
        channel, posted = str(fields.get("channel", "")), str(fields.get("ts", ""))
        if message.kind in (Kind.FIRING, Kind.RETRAINING):
            self._illustrate(message, channel, first or posted, now)
        return Outcome(Status.DELIVERED, reference=message.thread if first else f"{channel}:{posted}")

    def _illustrate(self, message: Message, channel: str, thread: str, now: datetime) -> None:
        """Add a picture to the thread, if there is one; a message that people have does not fail by its picture."""
        picture = plot.png(message.payload)
        if picture is None:
            return
        caption = plot.caption(message.payload)
        asked = {"filename": "before-and-now.png", "length": len(picture), "alt_txt": caption}
        try:
            outcome, _, fields = self._call("files.getUploadURLExternal", asked, now, form=True)
            if outcome.status is Status.DELIVERED:
                # Without our token: it is an address that an answer named.
                up = Address(str(fields.get("upload_url", "")), "Slack's address for the picture")
                octets = {"content-type": "application/octet-stream"}
                outcome = self._client.call("POST", up, headers=octets, body=picture).outcome(now)
            if outcome.status is Status.DELIVERED:
                file = {"id": str(fields.get("file_id", "")), "title": caption}
                ended = {"files": [file], "channel_id": channel, "thread_ts": thread}
                outcome, _, _ = self._call("files.completeUploadExternal", ended, now)
            reason = outcome.reason
        except UnreachableError as error:
            reason = error.reason
        except ConfigError as error:
            reason = error.message
        if reason:
            _log.warning("delivered without its picture", channel=self.name, key=message.key, reason=reason)

    def _look(self, now: datetime) -> Outcome:
        remark = self._client.reach(self._api, now=now)
        answer = self._client.call("POST", self._api, below="/auth.test", headers=self._headers, body=b"{}")
        outcome, _, _ = _judged(answer, now)
        if outcome.status is not Status.DELIVERED:
            return outcome
        scopes = {one.strip() for one in answer.headers.get("x-oauth-scopes", "").split(",")} - {""}
        if scopes and "chat:write" not in scopes:
            return Outcome(
                Status.RETRY, "the token lacks the scope chat:write; add it to the app, and install it again"
            )
        if re.fullmatch(r"[CG][A-Z0-9]{6,}", self._channel) and "channels:read" in scopes:
            outcome, _, fields = self._call("conversations.info", {"channel": self._channel}, now, form=True)
            if outcome.status is not Status.DELIVERED:
                return outcome
            found = fields.get("channel") or {}
            if found.get("is_archived"):
                return Outcome(Status.GONE, f"channel {self._channel} of Slack is archived")
            if found.get("is_member") is False and "chat:write.public" not in scopes:
                return Outcome(Status.RETRY, f"the bot is not in channel {self._channel}; invite it")
        if scopes and "files:write" not in scopes:
            remark = remark or "the token lacks the scope files:write: messages go without their picture"
        return Outcome(Status.DELIVERED, remark)

    def _call(
        self, method: str, fields: Mapping[str, Any], now: datetime, *, form: bool = False
    ) -> tuple[Outcome, str, dict[str, Any]]:
        headers, body = self._headers, encoded(fields)
        if form:  # methods that read no JSON
            headers, body = {**headers, "content-type": "application/x-www-form-urlencoded"}, urlencode(fields).encode()
        return _judged(self._client.call("POST", self._api, below=f"/{method}", headers=headers, body=body), now)


class IncomingWebhook(HttpChannel):
    """Posts by an incoming webhook: no thread, no edit, no picture, and a channel that Slack has settled.

    Args:
        name: the channel's name in ``featurestore.toml``.
        section: its section, with the address of a webhook.

    Raises:
        ConfigError: the address is not one of HTTP.
    """

    def __init__(self, name: str, section: SlackConfig) -> None:
        super().__init__(name, section)
        self._address = Address(section.webhook_url.get_secret_value(), f'The webhook_url of channel "{name}"')
        self._template = Template(name, section)

    def _send(self, message: Message, now: datetime) -> Outcome:
        said = words(message, LIMITS, self._template)
        return self._post({"text": escaped(said.first), "blocks": blocks(said)}, now)[0]

    def _look(self, now: datetime) -> Outcome:
        remark = self._client.reach(self._address, now=now)
        # A webhook that is there refuses a message without text, so that nobody sees anything.
        outcome, error = self._post({}, now)
        return Outcome(Status.DELIVERED, remark) if error in ("no_text", "invalid_payload") else outcome

    def _post(self, fields: Mapping[str, Any], now: datetime) -> tuple[Outcome, str]:
        headers = {"content-type": "application/json; charset=utf-8"}
        answer = self._client.call("POST", self._address, headers=headers, body=encoded(fields))
        if answer.ok:
            return Outcome(Status.DELIVERED), ""
        error = _word(answer.body.decode("utf-8", "replace").strip())
        outcome = _refused(error) if error else answer.outcome(now)
        return (answer.outcome(now, error) if outcome.status is Status.RETRY else outcome), error


def _judged(answer: Answer, now: datetime) -> tuple[Outcome, str, dict[str, Any]]:
    """Return what a method's answer means, its error, and its fields."""
    if not answer.ok:
        return answer.outcome(now), "", {}
    fields = answer.fields()
    if fields.get("ok") is True:
        return Outcome(Status.DELIVERED), "", fields
    error = _word(fields.get("error"))
    if not error:
        return Outcome(Status.RETRY, f"{answer.where} answered what is not of Slack"), "", {}
    outcome = _refused(error, needed=_word(fields.get("needed")))
    wait = answer.retry_after(now) if outcome.status is Status.RETRY else None
    return Outcome(outcome.status, outcome.reason, wait, untaken=outcome.untaken), error, fields


def _refused(error: str, needed: str = "") -> Outcome:
    reason = f"Slack refuses it: {error}" + (f" {needed}" if needed else "")
    if error in _OF_THE_MESSAGE:
        return Outcome(Status.REFUSED, reason)
    if error in _TAKEN_AWAY:
        return Outcome(Status.GONE, reason)
    reason += f"; {_TO_DO[error]}" if error in _TO_DO else ""
    # Of these Slack says that something has gone wrong, and not what.
    uncertain = error in ("fatal_error", "internal_error", "request_timeout", "service_unavailable")
    return Outcome(Status.RETRY, reason, untaken=not uncertain)


def _word(found: Any) -> str:
    """Return an error as Slack names them; "" for any other text, which may hold what it was sent."""
    return found if isinstance(found, str) and re.fullmatch(r"[a-z][a-z0-9_:.,]{1,63}", found) else ""
