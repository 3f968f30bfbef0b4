"""Words as Slack's blocks: a header, the first line, what was found, what there is to know, what can be typed.

What may hold a name or a category of a user's data stands in elements that read no markup (``plain_text`` and
``rich_text``), so none of it becomes a mention, a link or a colour.
https://docs.slack.dev/reference/block-kit/blocks/rich-text-block
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from monitor.alerts.wording import Limits, Tone, Words

#: A header takes 150 letters, an emoji's name among them; a text 3,000; all blocks together about 13,000.
LIMITS = Limits(subject=120, first=600, line=300, lines=20, facts=12, commands=6)

_EMOJI: dict[Tone, str] = {
    "bad": ":red_circle:",
    "warning": ":large_orange_circle:",
    "good": ":large_green_circle:",
    "neutral": ":large_blue_circle:",
}

Block = dict[str, Any]


def blocks(said: Words) -> list[Block]:
    """Return the blocks of a message."""
    found = [
        {"type": "header", "text": {"type": "plain_text", "text": f"{_EMOJI[said.tone]} {said.title}", "emoji": True}},
        {"type": "section", "text": {"type": "plain_text", "text": said.first, "emoji": False}},
    ]
    listed: list[Block] = []
    if said.lines:
        listed.append(
            {"type": "rich_text_list", "style": "bullet", "elements": [_section(_text(one)) for one in said.lines]}
        )
    if said.facts:
        listed.append(_section(*_facts(said.facts)))
    if said.commands:
        typed = "\n".join(command for _, command in said.commands)
        listed.append({"type": "rich_text_preformatted", "elements": [_text(typed)]})
    return [*found, {"type": "rich_text", "elements": listed}] if listed else found


def escaped(text: str) -> str:
    """Return a text in which nothing is a mention or a link (https://docs.slack.dev/messaging/formatting-message-text)."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _facts(facts: Sequence[tuple[str, str]]) -> list[Block]:
    elements: list[Block] = []
    for place, (label, value) in enumerate(facts):
        start = "\n" if place else ""
        elements += [{"type": "text", "text": f"{start}{label}  ", "style": {"bold": True}}, _linked(value)]
    return elements


def _linked(value: str) -> Block:
    return {"type": "link", "url": value} if re.fullmatch(r"https?://\S+", value) else _text(value)


def _section(*elements: Block) -> Block:
    return {"type": "rich_text_section", "elements": list(elements)}


def _text(text: str) -> Block:
    return {"type": "text", "text": text}
