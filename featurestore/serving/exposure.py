"""What the settings of a server leave open: said when it starts, to whoever starts it."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable, Iterable
from datetime import UTC, datetime

import structlog

from featurestore.registry import Token
from featurestore.settings.serving import ServingConfig

_logger = structlog.get_logger(__name__)


def guards(serving: ServingConfig) -> tuple[str, ...]:
    """Return what guards the port: ``("mutual TLS", "tokens")``."""
    found = []
    if serving.tls.enabled:
        found.append("mutual TLS" if serving.tls.client_ca else "TLS")
    if serving.authentication == "token":
        found.append("tokens")
    return tuple(found)


def warn(serving: ServingConfig, address: str, tokens: Callable[[], Iterable[Token]]) -> None:
    """Warn of a port that others can reach and that is not guarded, and of one that nobody can use.

    It is a warning and no refusal: a proxy, a mesh or the network of a container may be the guard, and none of these
    can be seen from here.

    Args:
        serving: the settings.
        address: where it will listen, ``host:port``.
        tokens: those of the registry; asked only where callers are.
    """
    asks, encrypts = serving.authentication == "token", serving.tls.enabled
    if asks and not any(one.state(datetime.now(UTC)) == "valid" for one in tokens()):
        hint = "featurestore token create NAME --scope read"
        _logger.warning("there is no valid token, so every call will be refused", hint=hint)
    if _is_loopback(address):
        return
    if not asks and not serving.tls.client_ca:
        _logger.warning(
            "whoever reaches this port may read every feature and change what is served",
            address=address,
            hint='Ask for tokens: [serving] authentication = "token"; or let only a proxy or a mesh reach the port.',
        )
    if not encrypts:
        what = "tokens and values" if asks else "values"
        _logger.warning(
            f"{what} pass this port in clear text",
            address=address,
            hint="Name a certificate and its key under [serving.tls], or let a proxy or a mesh encrypt.",
        )


def _is_loopback(address: str) -> bool:
    host = address.rpartition(":")[0].strip("[]")
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return all(ipaddress.ip_address(str(where[0]).partition("%")[0]).is_loopback for *_, where in found)
