"""What an alert means for training, kept in the transaction that changes the alert.

Only what was seen is kept here, so that the window's transaction stays short and nothing is lost:
:mod:`monitor.retraining.review` decides afterwards what becomes of it.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import datetime

from sqlalchemy import Connection

from featurestore.definitions import RetrainingPolicy
from monitor.alerts.message import Context, moved
from monitor.alerts.states import Alert
from monitor.decisions import Decision
from monitor.history.values import Watch
from monitor.retraining import episodes, store
from monitor.retraining.causes import cause_of, is_fault, signal_id
from monitor.retraining.states import SignalState
from monitor.retraining.wording import TOLD, reason_of, signal_message

#: Why a cause waits that nobody has looked at.
UNSEEN = "not looked at yet"

#: States in which a signal is over without anything having come of it.
_OVER = (SignalState.EXPIRED, SignalState.FAILED, SignalState.LAPSED, SignalState.WITHDRAWN)


def policy_of(retrain: bool | RetrainingPolicy) -> RetrainingPolicy | None:
    """Return the rules of a monitor policy's ``retrain``; None where it sends no signals by itself."""
    if isinstance(retrain, RetrainingPolicy):
        return retrain
    return RetrainingPolicy() if retrain else None


def consider(
    connection: Connection,
    watch: Watch,
    context: Context,
    rule: str,
    alert: Alert,
    *,
    retrain: bool | RetrainingPolicy,
    decision: Decision | None = None,
    sentences: Sequence[str] = (),
    kinds: Collection[str] = (),
    views: Collection[str] = (),
    incident: str = "",
    name: str = "",
    at: datetime,
    now: datetime,
) -> None:
    """Keep what an alert means for training: whether its rows are broken, and whether it asks for a new model.

    Said twice it is said once, so call it whenever an alert was saved.

    Args:
        connection: the transaction that changes the alert.
        watch: policy, stream and slice.
        context: whom it is about.
        rule: the alert's.
        alert: after the change.
        retrain: the policy's.
        decision: what moved, where a distribution has.
        sentences: what was found, where it is no distribution.
        kinds: what these findings are about: ``model``, ``server`` ...
        views: upstream of them; those of a decision's features are known.
        incident: the incident's deduplication key, where it has one by now.
        name: the incident's name for people.
        at: the end of the window.
        now: the wall clock.
    """
    if not alert.firing:
        episodes.ends(connection, alert.key, at)
        return
    features = [] if decision is None else [one.feature for one in moved(decision)]
    began = episodes.fires(
        connection,
        watch,
        alert=alert.key,
        episode=alert.episode,
        service=context.service,
        rule=rule,
        fault=is_fault(rule, kinds),
        views=[*views, *(view for one in features if (view := context.view_of(one)))],
        features=features[:TOLD],
        incident=incident,
        name=name,
        onset=alert.onset or at,
    )
    policy, cause = policy_of(retrain), cause_of(rule, kinds)
    if policy is None or cause not in policy.causes:
        return
    signal = _signal(watch, context, alert, cause, incident or alert.key, decision, sentences, now)
    keep(connection, signal, context.project, again=began, now=now)


def keep(connection: Connection, signal: store.Cause, project: str, *, again: bool, now: datetime) -> str:
    """Keep a cause, once; return the id of its signal.

    A signal that is still held gets what is known by now. One on which nobody has decided, whose training has failed,
    or whose cause was gone before it could go out, is over: its cause, found ``again``, is another one. One that was
    sent, or turned down, stays the only one of its cause.
    """
    attempt = 1
    while True:
        id_ = signal_id(project, signal.service, signal.baseline, signal.subject, attempt)
        found = store.known(connection, [id_])
        named = replace(signal, id=id_, attempt=attempt, payload=dict(signal.payload) | {"id": id_})
        if not found:
            store.record_cause(connection, named, reason=UNSEEN, now=now)
            return id_
        if found[0].state is SignalState.HELD and not found[0].approved_by:
            store.refresh(connection, found[0], named.payload)
        if not again or found[0].state not in _OVER:
            return id_
        attempt += 1


def _signal(
    watch: Watch,
    context: Context,
    alert: Alert,
    cause: str,
    incident: str,
    decision: Decision | None,
    sentences: Sequence[str],
    now: datetime,
) -> store.Cause:
    return store.Cause(
        id="",
        policy=watch.policy,
        policy_version=watch.policy_version,
        service=context.service,
        slice=watch.slice,
        cause=cause,
        subject=alert.key,
        baseline=context.baseline,
        model=context.model,
        incident=incident,
        payload=signal_message(
            context,
            cause=cause,
            reason=reason_of(context, decision, sentences),
            incident=incident,
            decision=decision,
            now=now,
        ),
    )
