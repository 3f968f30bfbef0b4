"""What the settings of a server leave open: said when it starts, to whoever starts it."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

import structlog

from featurestore.registry import Token
from featurestore.settings.serving import ServingConfig
from featurestore.settings.signals import SignalsConfig

_logger = structlog.get_logger(__name__)


@dataclass(frozen=True, kw_only=True)
class Port:
    """What may be said of a port that is open.

    Attributes:
        section: of ``featurestore.toml``, where it stands.
        scope: of the tokens that are made for it.
        reach: what whoever reaches it may do.
        carried: what passes it.
    """

    section: str
    scope: str
    reach: str
    carried: str


SERVING = Port(section="serving", scope="read", reach="read every feature and change what is served", carried="values")
SIGNALS = Port(
    section="signals",
    scope="signals",
    reach="see every retraining signal and say what became of it",
    carried="signals",
)


def guards(section: ServingConfig | SignalsConfig) -> tuple[str, ...]:
    """Return what guards the port: ``("mutual TLS", "tokens")``."""
    found = []
    if section.tls.enabled:
        found.append("mutual TLS" if section.tls.client_ca else "TLS")
    if section.authentication == "token":
        found.append("tokens")
    return tuple(found)


def warn(
    section: ServingConfig | SignalsConfig,
    address: str,
    tokens: Callable[[], Iterable[Token]],
    port: Port = SERVING,
) -> None:
    """Warn of a port that others can reach and that is not guarded, and of one that nobody can use.

    It is a warning and no refusal: a proxy, a mesh or the network of a container may be the guard, and none of these
    can be seen from here.

    Args:
        section: the settings.
        address: where it will listen, ``host:port``.
        tokens: those of the registry; asked only where callers are.
        port: which one it is.
    """
    asks, encrypts = section.authentication == "token", section.tls.enabled
    if asks and not any(one.state(datetime.now(UTC)) == "valid" for one in tokens()):
        hint = f"featurestore token create NAME --scope {port.scope}"
        _logger.warning("there is no valid token, so every call will be refused", hint=hint)
    if _is_loopback(address):
        return
    if not asks and not section.tls.client_ca:
        _logger.warning(
            f"whoever reaches this port may {port.reach}",
            address=address,
            hint=f'Ask for tokens: [{port.section}] authentication = "token"; '
            "or let only a proxy or a mesh reach the port.",
        )
    if not encrypts:
        what = f"tokens and {port.carried}" if asks else port.carried
        _logger.warning(
            f"{what} pass this port in clear text",
            address=address,
            hint=f"Name a certificate and its key under [{port.section}.tls], or let a proxy or a mesh encrypt.",
        )


def _is_loopback(address: str) -> bool:
    host = address.rpartition(":")[0].strip("[]")
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return all(ipaddress.ip_address(str(where[0]).partition("%")[0]).is_loopback for *_, where in found)
