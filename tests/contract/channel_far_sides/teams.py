"""A workflow of Microsoft Teams: it takes Adaptive Cards of at most 28 KB, and says so before it posts them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from featurestore.settings.channels import TeamsConfig
from monitor.alerts.channels.teams import Teams
from tests.contract.channel_far_sides.base import SETTINGS, FarSide
from tests.contract.channel_far_sides.receiving import Receiver, Reply, Request, receiving

SIGNATURE = "sig-of-the-tests"


def _reply(request: Request) -> Reply:
    if request.method != "POST" or f"sig={SIGNATURE}" not in request.path:
        return Reply(401)
    if len(request.body) > 28 * 1024:
        return Reply(413)
    sent = json.loads(request.body)
    (attachment,) = sent["attachments"]
    content = attachment["content"]
    known = attachment["contentType"] == "application/vnd.microsoft.card.adaptive" and content["type"] == "AdaptiveCard"
    return Reply(202 if sent["type"] == "message" and known and content["body"] else 400)


@contextmanager
def workflow(**settings: Any) -> Iterator[tuple[Receiver, TeamsConfig]]:
    """A workflow, and the section of a channel to it."""
    with receiving(_reply) as receiver:
        url = f"{receiver.url}/workflows/1/triggers/manual/paths/invoke?api-version=1&sig={SIGNATURE}"
        values = {"kind": "teams", "webhook_url": url, "allow_private_addresses": True}
        yield receiver, TeamsConfig.model_validate(values | SETTINGS | settings)


@contextmanager
def far_side(_: Path) -> Iterator[FarSide]:
    with workflow() as (receiver, section):
        yield FarSide(
            channel=Teams("c", section),
            arrived=lambda: len(receiver.requests),
            received=receiver.text,
            stop=receiver.stop,
            secrets=(SIGNATURE,),
            busy=lambda seconds: receiver.replies.append(Reply(429, {"retry-after": str(seconds)})),
        )
