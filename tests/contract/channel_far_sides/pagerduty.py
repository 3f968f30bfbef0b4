"""PagerDuty's Events API v2: alerts by their deduplication key, and change events."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from featurestore.settings.channels import PagerDutyConfig
from monitor.alerts.channels.pagerduty import PagerDuty
from tests.contract.channel_far_sides.base import SETTINGS, FarSide
from tests.contract.channel_far_sides.receiving import Receiver, Reply, Request, receiving

KEY = "0123456789abcdef0123456789abcdef"
_SEVERITIES = ("critical", "error", "warning", "info")


@dataclass
class Service:
    """A service of PagerDuty with one integration.

    Attributes:
        receiver: what speaks HTTP.
        states: of each alert, by its deduplication key: triggered, acknowledged, resolved.
        events: what changed an alert, or could have.
        changes: change events.
    """

    receiver: Receiver = field(default_factory=Receiver)
    states: dict[str, str] = field(default_factory=dict)
    events: list[dict[str, Any]] = field(default_factory=list)
    changes: list[dict[str, Any]] = field(default_factory=list)

    def reply(self, request: Request) -> Reply:
        if len(request.body) > 512_000:
            return Reply(413)
        event = json.loads(request.body)
        if event.get("routing_key") != KEY:
            return _refusal("Invalid routing key")
        if request.path == "/v2/change/enqueue":
            if not {"summary"} <= event["payload"].keys() <= {"summary", "source", "timestamp", "custom_details"}:
                return _refusal("'payload' is invalid")
            self.changes.append(event)
            return Reply(202, body=b'{"status": "success"}')
        if request.path != "/v2/enqueue":
            return Reply(404)
        return self._event(event)

    def _event(self, event: dict[str, Any]) -> Reply:
        action, key = event["event_action"], event["dedup_key"]
        if not 0 < len(key) <= 255:
            return _refusal("'dedup_key' is invalid")
        if action == "trigger":
            payload = event["payload"]
            if not payload["summary"] or len(payload["summary"]) > 1_024 or payload["severity"] not in _SEVERITIES:
                return _refusal("'payload' is invalid")
            if not payload["source"]:
                return _refusal("'payload.source' is missing or blank")
            if self.states.get(key) != "acknowledged":
                self.states[key] = "triggered"
        elif self.states.get(key, "resolved") != "resolved":
            self.states[key] = {"acknowledge": "acknowledged", "resolve": "resolved"}[action]
        self.events.append(event)
        return Reply(202, body=b'{"status": "success", "message": "Event processed"}')

    def arrived(self) -> int:
        """Return how many messages: a test is one, though it is resolved at once, and a check of the key is none."""
        own = [one for one in self.events if one["event_action"] == "trigger" or one["dedup_key"].startswith("abc")]
        return len(own) + len(self.changes)


def _refusal(error: str) -> Reply:
    said = {"status": "invalid event", "message": "Event object is invalid", "errors": [error]}
    return Reply(400, {"content-type": "application/json"}, json.dumps(said).encode())


@contextmanager
def service(**settings: Any) -> Iterator[tuple[Service, PagerDutyConfig]]:
    """A service, and the section of a channel to it."""
    found = Service()
    with receiving(found.reply) as found.receiver:
        values = {
            "kind": "pagerduty",
            "routing_key": KEY,
            "url": f"{found.receiver.url}/v2/enqueue",
            "allow_private_addresses": True,
        }
        yield found, PagerDutyConfig.model_validate(values | SETTINGS | settings)


@contextmanager
def far_side(_: Path) -> Iterator[FarSide]:
    with service() as (found, section):
        yield FarSide(
            channel=PagerDuty("c", section),
            arrived=found.arrived,
            received=lambda: json.dumps([[one.get("payload") for one in found.events], found.changes]).replace(KEY, ""),
            stop=found.receiver.stop,
            secrets=(KEY,),
            busy=lambda seconds: found.receiver.replies.append(Reply(429, {"retry-after": str(seconds)})),
        )
