"""The table of channel kinds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import structlog

from featurestore.config import Config
from featurestore.errors import ConfigError
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
from monitor.alerts.channels.unopened import Unopened
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


_log = structlog.get_logger("monitor.channels")


def open_channel(config: Config, name: str) -> Channel:
    """Return the channel of one ``[channels.NAME]`` section.

    Raises:
        ConfigError: there is none of that name, its values do not suit its kind, or its secret cannot be read.
    """
    section = config.channel(name)
    return KINDS[section.kind](name, section)


def open_channels(config: Config) -> dict[str, Channel]:
    """Return a channel for each ``[channels.NAME]`` section.

    One that cannot be opened, as its secret is not there, stops no other: it is told in the log, its messages wait in
    the outbox and say why, and it is opened as soon as that is possible.
    """
    return {name: _opened(config, name) for name in config.channels}


def unopened(channels: Mapping[str, Channel]) -> list[ConfigError]:
    """Return why channels could not be opened that still are not."""
    found = [one.error for one in channels.values() if isinstance(one, Unopened)]
    return [error for error in found if error is not None]


def _opened(config: Config, name: str) -> Channel:
    try:
        return open_channel(config, name)
    except ConfigError as error:
        _log.error("channel cannot be opened", channel=name, error=error.message, hint=error.hint)
        rehearsals = config.channels[name].rehearsals
        return Unopened(name, error, partial(open_channel, config, name), rehearsals=rehearsals)
