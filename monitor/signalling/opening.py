"""What is behind :func:`monitor.signalling.routing.own_routes`, opened."""

from __future__ import annotations

from featurestore.config import Config
from featurestore.errors import ConfigError
from monitor.alerts.base import Channel
from monitor.history import History
from monitor.signalling.acknowledging import Records
from monitor.signalling.command import CommandHook
from monitor.signalling.routing import NAME
from monitor.signalling.timeline import SignalTimeline

#: Locked while a command runs, by the monitor and the command alike.
_LOCK = "data/signals.lock"


def own_channels(config: Config, history: History, records: Records) -> dict[str, Channel]:
    """Return the channels of ``[signals]`` by name, beside those of ``[channels.NAME]``.

    Args:
        config: its ``[signals]`` names the command.
        history: the monitor's database, where it is kept what became of a signal.
        records: of datasets and models.

    Raises:
        ConfigError: a channel of the user's has the name.
    """
    if NAME in config.channels:
        raise ConfigError(
            f'There is a channel "{NAME}", which is the name of the command under [signals].',
            hint="Give the channel another name.",
        )
    section = config.signals
    if not section.command:
        return {}
    hook = CommandHook(
        section.command,
        folder=config.root,
        lock=config.path(_LOCK),
        timeout=section.command_timeout_seconds,
        timeline=SignalTimeline(history, records),
    )
    return {NAME: hook}
