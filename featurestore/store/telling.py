"""Whom monitor policies tell, held against the channels of ``featurestore.toml``, when definitions are applied.

Refused is what no environment could mean: a policy that names a channel which is not there, and a channel of its whose
fallback is not there. It would otherwise be found when there is something to tell, at night. A policy that routes to
nothing is noted and not refused: what it finds stands in ``monitor status`` and in metrics, and signals can be watched
as a stream, or run a command. Nothing is opened and no secret is read: where definitions are applied need not be where
the monitor runs. ``featurestore monitor check``, there, finds the rest.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from featurestore.config import Config
from featurestore.definitions import Definition, MonitorPolicy, RetrainingPolicy
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


def unheard(definitions: Iterable[Definition], config: Config) -> dict[str, tuple[str, ...]]:
    """Return notes for each policy of which something reaches nobody, by its name."""
    policies = (one for one in definitions if isinstance(one, MonitorPolicy))
    return {one.name: notes for one in policies if (notes := tuple(_unheard(one, config)))}


def signals_unheard(policy: MonitorPolicy, config: Config) -> tuple[str, str]:
    """Return why nobody hears of a policy's retraining signals, and what to do; two empty texts where somebody does.

    A program may watch the port of ``[signals]``, whether to train or to ask people; its command trains.
    """
    rules, section = policy.retrain, config.signals
    if not rules or section.port:
        return "", ""
    stand = "the signals stand in featurestore monitor signals."
    if isinstance(rules, RetrainingPolicy) and rules.approval and not policy.asked:
        hint = f"Name channels in approval_routes=[...] of its RetrainingPolicy; {stand}"
        return "its retraining signals wait for somebody to agree, and nobody is asked", hint
    if not policy.signalled and not section.command:
        hint = f'Name channels in routes=[...], or set "command" or "port" under [signals]; {stand}'
        return "it asks for new models, and nobody hears of that", f"{hint} retrain=False asks for none."
    return "", ""


def _unheard(policy: MonitorPolicy, config: Config) -> Iterator[str]:
    if not policy.routes and not policy.escalate_to:
        yield "It routes to nothing: nobody is told of what it finds. Name channels in routes=[...]."
    said, hint = signals_unheard(policy, config)
    if said:
        yield f"{said[0].upper()}{said[1:]}. {hint}"
