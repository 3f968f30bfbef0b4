"""Where a host name leads, and whether a channel may go there.

Whoever may edit an address in ``featurestore.toml`` must not thereby reach what only this machine can: the metadata
service of a cloud, a database without a password. So a name is resolved once, every address of it is checked, and the
connection goes to an address that was checked: a second resolution could give another (DNS rebinding).
"""

from __future__ import annotations

import ipaddress
import socket

_NAT64 = ipaddress.ip_network("64:ff9b::/96")


class UnreachableError(Exception):
    """An attempt found no far side, or lost it.

    Attributes:
        reason: why, in one line, free of secrets.
        untaken: whether the far side surely has not taken the message.
    """

    def __init__(self, reason: str, *, untaken: bool = True) -> None:
        super().__init__(reason)
        self.reason = reason
        self.untaken = untaken


def checked(host: str, port: int, *, allow_private: bool) -> tuple[str, ...]:
    """Return the IP addresses of a host, in the order to try them in; a connection must go to one of these.

    Resolving takes as long as the system's resolver is configured to try.

    Args:
        host: a name, or an IP address.
        port: where the connection will go.
        allow_private: whether addresses that are not of the public internet will do.

    Raises:
        UnreachableError: the name cannot be resolved, or one of its addresses is not public and must be.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:  # UnicodeError: a label that no name can have
        said = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise UnreachableError(f"{host} cannot be resolved: {said}") from error
    addresses = tuple(dict.fromkeys(str(entry[4][0]) for entry in found))
    for address in addresses:
        if not allow_private and not is_public(address):
            raise UnreachableError(
                f"{host} is at {address}, not a public address; allow_private_addresses = true would allow it"
            )
    return addresses


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
