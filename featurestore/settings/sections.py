"""The settings of everything but the server and the channels."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, SecretStr, model_validator

from featurestore.settings.section import Section

#: Options that hold secrets, which are not written into a file that others read.
_SECRET_OPTION = re.compile(r"key|secret|token|password|credential|sas", re.IGNORECASE)


def _without_secrets(options: dict[str, str]) -> dict[str, str]:
    for name in options:
        if _SECRET_OPTION.search(name):
            raise ValueError(f"{name} is given by an environment variable or a profile, not in this file")
    return options


def _an_address(text: str) -> str:
    if text and not re.fullmatch(r"https?://[^/@\s]+/?", text):
        raise ValueError("it is http:// or https:// and a host, without a path or a key")
    return text


class StorageConfig(Section):
    """``[offline.storage]``: how object storage is reached. Keys are in no setting: see docs/scaling.md."""

    endpoint: Annotated[str, AfterValidator(_an_address)] = ""  # none: AWS's own, or that of AWS_ENDPOINT_URL
    region: str = ""  # none: that of AWS_REGION or of the profile
    profile: str = ""  # of ~/.aws/credentials; none: the environment
    timeout_seconds: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 30.0  # of one request
    retries: Annotated[int, Field(ge=0)] = 6
    retry_seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 20.0  # of all attempts of one request
    options: Annotated[dict[str, str], AfterValidator(_without_secrets)] = Field(default_factory=dict)  # delta-rs's


class SparkConfig(Section):
    """``[offline.spark]``: the session of Apache Spark that joins and reads, where ``engine`` is "spark"."""

    remote: SecretStr = SecretStr("")  # of a Spark Connect server: sc://HOST:PORT
    master: str = ""  # else of a session in this process; none: as spark-submit or Spark's own files say
    conf: dict[str, SecretStr] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _one_session(self) -> Self:
        if self.remote.get_secret_value() and self.master:
            raise ValueError("a session is that of a remote server, or has a master, and not both")
        return self


class OfflineConfig(Section):
    """``[offline]``: tables and the engine that reads them."""

    path: str = "data/offline"
    storage: StorageConfig = StorageConfig()
    engine: Literal["duckdb", "spark"] = "duckdb"
    spark: SparkConfig = SparkConfig()
    memory_limit: str = "1GB"
    threads: Annotated[int, Field(ge=0)] = 0  # 0: as many as there are cores
    max_future_seconds: Annotated[float, Field(ge=0)] = 60.0
    low_disk_mb: Annotated[int, Field(ge=0)] = 1024


class PushConfig(Section):
    """``[push]``: the log of pushed rows, and when these come into the offline store."""

    path: str = "data/push"
    flush_rows: Annotated[int, Field(ge=1)] = 100_000
    flush_seconds: Annotated[float, Field(gt=0)] = 60.0


class SourceConfig(Section):
    """``[sources.NAME]``: where a named source lies in this environment."""

    path: str = ""  # of a FileSource
    connection: str = ""  # of a QuerySource
    db_schema: str = ""  # of a QuerySource


class ConnectionConfig(Section):
    """``[connections.NAME]``: a database that a QuerySource reads, through an ADBC driver."""

    driver: str
    uri: SecretStr = SecretStr("")
    entrypoint: str = ""
    options: dict[str, SecretStr] = Field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Connection:
    """A database with its secrets read; they are shown in no representation.

    Attributes:
        name: the section's.
        driver: the name or the path of an ADBC driver.
        entrypoint: the function by which the driver begins; empty for its own choice.
        options: what the driver is given, with the URI.
        secrets: texts that must not be shown, should the driver put them into a message.
    """

    name: str
    driver: str
    entrypoint: str
    options: Mapping[str, str] = field(repr=False)
    secrets: tuple[str, ...] = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class SparkSettings:
    """A session of Spark with its secrets read; they are shown in no representation.

    Attributes:
        remote: of a Spark Connect server; "" for a session in this process.
        master: of that one; "" for what Spark's own settings say.
        conf: its settings.
        secrets: texts that must not be shown, should Spark put them into a message.
    """

    remote: str = field(default="", repr=False)
    master: str = ""
    conf: Mapping[str, str] = field(default_factory=dict, repr=False)
    secrets: tuple[str, ...] = field(default=(), repr=False)


class MonitorConfig(Section):
    """``[monitor]``: the daemon."""

    database: str = "sqlite:///data/monitor.db"
    lease_seconds: Annotated[float, Field(ge=1, allow_inf_nan=False)] = 15.0  # on PostgreSQL
    poll_seconds: Annotated[float, Field(gt=0)] = 60.0
    lateness_seconds: Annotated[float, Field(ge=0)] = 0.0
    windows_per_run: Annotated[int, Field(ge=1)] = 1_000
    metrics_host: str = "127.0.0.1"
    metrics_port: Annotated[int, Field(ge=0, le=65535)] = 0  # 0: no metrics
    memory_limit: str = "512MB"
    threads: Annotated[int, Field(ge=0)] = 1  # 0: as many as there are cores
    cpu_share: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0  # of one core, on average
    nice: Annotated[int, Field(ge=0, le=19)] = 10


class AuditConfig(Section):
    """``[audit]``: how the log's heads are signed."""

    signing_key: SecretStr = SecretStr("")  # none: the store makes its own


class ErasureConfig(Section):
    """``[erasure]``: how erased keys are known again, and what no erasure reaches."""

    secret: SecretStr = SecretStr("")  # none: the store makes its own
    backups: tuple[str, ...] = ()


class IdentityConfig(Section):
    """``[identity]``: who acts, if it is someone who can prove it."""

    name: str = ""
    key: SecretStr = SecretStr("")  # none: the file that `identity create` writes
