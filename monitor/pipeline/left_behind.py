"""Alerts of policies that are gone: nobody looks whether they go on, so nobody is to be reminded of them for ever."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from featurestore.config import Config
from monitor.alerts import message
from monitor.alerts.dispatching import clock_of
from monitor.history import History
from monitor.pipeline.telling import Reach, Teller


def close_left_behind(history: History, config: Config, policies: Collection[str], *, now: datetime) -> int:
    """End the alerts of every policy that the registry has no more, and return how many there were.

    Who was told of them hears that they are watched no more, which is not that they are over.

    Args:
        history: the database.
        config: names the project and the rehearsal.
        policies: the names of those that there are.
        now: the wall clock.
    """
    with history.read() as connection:
        if not history.alerts_left_behind(connection, policies):
            return 0
    with history.write() as connection:
        at = clock_of(history, connection, config, now)
        found = history.alerts_left_behind(connection, policies)
        for one in found:
            context = message.Context(
                project=config.project,
                replay=config.replay,
                service=one.watch.service,
                baseline="",
                model="",
                views={},
                slice=one.watch.slice,
            )
            teller = Teller(
                history=history,
                watch=one.watch,
                context=context,
                reach=Reach(routes=()),
                hold_for=0,
                keep_firing_for=1,
                retrain=False,
            )
            teller.close(connection, one.rule, one.alert, at=at, now=now)
    return len(found)
