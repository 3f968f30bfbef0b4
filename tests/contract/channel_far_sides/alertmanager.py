"""What Alertmanager takes, recorded; ``tests/monitor/alerts/channels/test_alertmanager.py`` asks a real one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from featurestore.settings.channels import AlertmanagerConfig
from monitor.alerts.channels.alertmanager import Alertmanager
from tests.contract.channel_far_sides.base import SETTINGS, FarSide
from tests.contract.channel_far_sides.receiving import Receiver, Reply, Request, receiving

PASSWORD = "the password of the tests"


def _reply(request: Request) -> Reply:
    if request.method == "GET" and request.path == "/prefix/api/v2/status":
        return Reply(200, {"content-type": "application/json"}, b'{"versionInfo": {"version": "0.25.0"}}')
    if request.path != "/prefix/api/v2/alerts":
        return Reply(404)
    for alert in json.loads(request.body):
        if not alert["labels"].get("alertname") or alert["endsAt"] < alert["startsAt"]:
            return Reply(400, body=b'"invalid alert"')
    return Reply(200)


@contextmanager
def recorder(**settings: Any) -> Iterator[tuple[Receiver, AlertmanagerConfig]]:
    """A receiver, and the section of a channel to it."""
    with receiving(_reply) as receiver:
        values = {
            "kind": "alertmanager",
            "url": f"{receiver.url}/prefix/",
            "user": "monitor",
            "password": PASSWORD,
            "allow_private_addresses": True,
        }
        yield receiver, AlertmanagerConfig.model_validate(values | SETTINGS | settings)


@contextmanager
def far_side(_: Path) -> Iterator[FarSide]:
    with recorder() as (receiver, section):
        yield FarSide(
            channel=Alertmanager("c", section),
            arrived=lambda: sum(one.method == "POST" for one in receiver.requests),
            received=receiver.text,
            stop=receiver.stop,
            secrets=(PASSWORD,),
            busy=lambda seconds: receiver.replies.append(Reply(503, {"retry-after": str(seconds)})),
        )
