"""A service that Apprise writes to: its JSON."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from featurestore.settings.channels import AppriseConfig
from monitor.alerts.channels.apprise import Apprise
from tests.contract.channel_far_sides.base import SETTINGS, FarSide
from tests.contract.channel_far_sides.receiving import Reply, receiving

PASSWORD = "the-password-of-the-tests"


@contextmanager
def far_side(_: Path) -> Iterator[FarSide]:
    with receiving(lambda _: Reply(200)) as receiver:
        url = receiver.url.replace("http://", f"json://monitor:{PASSWORD}@") + "/alerts"
        section = AppriseConfig.model_validate(
            {"kind": "apprise", "service_url": url, "allow_private_addresses": True} | SETTINGS
        )
        yield FarSide(
            channel=Apprise("c", section),
            arrived=lambda: len(receiver.requests),
            received=receiver.text,
            stop=receiver.stop,
            secrets=(PASSWORD,),
        )
