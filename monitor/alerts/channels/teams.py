"""Microsoft Teams: an Adaptive Card to the webhook of a workflow.

What Microsoft documents, and this relies on:

- https://learn.microsoft.com/microsoftteams/platform/webhooks-and-connectors/how-to/add-incoming-webhook: the workflow
  "When a Teams webhook request is received", its envelope, and four requests a second.
- https://learn.microsoft.com/microsoftteams/platform/webhooks-and-connectors/how-to/connectors-using: 28 KB a message.
- https://adaptivecards.io/explorer/RichTextBlock.html: its text runs read no markup, so no name or category of a
  user's data becomes a link.

A workflow answers 202 before it has posted: that the card was shown is not known. It gives back nothing by which a
later message could join an earlier one, so there are no threads and no edits. A card has no picture, as one would have
to lie where Teams can fetch it: the shares are drawn by letters.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

from featurestore.settings.channels import TeamsConfig
from monitor.alerts.base import Message, Outcome, Status
from monitor.alerts.channels.http import Address, encoded
from monitor.alerts.channels.over_http import HttpChannel
from monitor.alerts.templates import Template
from monitor.alerts.wording import Limits, Tone, Words, words

#: Bytes of a message.
LARGEST = 28_000
_LIMITS = Limits(first=600, line=240, lines=18, facts=10, commands=6)
_COLOURS: dict[Tone, str] = {"bad": "attention", "warning": "warning", "good": "good", "neutral": "accent"}
_HEADERS = {"content-type": "application/json"}


class Teams(HttpChannel):
    """POSTs a card for each message.

    Args:
        name: the channel's name in ``featurestore.toml``.
        section: its section.

    Raises:
        ConfigError: the address of the workflow is not one of HTTP.
    """

    def __init__(self, name: str, section: TeamsConfig) -> None:
        super().__init__(name, section)
        self._address = Address(section.webhook_url.get_secret_value(), f'The webhook_url of channel "{name}"')
        self._template = Template(name, section)

    def _send(self, message: Message, now: datetime) -> Outcome:
        body = card(words(message, _LIMITS, self._template))
        answer = self._client.call("POST", self._address, headers=_HEADERS, body=body)
        # The connectors that workflows replace answer 200 and say in words that Teams has refused.
        refused = re.search(rb"HTTP error (\d{3})", answer.body) if answer.ok else None
        if refused:
            return Outcome(Status.RETRY, f"{answer.where}: Teams answered {refused[1].decode()}", untaken=True)
        return answer.outcome(now)

    def _look(self, now: datetime) -> Outcome:
        # A workflow starts with any request, so that only a message can show whether its address is right.
        remark = self._client.reach(self._address, now=now)
        return Outcome(Status.DELIVERED, remark or "whether the workflow is there, only a test message tells")


def card(said: Words, largest: int = LARGEST) -> bytes:
    """Return the message of at most so many bytes; lines that do not fit are left out from the last one."""
    for kept in range(len(said.lines), -1, -1):
        lines = said.lines[:kept]
        if kept < len(said.lines):
            lines = (*lines, f"and {len(said.lines) - kept} lines more")
        body = _envelope(said, lines)
        if len(body) <= largest:
            break
    return body


def _envelope(said: Words, lines: tuple[str, ...]) -> bytes:
    body = [
        _block(_run(said.title, weight="bolder", size="large", color=_COLOURS[said.tone])),
        _block(_run(said.first)),
        *(_block(_run(line), spacing="small") for line in lines),
        *(_block(_run(f"{label}  ", weight="bolder"), _run(value), spacing="small") for label, value in said.facts),
        *(_block(_run(command, fontType="monospace"), spacing="small") for _, command in said.commands),
    ]
    content = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "fallbackText": said.first,
        "msteams": {"width": "Full"},
        "body": body,
    }
    attachment = {"contentType": "application/vnd.microsoft.card.adaptive", "contentUrl": None, "content": content}
    return encoded({"type": "message", "attachments": [attachment]})


def _block(*runs: dict[str, Any], **style: str) -> dict[str, Any]:
    return {"type": "RichTextBlock", "inlines": list(runs), **style}


def _run(text: str, **style: str) -> dict[str, Any]:
    return {"type": "TextRun", "text": text, **style}
