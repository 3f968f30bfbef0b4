"""Which channel stands in for which."""

from __future__ import annotations

from featurestore.config import Config
from featurestore.errors import ConfigError, closest


def fallbacks(config: Config) -> dict[str, str]:
    """Return the fallback of each channel that has one; in a rehearsal those that take its messages.

    Raises:
        ConfigError: a fallback is no channel, or the channel itself.
    """
    found = {name: channel.fallback for name, channel in config.channels.items() if channel.fallback}
    for name, fallback in found.items():
        if fallback not in config.channels:
            raise ConfigError(
                f'Setting "channels.{name}.fallback": there is no channel "{fallback}" in featurestore.toml.',
                hint=closest(fallback, config.channels) or f"Add [channels.{fallback}], or name another one.",
            )
        if fallback == name:
            raise ConfigError(
                f'Setting "channels.{name}.fallback": a channel does not stand in for itself.',
                hint="Name another channel, best of another kind.",
            )
    return {
        name: fallback for name, fallback in found.items() if not config.replay or config.channels[fallback].rehearsals
    }
