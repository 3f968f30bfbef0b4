"""Where signals go beside the channels of a policy: to the command of ``[signals]``."""

from __future__ import annotations

from featurestore.config import Config

#: The name of the command as a channel; no section of ``featurestore.toml`` may have it.
NAME = "signals.command"


def own_routes(config: Config) -> tuple[str, ...]:
    """Return the channels that every approved signal goes to, whatever its policy says; none of a rehearsal."""
    return (NAME,) if config.signals.command else ()
