"""The settings of the dashboard: ``[dashboard]``."""

from __future__ import annotations

import ipaddress
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

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


def _pages_of_metrics(texts: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(_page_of_metrics(text) for text in texts)


def _page_of_metrics(text: str) -> str:
    """Return the address of a page of metrics; of a host and a port that of the page which our servers have there."""
    url = text if "://" in text else f"http://{text}/metrics"
    fault = ValueError(f"{text!r} is no address of metrics: 10.0.0.7:9464, https://features.example.com/metrics")
    try:
        parts = urlsplit(url)
        known = parts.scheme in ("http", "https") and parts.hostname and (parts.port or "://" in text)
    except ValueError:  # a port that is none
        raise fault from None
    # A name and a password would stand on the page of everybody who looks.
    if not known or parts.username is not None:
        raise fault
    return url


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
    # Pages of metrics of the servers whose traffic is shown; none: that of [serving], where it has a metrics_port.
    server_metrics: Annotated[tuple[str, ...], AfterValidator(_pages_of_metrics)] = ()
    tls: TlsConfig = TlsConfig()

    @model_validator(mode="after")
    def _guarded(self) -> Self:
        if self.authentication == "proxy" and not self.trusted_proxies:
            raise ValueError("trusted_proxies names the proxy: any other caller could write its header")
        return self
