"""A webhook: a CloudEvent in structured JSON, signed as Standard Webhooks asks.

CloudEvents 1.0: https://github.com/cloudevents/spec. Standard Webhooks: https://www.standardwebhooks.com; the
signature is HMAC-SHA256 over ``id.timestamp.body``.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from datetime import datetime

from featurestore.errors import ConfigError
from featurestore.settings.channels import WebhookConfig
from monitor.alerts.base import Message, Outcome, Status
from monitor.alerts.channels.http import Address, encoded
from monitor.alerts.channels.over_http import HttpChannel

_PREFIX = "whsec_"
_HINT = (
    "Make one with: python -c \"import base64, secrets; print('whsec_' + "
    'base64.b64encode(secrets.token_bytes(24)).decode())"'
)
_NOT_FOUND, _GONE = 404, 410


class Webhook(HttpChannel):
    """POSTs each message to one URL.

    Args:
        name: the channel's name in ``featurestore.toml``.
        section: its section.

    Raises:
        ConfigError: the URL is not one of HTTP, or the secret is missing or not of the form ``whsec_<base64>``.
    """

    def __init__(self, name: str, section: WebhookConfig) -> None:
        super().__init__(name, section)
        self._address = Address(section.url, f'The url of channel "{name}"')
        self._secret = _decode_secret(name, section.secret.get_secret_value())

    def _send(self, message: Message, now: datetime) -> Outcome:
        body = encoded(cloud_event(message))
        timestamp = str(int(now.timestamp()))
        headers = {
            "content-type": "application/cloudevents+json; charset=utf-8",
            "webhook-id": message.key,
            "webhook-timestamp": timestamp,
            "webhook-signature": sign(self._secret, message.key, timestamp, body),
        }
        return self._client.call("POST", self._address, headers=headers, body=body).outcome(now)

    def _look(self, now: datetime) -> Outcome:
        remark = self._client.reach(self._address, now=now)
        # HEAD changes nothing (RFC 9110, 9.2.1). Most receivers know only POST, so hardly an answer to it says much.
        answer = self._client.call("HEAD", self._address)
        if answer.status == _GONE:
            return answer.outcome(now)
        if answer.status == _NOT_FOUND:
            remark = f"{self._address.where} answered 404 to HEAD: the path may be wrong; a test message tells"
        return Outcome(Status.DELIVERED, remark)


def cloud_event(message: Message) -> dict[str, object]:
    """Return the CloudEvent that carries the message."""
    return {
        "specversion": "1.0",
        "id": message.key,
        "source": f"/featurestore/{message.project}/{message.service}",
        "type": str(message.kind),
        "subject": message.incident,
        "time": message.created_at.isoformat().replace("+00:00", "Z"),
        "datacontenttype": "application/json",
        "data": dict(message.payload),
    }


def sign(secret: bytes, key: str, timestamp: str, body: bytes) -> str:
    """Return the ``webhook-signature`` header: ``v1,<base64 of HMAC-SHA256>``."""
    digest = hmac.new(secret, key.encode() + b"." + timestamp.encode() + b"." + body, hashlib.sha256).digest()
    return "v1," + base64.b64encode(digest).decode()


def _decode_secret(name: str, secret: str) -> bytes:
    if not secret:
        raise ConfigError(f'Channel "{name}" has no secret, so nobody could tell our messages.', hint=_HINT)
    try:
        decoded = base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
    except binascii.Error:
        decoded = b""
    if not secret.startswith(_PREFIX) or not decoded:
        raise ConfigError(f'The secret of channel "{name}" is not of the form whsec_<base64>.', hint=_HINT)
    return decoded
