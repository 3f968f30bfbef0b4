"""Which channels get a retraining signal."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import Connection

from featurestore.config import Config
from featurestore.definitions import MonitorPolicy, RetrainingPolicy
from featurestore.errors import MonitorError, closest
from monitor.alerts import outbox
from monitor.alerts.base import Kind
from monitor.retraining.states import SignalState
from monitor.signalling.routing import own_routes


def routes_of(
    config: Config, policy: MonitorPolicy | None, rules: RetrainingPolicy, state: SignalState
) -> tuple[str, ...]:
    """Return the channels that are told of a signal; from a rehearsal, those that take its messages.

    Args:
        config: the channels that there are.
        policy: the monitor's; None where a person asks for a service that none watches.
        rules: of its retraining.
        state: where the signal stands now; for one that is over see :func:`told_before`.

    Raises:
        MonitorError: a route names no channel.
    """
    routes = rules.routes or (() if policy is None else policy.routes)
    if state is SignalState.PENDING:
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
    return (*_rehearsing(config, routes), *own)


def told_before(connection: Connection, config: Config, signal: str) -> tuple[str, ...]:
    """Return the channels that were told of a signal, as far as there are still such: these hear that it is over.

    A policy may route elsewhere by now, or be gone: who was asked to agree is not left with the question.
    """
    names = outbox.told(connection, signal, kinds=[Kind.RETRAINING])
    return tuple(_rehearsing(config, (one for one in names if one in config.channels)))


def _rehearsing(config: Config, names: Iterable[str]) -> Iterable[str]:
    return (one for one in names if not config.replay or config.channels[one].rehearsals)
