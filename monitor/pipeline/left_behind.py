"""Alerts that nobody looks after any more: of a policy that is gone, or of what a living one does not watch any more.

Nothing would end them, and nobody is to be reminded of them for ever. So they are closed, and their incident says why.
Whoever was told hears that too, and not that it is over: nobody has seen that.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime

from sqlalchemy import Connection

from featurestore.config import Config
from featurestore.definitions import MonitorPolicy
from featurestore.registry import Registered
from monitor.alerts import message
from monitor.alerts.dispatching import clock_of
from monitor.history import History, StoredAlert
from monitor.parity import SKEW_RULES
from monitor.pipeline.checks import PERFORMANCE
from monitor.pipeline.committing import RULES
from monitor.pipeline.streams import PREDICTIONS_OF
from monitor.pipeline.telling import Reach, Teller


def close_left_behind(history: History, config: Config, policies: Collection[str], *, now: datetime) -> int:
    """End the alerts of every policy that the registry has no more, and return how many there were.

    Args:
        history: the database.
        config: names the project and the rehearsal.
        policies: the names of those that there are.
        now: the wall clock.
    """
    return _close(
        history,
        config,
        lambda connection: history.alerts_left_behind(connection, policies),
        lambda one: f'policy "{one.watch.policy}" is gone',
        now=now,
    )


def close_unwatched(
    history: History,
    config: Config,
    policy: Registered[MonitorPolicy],
    slices: Mapping[str, Collection[str]],
    *,
    now: datetime,
) -> int:
    """End the alerts of a policy that are of a stream, a slice or a check that is not its any more; return how many.

    Args:
        history: the database.
        config: names the project and the rehearsal.
        policy: as it is now.
        slices: by stream, the slices that it has; a stream that is not there has whatever its policy may mean.
        now: the wall clock.
    """
    return _close(
        history,
        config,
        lambda connection: history.open_alerts(connection, policy.name),
        lambda one: why_unwatched(policy, one, slices),
        now=now,
    )


def why_unwatched(policy: Registered[MonitorPolicy], alert: StoredAlert, slices: Mapping[str, Collection[str]]) -> str:
    """Return why a policy looks after an alert of its no more, as the end of a sentence; "" where it does.

    Args:
        policy: as it is now.
        alert: one that it has begun.
        slices: see :func:`close_unwatched`.
    """
    definition, watch, rule = policy.definition, alert.watch, alert.rule
    if rule == message.JUDGING:
        return ""  # of its runs, which the next good one ends
    if definition.service is None:
        return "" if watch.service == policy.name else f"{policy.id} watches another source"
    predicted = watch.service.startswith(PREDICTIONS_OF)
    if predicted and not definition.prediction_drift:
        return f"{policy.id} does not watch predictions"
    if not predicted and watch.service.partition("@")[0] != definition.service.name:
        return f"{policy.id} watches {definition.service.name}"
    if rule not in RULES:
        return _unchecked(policy, rule)
    if watch.slice and not _has_slice(definition, watch.slice, slices.get(watch.service)):
        return f"{policy.id} has no slice {watch.slice}"
    return ""


def _unchecked(policy: Registered[MonitorPolicy], rule: str) -> str:
    """Return why the check that a rule is of is not made any more; "" where it is."""
    if rule.startswith(f"{PERFORMANCE} of "):
        return ""  # a model's performance is watched as long as it predicts
    wanted, check = (
        (policy.definition.skew, "the comparison with the join")
        if rule in SKEW_RULES
        else (policy.definition.quality, "quality")
    )
    return "" if wanted else f"{policy.id} does not check {check}"


def _has_slice(policy: MonitorPolicy, slice_: str, known: Collection[str] | None) -> bool:
    if known is not None:
        return slice_ in known
    return slice_ in policy.slices or slice_.partition("=")[0] in policy.slices


def _close(
    history: History,
    config: Config,
    find: Callable[[Connection], Sequence[StoredAlert]],
    why: Callable[[StoredAlert], str],
    *,
    now: datetime,
) -> int:
    with history.read() as connection:
        if not any(why(one) for one in find(connection)):
            return 0
    with history.write() as connection:
        at = clock_of(history, connection, config, now)
        found = [(one, reason) for one in find(connection) if (reason := why(one))]
        for one, reason in found:
            teller = _teller(history, config, one)
            teller.close(connection, one.rule, one.alert, why=reason, at=at, now=now)
    return len(found)


def _teller(history: History, config: Config, one: StoredAlert) -> Teller:
    context = message.Context(
        project=config.project,
        replay=config.replay,
        service=one.watch.service,
        baseline="",
        model="",
        views={},
        slice=one.watch.slice,
    )
    return Teller(
        history=history,
        watch=one.watch,
        context=context,
        reach=Reach(routes=()),
        hold_for=0,
        keep_firing_for=1,
        retrain=False,
    )
