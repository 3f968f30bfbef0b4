"""Whom monitor policies tell, held against the channels of ``featurestore.toml``, when definitions are applied.

Refused is what no environment could mean: a policy that names a channel which is not there, and a channel of its whose
fallback is not there. It would otherwise be found when there is something to tell, at night. A policy that routes to
nothing is noted and not refused: what it finds stands in ``monitor status`` and in metrics, and signals can be watched
as a stream. Nothing is opened and no secret is read: where definitions are applied need not be where the monitor runs.
``featurestore monitor check``, there, finds the rest.
"""

from __future__ import annotations

from collections.abc import Iterable

from featurestore.config import Config
from featurestore.definitions import Definition, MonitorPolicy
from featurestore.errors import ConfigError, closest
from featurestore.places import place_of


def check_channels(definitions: Iterable[Definition], config: Config) -> None:
    """Check that the channels which policies name are configured.

    Raises:
        ConfigError: one is not, or has a fallback that is none.
    """
    for policy in definitions:
        if not isinstance(policy, MonitorPolicy):
            continue
        for role, names in policy.channels.items():
            for name in names:
                if name not in config.channels:
                    raise ConfigError(
                        f'Monitor policy "{policy.name}" {role} to "{name}", '
                        "which featurestore.toml does not configure.",
                        hint=closest(name, config.channels) or f"Add a section [channels.{name}].",
                        where=place_of(policy),
                    )
                config.fallback(name)


def unheard(definitions: Iterable[Definition]) -> dict[str, tuple[str, ...]]:
    """Return a note for each policy that nobody hears of, by its name."""
    said = "It routes to nothing: nobody is told of what it finds. Name channels in routes=[...]."
    return {
        one.name: (said,)
        for one in definitions
        if isinstance(one, MonitorPolicy) and not any(map(len, one.channels.values()))
    }
