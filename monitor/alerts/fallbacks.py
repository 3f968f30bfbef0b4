"""Which channel stands in for which."""

from __future__ import annotations

from featurestore.config import Config


def fallbacks(config: Config) -> dict[str, str]:
    """Return the fallback of each channel that has one; in a rehearsal those that take its messages.

    Raises:
        ConfigError: a fallback is no channel, or the channel itself.
    """
    found = {name: config.fallback(name) for name in config.channels}
    return {
        name: fallback
        for name, fallback in found.items()
        if fallback and (not config.replay or config.channels[fallback].rehearsals)
    }
