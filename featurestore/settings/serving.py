"""The settings of the gRPC server: ``[serving]``."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from featurestore.settings.section import Section


class TlsConfig(Section):
    """``[serving.tls]`` and ``[signals.tls]``: files in PEM; none are named where the port is plain."""

    certificate: str = ""
    key: str = ""
    client_ca: str = ""  # whose certificates callers must show

    @property
    def enabled(self) -> bool:
        """Whether the port speaks TLS."""
        return bool(self.certificate)

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if bool(self.certificate) != bool(self.key):
            raise ValueError("a certificate and its key are named together, or neither")
        if self.client_ca and not self.certificate:
            raise ValueError("client_ca needs a certificate and a key of the server beside it")
        return self


class ServingConfig(Section):
    """``[serving]``: the gRPC server and its log."""

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 6566
    workers: Annotated[int, Field(ge=1, le=256)] = 1
    max_rows: Annotated[int, Field(ge=1)] = 10_000
    max_message_mb: Annotated[float, Field(gt=0, le=1024)] = 16.0
    row_cache_mb: Annotated[float, Field(ge=0)] = 128.0
    max_calls: Annotated[int, Field(ge=1)] = 1_000
    max_calls_per_connection: Annotated[int, Field(ge=1)] = 100
    keepalive_seconds: Annotated[float, Field(gt=0)] = 60.0
    min_ping_seconds: Annotated[float, Field(gt=0)] = 10.0
    max_connection_age_seconds: Annotated[float, Field(ge=0)] = 0.0  # 0: as long as the client likes
    max_connection_idle_seconds: Annotated[float, Field(ge=0)] = 0.0  # 0: as long as the client likes
    authentication: Literal["none", "token"] = "none"
    tls: TlsConfig = TlsConfig()
    log_path: str = "data/log"
    log_sample: Annotated[float, Field(ge=0, le=1)] = 1.0
    feedback_path: str = "data/feedback"
    log_queue: Annotated[int, Field(ge=1)] = 10_000
    drain_seconds: Annotated[float, Field(ge=0)] = 5.0
    upkeep_seconds: Annotated[float, Field(gt=0)] = 600.0
    metrics_host: str = "127.0.0.1"
    metrics_port: Annotated[int, Field(ge=0, le=65535)] = 0  # 0: no metrics
    access_log: str = ""  # none, or "-" for standard error
    tracing: bool = False
