"""The settings of the dashboard: ``[dashboard]``."""

from __future__ import annotations

import ipaddress
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, SecretStr, model_validator

from featurestore.settings.section import Section
from featurestore.settings.serving import TlsConfig


def _networks(texts: tuple[str, ...]) -> tuple[str, ...]:
    for text in texts:
        try:
            ipaddress.ip_network(text)
        except ValueError:
            raise ValueError(f"{text!r} is no address and no network: 10.0.0.7, 10.0.0.0/24") from None
    return texts


class DashboardConfig(Section):
    """``[dashboard]``: the pages for people, where they listen, and who may see and do what."""

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 6580  # 0: a free one
    authentication: Literal["none", "token", "proxy"] = "none"  # none: on loopback only
    local_role: Literal["viewer", "operator", "approver"] = "viewer"  # of everybody, where authentication is none
    session_minutes: Annotated[float, Field(gt=0, le=10_080)] = 480.0
    secret: SecretStr = SecretStr("")  # signs sessions; none: a new one at each start
    hosts: tuple[str, ...] = ()  # names that browsers may use where authentication is none, beside the machine's own
    trusted_proxies: Annotated[tuple[str, ...], AfterValidator(_networks)] = ("127.0.0.1", "::1")
    user_header: str = "X-Forwarded-User"
    groups_header: str = "X-Forwarded-Groups"
    operators: tuple[str, ...] = ()  # of the proxy: names, or group:NAME
    approvers: tuple[str, ...] = ()
    proxy_proves_identities: bool = False  # a name of the proxy that is an identity of the registry counts as proved
    actions_per_minute: Annotated[int, Field(ge=1)] = 30
    logins_per_minute: Annotated[int, Field(ge=1)] = 10
    max_watchers: Annotated[int, Field(ge=1)] = 200  # pages that are open and hear of news
    tls: TlsConfig = TlsConfig()

    @model_validator(mode="after")
    def _guarded(self) -> Self:
        if self.authentication == "proxy" and not self.trusted_proxies:
            raise ValueError("trusted_proxies names the proxy: any other caller could write its header")
        return self
