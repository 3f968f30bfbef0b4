"""``[online]``: an online store that is a server of its own: Redis or Valkey."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, SecretStr, model_validator

from featurestore.settings.retention import Duration
from featurestore.settings.section import Section

_PREFIX = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_ADDRESS = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[^\[\]:/\s]+):[0-9]{1,5}")


def _checked_prefix(text: str) -> str:
    if not _PREFIX.fullmatch(text):
        raise ValueError('it takes letters, digits, "_", "-" and ".", a letter or a digit first, at most 64 of them')
    return text


def _checked_address(text: str) -> str:
    if not _ADDRESS.fullmatch(text):
        raise ValueError(f"{text!r} is no host:port")
    return text


class RedisTlsConfig(Section):
    """``[online.tls]``: files in PEM."""

    enabled: bool = False
    ca_file: str = ""  # certificates to trust in place of the public ones
    certificate: str = ""  # of ours, where the server asks for one
    key: str = ""

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if bool(self.certificate) != bool(self.key):
            raise ValueError("a certificate and its key are named together, or neither")
        if (self.ca_file or self.certificate) and not self.enabled:
            raise ValueError("files are named, and enabled is not true")
        return self


class RedisConfig(Section):
    """``[online]`` with ``type = "redis"``."""

    type: Literal["redis"]
    mode: Literal["single", "sentinel", "cluster"] = "single"
    addresses: Annotated[tuple[Annotated[str, AfterValidator(_checked_address)], ...], Field(min_length=1)] = (
        "127.0.0.1:6379",
    )
    master: str = ""  # by which the sentinels know it
    database: Annotated[int, Field(ge=0)] = 0
    prefix: Annotated[str, AfterValidator(_checked_prefix)] = "featurestore"
    user: str = ""
    password: SecretStr = SecretStr("")
    sentinel_user: str = ""
    sentinel_password: SecretStr = SecretStr("")
    tls: RedisTlsConfig = RedisTlsConfig()
    connect_seconds: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 2.0
    timeout_seconds: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0  # of one answer to a lookup
    replicas: Annotated[int, Field(ge=0)] = 0  # that must have a write before it is acknowledged
    fallback: str = ""  # a folder of each machine with servers, for a copy to be served while this store is away
    fallback_seconds: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 300.0  # between two copies
    fallback_max_age: Annotated[Duration, Field(gt=timedelta(0))] = timedelta(hours=1)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.mode == "sentinel" and not self.master:
            raise ValueError("mode sentinel needs a master: the name by which the sentinels know it")
        if self.mode == "cluster" and self.database:
            raise ValueError("a cluster has one database, 0")
        if self.mode == "single" and len(self.addresses) > 1:
            raise ValueError("mode single has one address; several are those of a cluster, or of sentinels")
        if self.fallback and self.fallback_seconds >= self.fallback_max_age.total_seconds():
            raise ValueError("fallback_max_age is over before the next copy is made, after fallback_seconds")
        return self
