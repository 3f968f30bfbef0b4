"""Prometheus Alertmanager: an alert for each incident, by ``/api/v2/alerts``.

What Alertmanager documents, and this relies on:

- https://github.com/prometheus/alertmanager/blob/main/api/v2/openapi.yaml: ``labels``, ``annotations``, ``startsAt``,
  ``endsAt``; 400 for alerts that it does not understand.
- https://prometheus.io/docs/alerting/latest/clients/: who sends alerts sends them again for as long as they fire; one
  whose ``endsAt`` has passed is over. The labels are the alert's identity: a second send with the same ones is the same
  alert.

It keeps alerts in memory, so one that is not sent again is lost when it restarts. The monitor sends each open one again
every :data:`REFRESH_SECONDS` (:mod:`monitor.alerts.refreshing`), and with each change. ``endsAt`` lies far behind that
(``expires_seconds``): a monitor that is down for an hour, or runs once a day, ends nobody's alert.

An alert's labels are those of the first message of its incident, whatever joins it later; the first message's reference
holds them. Only the severity follows the incident, as people are called by it: where it changes, the alert under the
severity of before, which the last message's reference holds, ends, and one under the new one begins.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from featurestore.errors import ConfigError, TimestampError
from featurestore.settings.channels import AlertmanagerConfig
from featurestore.types import utc
from monitor.alerts.base import OF_INCIDENTS, Kind, Message, Outcome, Status
from monitor.alerts.channels.http import Address, basic, encoded
from monitor.alerts.channels.over_http import HttpChannel
from monitor.alerts.templates import Template
from monitor.alerts.wording import Limits, severity_of, words

#: How often an alert that fires is sent again.
REFRESH_SECONDS = 300.0

#: How long an alert stands that is about no state but an event: a signal, an action.
_EVENT = timedelta(hours=1)
#: How long a test stands: Alertmanager's usual ``group_wait`` is 30 seconds.
_TEST = timedelta(minutes=5)

_NAMES = {
    Kind.RETRAINING: "FeatureStoreRetraining",
    Kind.RETRAINED: "FeatureStoreRetrained",
    Kind.ACTION: "FeatureStoreAction",
    Kind.TEST: "FeatureStoreTest",
}
#: States of a signal or an action with which nothing more is to come.
_ENDED = frozenset(
    {
        "SIGNAL_STATE_REJECTED",
        "SIGNAL_STATE_EXPIRED",
        "SIGNAL_STATE_DONE",
        "SIGNAL_STATE_WITHDRAWN",
        "ACTION_STATE_UNDONE",
    }
)
_LIMITS = Limits(first=1_000, lines=40)
_INVALID = 400
_HEADERS = {"content-type": "application/json"}

Labels = dict[str, str]


class Alertmanager(HttpChannel):
    """POSTs alerts to one Alertmanager; a cluster has a channel for each member, as its members do not pass alerts on.

    Args:
        name: the channel's name in ``featurestore.toml``.
        section: its section.

    Attributes:
        refresh_seconds: see :class:`monitor.alerts.refreshing.Refresher`.

    Raises:
        ConfigError: the URL is not one of HTTP, or there is a password without a user.
    """

    refresh_seconds = REFRESH_SECONDS

    def __init__(self, name: str, section: AlertmanagerConfig) -> None:
        super().__init__(name, section)
        self._address = Address(section.url, f'The url of channel "{name}"')
        password = section.password.get_secret_value()
        if password and not section.user:
            raise ConfigError(f'Channel "{name}" has a password and no user.', hint="Add user = ...")
        self._proof = basic(section.user, password) if section.user else {}
        self._expires = timedelta(seconds=section.expires_seconds)
        self._template = Template(name, section)

    def _send(self, message: Message, now: datetime) -> Outcome:
        alerts, reference = self._alerts(message, now)
        answer = self._client.call(
            "POST",
            self._address,
            below="/api/v2/alerts",
            headers={**_HEADERS, **self._proof},
            body=encoded(alerts),
        )
        if answer.status == _INVALID:
            return Outcome(Status.REFUSED, f"{answer.where} answered 400: it does not understand the alert")
        outcome = answer.outcome(now)
        return Outcome(Status.DELIVERED, reference=reference) if outcome.status is Status.DELIVERED else outcome

    def _look(self, now: datetime) -> Outcome:
        remark = self._client.reach(self._address, now=now)
        answer = self._client.call("GET", self._address, below="/api/v2/status", headers=self._proof)
        if answer.ok and "versionInfo" not in answer.fields():
            return Outcome(Status.RETRY, f"{answer.where} is no Alertmanager with the API v2; check the url")
        outcome = answer.outcome(now, "check the url, the user and the password")
        return Outcome(Status.DELIVERED, remark) if outcome.status is Status.DELIVERED else outcome

    def _alerts(self, message: Message, now: datetime) -> tuple[list[dict[str, Any]], str]:
        """Return the alerts to send, and the reference by which later messages know their labels."""
        first = _kept(message.thread)
        stands = _kept(message.latest) or first
        labels = (first or _labels(message)) | {"severity": severity_of(message)}
        begins = min(_instant(message.payload.get("onset")) or message.created_at, now)
        alert = {
            "labels": labels,
            "annotations": self._annotations(message),
            "startsAt": begins.isoformat(),
            "endsAt": self._ends(message, now).isoformat(),
        }
        alerts = [alert]
        if stands and stands != labels and message.kind in OF_INCIDENTS:
            over = max(begins, min(message.created_at, now)).isoformat()
            alerts.append({"labels": stands, "startsAt": begins.isoformat(), "endsAt": over})
        return alerts, json.dumps(labels, sort_keys=True)

    def _ends(self, message: Message, now: datetime) -> datetime:
        if message.kind is Kind.RETRAINED:
            return now + _EVENT  # news, although nothing more is to come
        if message.kind is Kind.RESOLVED or message.payload.get("state") in _ENDED:
            return now
        if message.kind in OF_INCIDENTS:
            return now + self._expires
        if message.kind is Kind.TEST:
            return now + _TEST
        return max(_instant(message.payload.get("expiresAt")) or now, now + _EVENT)

    def _annotations(self, message: Message) -> dict[str, str]:
        said = words(message, _LIMITS, self._template)
        annotations = {
            "summary": said.first,
            "description": "\n".join(said.lines),
            **{label.replace(" ", "_"): value for label, value in said.facts},
            "runbook_url": str(message.payload.get("runbook", "")),
            "commands": "\n".join(command for _, command in said.commands),
        }
        return {name: value for name, value in annotations.items() if value}


def _labels(message: Message) -> Labels:
    payload = message.payload
    labels = {
        "alertname": _NAMES.get(message.kind, "FeatureStoreIncident"),
        "project": message.project,
        "service": message.service,
        "incident": message.incident or message.key,
        "number": str(payload.get("name", "")),
        "rule": str(payload.get("rule", "")),
        "cause": str(payload.get("cause", "")),
        "slice": str(payload.get("slice", "")),
        "replay": "true" if payload.get("replay") else "",
    }
    # A label without a value is one that is not there, to Alertmanager.
    return {name: value for name, value in labels.items() if value}


def _kept(reference: str) -> Labels:
    """Return the labels that a reference holds; none where it holds none."""
    try:
        found: Mapping[str, Any] = json.loads(reference) if reference else {}
    except ValueError:
        return {}
    return {name: str(value) for name, value in found.items()} if isinstance(found, dict) else {}


def _instant(text: Any) -> datetime | None:
    try:
        return utc(text, "an instant of the message") if text else None
    except TimestampError:
        return None
