"""The table of channel kinds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from featurestore.config import Config
from monitor.alerts.base import Channel
from monitor.alerts.channels.console import Console
from monitor.alerts.channels.webhook import Webhook

#: What opens a channel, by kind: from its name and its section.
KINDS: Mapping[str, Callable[[str, Any], Channel]] = {"console": Console, "webhook": Webhook}


def open_channels(config: Config) -> dict[str, Channel]:
    """Return a channel for each ``[channels.NAME]`` section.

    Raises:
        ConfigError: a section's values do not suit its kind, or its secret cannot be read.
    """
    return {name: KINDS[section.kind](name, config.channel(name)) for name, section in config.channels.items()}
