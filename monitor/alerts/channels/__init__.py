"""The table of channel kinds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from featurestore.config import Config
from monitor.alerts.base import Channel
from monitor.alerts.channels.alertmanager import Alertmanager
from monitor.alerts.channels.apprise import Apprise
from monitor.alerts.channels.console import Console
from monitor.alerts.channels.file import File
from monitor.alerts.channels.kafka import Kafka
from monitor.alerts.channels.mail import Mail
from monitor.alerts.channels.pagerduty import PagerDuty
from monitor.alerts.channels.slack import open_slack
from monitor.alerts.channels.teams import Teams
from monitor.alerts.channels.webhook import Webhook

#: What opens a channel, by kind: from its name and its section.
KINDS: Mapping[str, Callable[[str, Any], Channel]] = {
    "alertmanager": Alertmanager,
    "apprise": Apprise,
    "console": Console,
    "file": File,
    "kafka": Kafka,
    "mail": Mail,
    "pagerduty": PagerDuty,
    "slack": open_slack,
    "teams": Teams,
    "webhook": Webhook,
}


def open_channel(config: Config, name: str) -> Channel:
    """Return the channel of one ``[channels.NAME]`` section.

    Raises:
        ConfigError: there is none of that name, its values do not suit its kind, or its secret cannot be read.
    """
    section = config.channel(name)
    return KINDS[section.kind](name, section)


def open_channels(config: Config) -> dict[str, Channel]:
    """Return a channel for each ``[channels.NAME]`` section.

    Raises:
        ConfigError: a section's values do not suit its kind, or its secret cannot be read.
    """
    return {name: open_channel(config, name) for name in config.channels}
