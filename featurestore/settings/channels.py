"""``[channels.NAME]``: where alerts and signals go. Each kind has a section of its own."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, SecretStr

from featurestore.settings.section import Section


class ChannelConfig(Section):
    """What every kind has."""

    budget: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0  # false pages a quarter, of all policies together
    rehearsals: bool = False  # whether alerts from a replay reach it too
    fallback: str = ""  # the channel that also gets a page which this one did not take in time
    template: str = ""  # what people read, in place of ours: docs/messages.md has its names
    subject_template: str = ""  # the same, of its subject or title


class RemoteConfig(ChannelConfig):
    """A channel whose far side is another host."""

    timeout_seconds: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 10.0
    allow_private_addresses: bool = False
    ca_file: str = ""  # certificates to trust in place of the public ones


class ConsoleConfig(ChannelConfig):
    """The monitor's standard error."""

    kind: Literal["console"] = "console"


class FileConfig(ChannelConfig):
    """A file of JSON lines."""

    kind: Literal["file"] = "file"
    path: str


class WebhookConfig(RemoteConfig):
    """A CloudEvent, signed as Standard Webhooks asks."""

    kind: Literal["webhook"] = "webhook"
    url: str = ""
    secret: SecretStr = SecretStr("")


class SlackConfig(RemoteConfig):
    """Slack: a bot (``token`` and ``channel``), or an incoming webhook (``webhook_url``)."""

    kind: Literal["slack"] = "slack"
    token: SecretStr = SecretStr("")
    channel: str = ""
    webhook_url: SecretStr = SecretStr("")
    api_url: str = "https://slack.com/api"


class PagerDutyConfig(RemoteConfig):
    """PagerDuty, Events API v2."""

    kind: Literal["pagerduty"] = "pagerduty"
    routing_key: SecretStr = SecretStr("")
    url: str = "https://events.pagerduty.com/v2/enqueue"


class TeamsConfig(RemoteConfig):
    """Microsoft Teams, by a workflow's webhook."""

    kind: Literal["teams"] = "teams"
    webhook_url: SecretStr = SecretStr("")


class AlertmanagerConfig(RemoteConfig):
    """Prometheus Alertmanager, API v2."""

    kind: Literal["alertmanager"] = "alertmanager"
    url: str = ""
    user: str = ""
    password: SecretStr = SecretStr("")
    # After so long it takes what it was not told again as over.
    expires_seconds: Annotated[float, Field(ge=600, allow_inf_nan=False)] = 172_800.0


class MailConfig(RemoteConfig):
    """Mail, by SMTP."""

    kind: Literal["mail"] = "mail"
    host: str = ""
    port: Annotated[int, Field(ge=1, le=65535)] = 587
    security: Literal["starttls", "tls", "none"] = "starttls"
    user: str = ""
    password: SecretStr = SecretStr("")
    sender: str = ""
    recipients: tuple[str, ...] = ()


class KafkaConfig(RemoteConfig):
    """A topic of Kafka."""

    kind: Literal["kafka"] = "kafka"
    servers: tuple[str, ...] = ()
    topic: str = ""
    security: Literal["none", "tls"] = "tls"
    user: str = ""  # SASL, where there is one
    password: SecretStr = SecretStr("")
    mechanism: Literal["plain", "scram-sha-256", "scram-sha-512"] = "scram-sha-512"  # by which SASL shows the password


class AppriseConfig(ChannelConfig):
    """Whatever else Apprise knows."""

    kind: Literal["apprise"] = "apprise"
    service_url: SecretStr = SecretStr("")
    timeout_seconds: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 10.0
    allow_private_addresses: bool = False


AnyChannelConfig = Annotated[
    ConsoleConfig
    | FileConfig
    | WebhookConfig
    | SlackConfig
    | PagerDutyConfig
    | TeamsConfig
    | AlertmanagerConfig
    | MailConfig
    | KafkaConfig
    | AppriseConfig,
    Field(discriminator="kind"),
]

#: By the names of the kinds.
KINDS: dict[str, type[ChannelConfig]] = {
    "alertmanager": AlertmanagerConfig,
    "apprise": AppriseConfig,
    "console": ConsoleConfig,
    "file": FileConfig,
    "kafka": KafkaConfig,
    "mail": MailConfig,
    "pagerduty": PagerDutyConfig,
    "slack": SlackConfig,
    "teams": TeamsConfig,
    "webhook": WebhookConfig,
}
