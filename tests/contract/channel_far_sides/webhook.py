"""A webhook's receiver, which takes only what ``standardwebhooks`` verifies."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from standardwebhooks import Webhook as Verifier
from standardwebhooks import WebhookVerificationError

from featurestore.settings.channels import WebhookConfig
from monitor.alerts.channels.webhook import Webhook
from tests.contract.channel_far_sides.base import SETTINGS, FarSide
from tests.contract.channel_far_sides.receiving import Reply, Request, receiving

_SECRET = "whsec_c2VjcmV0LW9mLXRoZS10ZXN0cy1vbmx5LTEyMzQ="
_LARGEST = 262_144


@contextmanager
def far_side(_: Path) -> Iterator[FarSide]:
    verified = []

    def reply(request: Request) -> Reply:
        if request.method != "POST":
            return Reply(405)
        if len(request.body) > _LARGEST:
            return Reply(413)
        try:
            Verifier(_SECRET).verify(request.body, request.headers)
        except WebhookVerificationError:
            return Reply(401)
        verified.append(request)
        return Reply(202)

    with receiving(reply) as receiver:
        section = WebhookConfig.model_validate(
            {"kind": "webhook", "url": f"{receiver.url}/hook", "secret": _SECRET, "allow_private_addresses": True}
            | SETTINGS
        )
        yield FarSide(
            channel=Webhook("c", section),
            arrived=lambda: len(verified),
            received=receiver.text,
            stop=receiver.stop,
            secrets=(_SECRET,),
            busy=lambda seconds: receiver.replies.append(Reply(429, {"retry-after": str(seconds)})),
        )
