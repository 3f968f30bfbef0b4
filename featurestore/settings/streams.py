"""``[streams.NAME]``: topics whose messages are pushed into views; and ``[streaming]``, what all of them share."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, SecretStr

from featurestore.settings.section import Section


class StreamingConfig(Section):
    """``[streaming]``: the process that reads topics."""

    path: str = "data/streaming"
    metrics_host: str = "127.0.0.1"
    metrics_port: Annotated[int, Field(ge=0, le=65535)] = 0  # 0: no metrics


class StreamConfig(Section):
    """``[streams.NAME]``: a topic of Kafka whose messages are rows of a view."""

    view: str
    servers: tuple[str, ...]
    topic: str
    group: str = ""  # none: featurestore.PROJECT.NAME
    format: Literal["json"] = "json"
    other_fields: Literal["refuse", "ignore"] = "refuse"
    instants: Literal["iso8601", "seconds", "milliseconds", "microseconds"] = "iso8601"
    start: Literal["earliest", "latest"] = "earliest"  # of a group that has read nothing yet
    batch_rows: Annotated[int, Field(ge=1, le=100_000)] = 5_000
    session_seconds: Annotated[float, Field(ge=1, allow_inf_nan=False)] = 10.0
    timeout_seconds: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 10.0
    security: Literal["none", "tls"] = "tls"
    ca_file: str = ""  # certificates to trust in place of the public ones
    certificate: str = ""  # ours, where the broker asks for one
    key: str = ""
    user: str = ""  # SASL, where there is one
    password: SecretStr = SecretStr("")
    mechanism: Literal["plain", "scram-sha-256", "scram-sha-512"] = "scram-sha-512"  # by which SASL shows the password
