"""Who looks at the dashboard, and what they may do: roles, from a token's scopes or from what a proxy says. Pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum

from featurestore.registry import Token
from featurestore.registry.identity import is_verified
from featurestore.settings.dashboard import DashboardConfig

#: What marks somebody whose name no key has proved; see :mod:`featurestore.registry.identity`.
_UNPROVED = "{name}@{where} (unverified)"
#: Letters of a name that a proxy may give.
_LONGEST = 128


class Role(IntEnum):
    """What somebody may do; each may do what those before it may."""

    viewer = 1
    operator = 2  # acknowledge, silence, take a fault back
    approver = 3  # decide on retraining and on what is served

    def __str__(self) -> str:
        return self.name

    @property
    def said(self) -> str:
        """Whoever has it: ``a viewer``, ``an operator``."""
        return f"{'a' if self is Role.viewer else 'an'} {self.name}"


#: The role of a token, by its scopes: the highest counts. Tokens of programs are for no person.
_ROLES = {"view": Role.viewer, "operate": Role.operator, "approve": Role.approver, "admin": Role.approver}


@dataclass(frozen=True, kw_only=True)
class Person:
    """Somebody who is known.

    Attributes:
        name: what the page calls them.
        who: what the audit log calls them: an identity that was proved, or a name marked as unverified.
        role: what they may do.
    """

    name: str
    who: str
    role: Role

    def may(self, role: Role) -> bool:
        """Return whether they may do what a role may."""
        return self.role >= role


def of_token(token: Token, identities: Collection[str], *, now: datetime) -> Person | None:
    """Return whose token it is; None if it is not valid, or for no person.

    A token is a secret that somebody made for somebody. It stands for an identity only where that identity made it for
    itself, which its key has proved then: ``ada``, or ``ada.phone``. Every other name is marked.

    Args:
        token: the token that was shown.
        identities: names that stand in the registry.
        now: the wall clock.
    """
    roles = [_ROLES[scope] for scope in token.scopes if scope in _ROLES]
    if not roles or token.state(now) != "valid":
        return None
    own = token.created_by
    proved = is_verified(own) and own in identities and (token.name == own or token.name.startswith(f"{own}."))
    who = own if proved else _UNPROVED.format(name=token.name, where="dashboard")
    return Person(name=token.name, who=who, role=max(roles))


def of_proxy(
    headers: Mapping[str, str], client: str, settings: DashboardConfig, identities: Collection[str]
) -> Person | None:
    """Return whom a proxy names; None if the call does not come from one, or names nobody.

    Args:
        headers: of the request, by name in any case.
        client: the address that called.
        settings: which proxies are trusted, and who may do what.
        identities: names that stand in the registry.
    """
    if not trusted(client, settings.trusted_proxies):
        return None
    name = headers.get(settings.user_header.lower(), "").strip()
    if not name or len(name) > _LONGEST or not name.isprintable():
        return None
    groups = {f"group:{one.strip()}" for one in headers.get(settings.groups_header.lower(), "").split(",")}
    known = {name, *groups}
    role = Role.operator if known & {*settings.operators} else Role.viewer
    role = Role.approver if known & {*settings.approvers} else role
    proved = settings.proxy_proves_identities and is_verified(name) and name in identities
    return Person(name=name, who=name if proved else _UNPROVED.format(name=name, where="proxy"), role=role)


def trusted(client: str, networks: Collection[str]) -> bool:
    """Return whether an address is one of those that are trusted."""
    try:
        address = ipaddress.ip_address(client)
    except ValueError:
        return False
    return any(address in ipaddress.ip_network(one) for one in networks)
