"""PagerDuty, by its Events API v2: incidents are triggered, acknowledged and resolved; other news are change events.

What PagerDuty documents, and this relies on:

- https://developer.pagerduty.com/docs/events-api-v2/trigger-events: ``dedup_key`` of at most 255 letters, by which a
  repeated trigger joins the alert that is open; ``summary`` of at most 1,024; ``severity`` one of critical, error,
  warning, info; at most 512 KB an event. ``acknowledge`` and ``resolve`` of an alert that is not open change nothing.
- https://developer.pagerduty.com/docs/events-api-v2/send-change-events: the same key, beside alerts, waking nobody.
- https://developer.pagerduty.com/docs/events-api-v2/overview: 202 for what is taken; 400 for what is not understood and
  will not be; 429 and 5xx for what is to come again.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from featurestore.errors import ConfigError
from featurestore.settings.channels import PagerDutyConfig
from monitor.alerts.base import Kind, Message, Outcome, Status
from monitor.alerts.channels.http import Address, encoded
from monitor.alerts.channels.over_http import HttpChannel
from monitor.alerts.fitting import fitted
from monitor.alerts.templates import Template
from monitor.alerts.wording import Limits, severity_of, words

#: Bytes of an event, less what stands beside the payload.
_LARGEST = 512_000 - 16_000
_LIMITS = Limits(first=1_024)
_SEVERITIES = {"page": "critical", "ticket": "warning", "info": "info"}
_ACTIONS = {
    Kind.FIRING: "trigger",
    Kind.UPDATED: "trigger",
    Kind.ACKNOWLEDGED: "acknowledge",
    Kind.RESOLVED: "resolve",
}
_INVALID = 400


class PagerDuty(HttpChannel):
    """Sends events with one integration's key.

    Args:
        name: the channel's name in ``featurestore.toml``.
        section: its section.

    Raises:
        ConfigError: the key is not one of 32 letters and digits, or the URL is not that of the events.
    """

    def __init__(self, name: str, section: PagerDutyConfig) -> None:
        super().__init__(name, section)
        self._key = section.routing_key.get_secret_value()
        if not re.fullmatch(r"[A-Za-z0-9]{32}", self._key):
            raise ConfigError(
                f'The routing_key of channel "{name}" is not one of 32 letters and digits.',
                hint='It is the "Integration Key" of an integration "Events API V2" of a PagerDuty service.',
            )
        if not section.url.endswith("/enqueue"):
            raise ConfigError(
                f'The url of channel "{name}" does not end in /v2/enqueue.',
                hint="Leave it out, or write https://events.eu.pagerduty.com/v2/enqueue for the service region EU.",
            )
        what = f'The url of channel "{name}"'
        self._events = Address(section.url, what)
        self._changes = Address(section.url.removesuffix("enqueue") + "change/enqueue", what)
        self._template = Template(name, section)

    def _send(self, message: Message, now: datetime) -> Outcome:
        if message.kind is Kind.TEST:
            # Shown, and over at once: nobody has to tidy up.
            opened = self._event("trigger", message, now)
            return opened if opened.status is not Status.DELIVERED else self._event("resolve", message, now)
        if message.kind in _ACTIONS:
            return self._event(_ACTIONS[message.kind], message, now)
        return self._post(self._changes, {"payload": self._payload(message, _CHANGE), **self._links(message)}, now)

    def _look(self, now: datetime) -> Outcome:
        remark = self._client.reach(self._events, now=now)
        # The end of what never began: it shows nowhere, and says whether the key is known.
        event = {"event_action": "resolve", "dedup_key": "featurestore-monitor-check"}
        outcome = self._post(self._events, event, now)
        return Outcome(Status.DELIVERED, remark) if outcome.status is Status.DELIVERED else outcome

    def _event(self, action: str, message: Message, now: datetime) -> Outcome:
        event: dict[str, Any] = {"event_action": action, "dedup_key": message.incident or message.key}
        if action == "trigger":
            event |= {"payload": self._payload(message, _ALERT), "client": "featurestore", **self._links(message)}
        return self._post(self._events, event, now)

    def _payload(self, message: Message, names: frozenset[str]) -> dict[str, Any]:
        payload = message.payload
        found = {
            "summary": words(message, _LIMITS, self._template).first,
            "source": f"featurestore/{message.project}/{message.service}",
            "severity": "info" if message.kind is Kind.TEST else _SEVERITIES.get(severity_of(message), "critical"),
            "timestamp": str(payload.get("decidedAt") or message.created_at.isoformat().replace("+00:00", "Z")),
            "component": str(payload.get("cause") or message.service),
            "group": message.project,
            "class": str(payload.get("rule", "")),
            "custom_details": {"key": message.key, **fitted(payload, _LARGEST)},
        }
        return {name: value for name, value in found.items() if name in names and value}

    def _links(self, message: Message) -> dict[str, Any]:
        runbook = str(message.payload.get("runbook", ""))
        return {"links": [{"href": runbook, "text": "Runbook"}]} if re.match(r"https?://", runbook) else {}

    def _post(self, address: Address, event: Mapping[str, Any], now: datetime) -> Outcome:
        body = encoded({"routing_key": self._key, **event})
        answer = self._client.call("POST", address, headers={"content-type": "application/json"}, body=body)
        if answer.status != _INVALID:
            return answer.outcome(now)
        said = json.dumps(answer.fields().get("errors", []))
        if re.search("routing.?key|integration.?key", said, re.IGNORECASE):
            # The next event would fare no better, and this one may arrive once the key is mended.
            return Outcome(Status.RETRY, f"{answer.where} does not know the routing_key; check it", untaken=True)
        return Outcome(Status.REFUSED, f"{answer.where} answered 400: it does not understand the event")


_CHANGE = frozenset({"summary", "source", "timestamp", "custom_details"})
_ALERT = _CHANGE | {"severity", "component", "group", "class"}
