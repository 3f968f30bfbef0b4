"""A webhook: a CloudEvent in structured JSON, signed as Standard Webhooks asks.

CloudEvents 1.0: https://github.com/cloudevents/spec. Standard Webhooks: https://www.standardwebhooks.com; the
signature is HMAC-SHA256 over ``id.timestamp.body``.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import ipaddress
import json
import socket
from datetime import datetime
from email.utils import parsedate_to_datetime

import httpx

from featurestore.errors import ConfigError
from featurestore.settings.channels import WebhookConfig
from monitor.alerts.base import Message, Outcome, Status

_PREFIX = "whsec_"
_HINT = (
    "Make one with: python -c \"import base64, secrets; print('whsec_' + "
    'base64.b64encode(secrets.token_bytes(24)).decode())"'
)
_GONE = 410


class Webhook:
    """POSTs each message to one URL.

    Args:
        name: the channel's name in ``featurestore.toml``.
        config: its section.

    Raises:
        ConfigError: the URL is not one of HTTP, or the secret is missing or not of the form ``whsec_<base64>``.
    """

    def __init__(self, name: str, config: WebhookConfig) -> None:
        self.name = name
        self.rehearsals = config.rehearsals
        self._allow_private = config.allow_private_addresses
        try:
            self._url = httpx.URL(config.url)
        except httpx.InvalidURL:
            self._url = httpx.URL("")
        if self._url.scheme not in ("http", "https") or not self._url.host:
            raise ConfigError(
                f'The url of channel "{name}" is not an HTTP address.', hint="Write it as https://host/path."
            )
        self._secret = _decode_secret(name, config.secret.get_secret_value())
        # No proxy from the environment: it would resolve the name again, behind the check of the address.
        self._client = httpx.Client(timeout=config.timeout_seconds, follow_redirects=False, trust_env=False)

    def close(self) -> None:
        """Release connections."""
        self._client.close()

    def deliver(self, message: Message, *, now: datetime) -> Outcome:
        """POST the message once; see :class:`monitor.alerts.base.Channel`."""
        body = json.dumps(cloud_event(message), ensure_ascii=False, separators=(",", ":")).encode()
        timestamp = str(int(now.timestamp()))
        headers = {
            "content-type": "application/cloudevents+json; charset=utf-8",
            "user-agent": "featurestore-monitor",
            "webhook-id": message.key,
            "webhook-timestamp": timestamp,
            "webhook-signature": sign(self._secret, message.key, timestamp, body),
        }
        try:
            addresses = self._addresses()
        except OSError as error:
            return Outcome(Status.RETRY, f"{self._url.host} cannot be resolved: {error.strerror or error}")
        for address in addresses:
            if not self._allow_private and not is_public(address):
                return Outcome(
                    Status.RETRY,
                    f'{self._url.host} is at {address}, not a public address; channel "{self.name}" allows none other '
                    "(allow_private_addresses = true would)",
                )
        outcome = Outcome(Status.RETRY, f"{self._url.host} has no address")
        for address in addresses:
            try:
                return self._post(address, headers, body, now)
            except httpx.ConnectError as error:
                outcome = Outcome(Status.RETRY, f"no connection to {self._where}: {error}")
            except httpx.TimeoutException:
                return Outcome(Status.RETRY, f"{self._where} did not answer in time")
            except httpx.HTTPError as error:
                return Outcome(Status.RETRY, f"{self._where}: {type(error).__name__}")
        return outcome

    @property
    def _where(self) -> str:
        # The path and the query of a webhook often are its secret.
        port = f":{self._url.port}" if self._url.port else ""
        return f"{self._url.scheme}://{self._url.host}{port}"

    def _addresses(self) -> list[str]:
        port = self._url.port or (443 if self._url.scheme == "https" else 80)
        found = socket.getaddrinfo(self._url.host, port, type=socket.SOCK_STREAM)
        return list(dict.fromkeys(str(entry[4][0]) for entry in found))

    def _post(self, address: str, headers: dict[str, str], body: bytes, now: datetime) -> Outcome:
        # Connecting to the very address that was checked: a second resolution could give another.
        request = self._client.build_request(
            "POST",
            self._url.copy_with(host=address),
            headers=headers | {"host": self._url.netloc.decode("ascii").rpartition("@")[2]},
            content=body,
            extensions={"sni_hostname": self._url.host},
        )
        response = self._client.send(request, stream=True)
        # The status says all; a body, however long, is not read.
        response.close()
        if response.is_success:
            return Outcome(Status.DELIVERED)
        reason = f"{self._where} answered {response.status_code}"
        if response.status_code == _GONE:
            return Outcome(Status.GONE, reason)
        return Outcome(Status.RETRY, reason, _retry_after(response.headers.get("retry-after", ""), now))


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


def is_public(address: str) -> bool:
    """Return whether the IP address is one of the public internet: not private, loopback, link-local or multicast."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        # These forms carry an IPv4 address to which a gateway, or the system itself, would deliver.
        inner = ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None)
        if inner is not None:
            return is_public(str(inner))
        if ip in _NAT64:
            return is_public(str(ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)))
    return ip.is_global and not ip.is_multicast


_NAT64 = ipaddress.ip_network("64:ff9b::/96")


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


def _retry_after(text: str, now: datetime) -> float | None:
    """Return the seconds that a Retry-After header asks for; None if it says nothing that can be read."""
    if text.strip().isdecimal():
        return float(text)
    try:
        instant = parsedate_to_datetime(text)
    except ValueError:
        return None
    return max(0.0, (instant - now).total_seconds()) if instant.tzinfo is not None else None
