"""What is done by itself, at the end of a run of a policy."""

from __future__ import annotations

from datetime import datetime

from featurestore.definitions import MonitorPolicy
from featurestore.errors import FeatureStoreError, LeadershipLostError
from featurestore.registry.records import Registered
from featurestore.store import FeatureStore
from monitor.history import History
from monitor.rollback.acting import Actions
from monitor.rollback.openings import openings
from monitor.rollback.values import Action


def review(
    store: object,
    history: History,
    policy: Registered[MonitorPolicy],
    *,
    now: datetime,
    faults: list[FeatureStoreError],
) -> tuple[Action, ...]:
    """Take up what was begun, and look at each alert of an open incident; do what they justify, where that is allowed.

    Args:
        store: a whole store; where it is only a configuration and a registry, nothing is done.
        history: the monitor's database.
        policy: whose alerts.
        now: the wall clock.
        faults: what could not be looked at is added here, and the others are looked at.

    Returns:
        The actions that were proposed, done or given up.

    Raises:
        LeadershipLostError: another monitor has taken over.
    """
    if not isinstance(store, FeatureStore):
        return ()
    actions = Actions(store, history)
    found = list(actions.resume(now=now))
    with history.read() as connection:
        opened = openings(history, connection, policy)
    for one in opened:
        try:
            action = actions.consider(policy, one.opened, now=now, ill=one.ill)
        except LeadershipLostError:
            raise
        except FeatureStoreError as error:
            faults.append(error)
        else:
            found += [] if action is None else [action]
    return tuple(found)
