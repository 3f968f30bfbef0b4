"""Which channels get a retraining signal."""

from __future__ import annotations

from featurestore.config import Config
from featurestore.definitions import MonitorPolicy, RetrainingPolicy
from featurestore.errors import MonitorError, closest
from monitor.retraining.states import SignalState
from monitor.signalling.routing import own_routes


def routes_of(
    config: Config, policy: MonitorPolicy | None, rules: RetrainingPolicy, state: SignalState
) -> tuple[str, ...]:
    """Return the channels that are told where a signal stands; from a rehearsal, those that take its messages.

    Who is asked to agree is also told that the time for it is over, or that somebody did not.

    Args:
        config: the channels that there are.
        policy: the monitor's; None where a person asks for a service that none watches.
        rules: of its retraining.
        state: where the signal stands now.

    Raises:
        MonitorError: a route names no channel.
    """
    routes = rules.routes or (() if policy is None else policy.routes)
    if state in (SignalState.PENDING, SignalState.REJECTED, SignalState.EXPIRED):
        routes = rules.approval_routes or routes
    for name in routes:
        if name not in config.channels:
            whose = f'Monitor policy "{policy.name}"' if policy is not None else "A retraining signal"
            raise MonitorError(
                f'{whose} sends signals to "{name}", which featurestore.toml does not configure.',
                hint=closest(name, config.channels) or f"Add a section [channels.{name}].",
            )
    # A command trains, so it hears of what may be trained for, and of nothing else.
    own = own_routes(config) if state is SignalState.APPROVED else ()
    return (*(name for name in routes if not config.replay or config.channels[name].rehearsals), *own)
