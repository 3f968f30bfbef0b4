"""The settings of what becomes of retraining signals beside the channels: ``[signals]``."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from featurestore.settings.section import Section
from featurestore.settings.serving import TlsConfig


class SignalsConfig(Section):
    """``[signals]``: the monitor's own gRPC port, and a command that is run for each signal."""

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 0  # 0: none
    authentication: Literal["none", "token"] = "none"
    tls: TlsConfig = TlsConfig()
    max_watchers: Annotated[int, Field(ge=1)] = 100
    max_calls: Annotated[int, Field(ge=1)] = 1_000
    command: tuple[str, ...] = ()
    command_timeout_seconds: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 300.0

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.command and not self.command[0].strip():
            raise ValueError("command begins with the name of a program")
        if self.max_watchers > self.max_calls:
            raise ValueError("each watcher is a call, so max_watchers is at most max_calls")
        return self
