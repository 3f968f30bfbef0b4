"""A person asks for a new model, agrees to one, or does not."""

from __future__ import annotations

import hashlib
from datetime import datetime

from sqlalchemy import Connection

from featurestore.definitions import MonitorPolicy, RetrainingPolicy
from featurestore.errors import MonitorError
from featurestore.registry import Registered, Registry
from featurestore.registry.identity import is_verified
from monitor.alerts.message import Context
from monitor.history import History
from monitor.retraining import store as signals
from monitor.retraining.causes import REQUEST
from monitor.retraining.considering import keep, policy_of
from monitor.retraining.request import left_out_again
from monitor.retraining.review import Reviewer
from monitor.retraining.routing import routes_of
from monitor.retraining.standing import at_hand
from monitor.retraining.states import SignalState
from monitor.retraining.wording import SHOWN, signal_message
from monitor.store import Store


def ask(store: Store, history: History, service: str, *, reason: str, who: str, now: datetime) -> signals.StoredSignal:
    """Ask for a new model by hand; return the signal as it stands.

    It is refused for coming neither too soon nor too often. While something is broken it waits. The same reason, for
    the same training data, is the same signal.

    Args:
        store: configuration and registry.
        history: the monitor's database.
        service: its name, or a version.
        reason: why.
        who: who asks.
        now: the wall clock.

    Raises:
        ObjectNotFoundError: there is no such service.
        MonitorError: no reason is given, or nothing was trained for the service yet.
    """
    if not reason.strip():
        raise MonitorError("No reason is given.", hint='Say why: --reason "the fares have changed"')
    registry = store.registry
    registered = registry.service(service) if "@" in service else registry.resolve_service(service)
    found = at_hand(registry, registered.name)
    if found is None:
        raise MonitorError(
            f"Nothing was trained for {registered.id} yet, so there is nothing to train anew.",
            hint="Make a first dataset: featurestore dataset create NAME --service SERVICE",
        )
    policy = watching(registry, registered.name)
    rules = (None if policy is None else policy_of(policy.definition.retrain)) or RetrainingPolicy()
    context = Context(
        project=store.config.project,
        replay=store.config.replay,
        service=registered.id,
        baseline=found.dataset.id,
        model="" if found.model is None else found.model.id,
        views={},
        severity="info",
    )
    subject = f"{REQUEST} {hashlib.sha256(reason.strip().encode()).hexdigest()[:16]}"
    cause = signals.Cause(
        id="",
        policy="" if policy is None else policy.name,
        policy_version=0 if policy is None else policy.version,
        service=registered.id,
        cause=REQUEST,
        subject=subject,
        baseline=context.baseline,
        model=context.model,
        incident="",
        asked_by=who,
        payload=signal_message(context, cause=REQUEST, reason=f"{who} asks for it: {reason.strip()}", now=now),
    )
    with history.write() as connection:
        id_ = keep(connection, cause, context.project, again=True, now=now)
        (signal,) = signals.known(connection, [id_])
    if signal.state is not SignalState.HELD:
        return signal
    moved = Reviewer(store=store, history=history, policy=policy, rules=rules, now=now).settle(signal)
    return signal if moved is None else moved


def decide(
    store: Store,
    history: History,
    reference: str,
    *,
    approve: bool,
    reason: str,
    who: str,
    now: datetime,
) -> signals.StoredSignal:
    """Agree that a signal goes out, or not; return it as it stands then.

    It is decided once, by somebody who has proved who they are, and entered in the audit log before it counts. While
    something is broken, what was agreed to waits until that is over, and nobody is asked again.

    Args:
        store: configuration and registry.
        history: the monitor's database.
        reference: the signal's id, or a beginning of it.
        approve: whether it may go out.
        reason: why; needed where it may not.
        who: who decides.
        now: the wall clock.

    Raises:
        MonitorError: there is no such signal, it does not wait for that, or not for this person.
    """
    verb = "approve" if approve else "reject"
    if not approve and not reason.strip():
        raise MonitorError("No reason is given.", hint='Say why not: --reason "the fares go back next week"')
    with history.write() as connection:
        signal = signals.find_signal(connection, reference)
        _check(store.registry, signal, who, verb, now)
        reviewer = _reviewer(store, history, signal, now)
        details = {
            "kind": "retraining signal",
            "service": signal.service,
            "cause": signal.cause,
            "reason": reason.strip(),
            "request": str(signal.payload.get("request", {}).get("hash", "")),
            **({"replay": store.config.replay} if store.config.replay else {}),
        }
        if approve:
            routes_of(store.config, reviewer.desk.policy, reviewer.rules, SignalState.APPROVED)
        # First the audit log, which is another database: what cannot be entered there is not decided.
        store.registry.record(verb, f"signal {signal.id[:SHOWN]}", details, who=who)
        said = reason.strip() or "no reason given"
        if not approve:
            return reviewer.desk.send(connection, signal, SignalState.REJECTED, who=who, reason=said)
        return _approved(connection, reviewer, signal, who, said)


def hears(store: Store, signal: signals.StoredSignal) -> bool:
    """Return whether anybody is told of a signal, or may be: a channel, the command, or who watches the port.

    Raises:
        MonitorError: a route names no channel.
    """
    policy, rules = _rules(store, signal)
    state = SignalState.PENDING if rules.approval else SignalState.APPROVED
    told = routes_of(store.config, None if policy is None else policy.definition, rules, state)
    return bool(told) or bool(store.config.signals.port)


def watching(registry: Registry, service: str) -> Registered[MonitorPolicy] | None:
    """Return the policy that watches a service; of several the first, by name, that sends signals."""
    found = [registry.policy(one.name) for one in registry.list("monitor_policy")]
    mine = [one for one in found if one.definition.service is not None and one.definition.service.name == service]
    return min(mine, key=lambda one: (policy_of(one.definition.retrain) is None, one.name), default=None)


def _approved(
    connection: Connection, reviewer: Reviewer, signal: signals.StoredSignal, who: str, said: str
) -> signals.StoredSignal:
    broken = reviewer.open_faults(connection, signal)
    if broken:
        held = f"approved by {who}; {broken[0].sentence} is open: a model would learn the fault"
        return signals.move(
            connection, signal, SignalState.HELD, who=who, reason=held, now=reviewer.now, approved_by=who
        )
    # What turned out to be broken since it was asked for is left out as well.
    request = left_out_again(signal, reviewer.known_faults(connection, signal), replay=reviewer.store.config.replay)
    return reviewer.desk.send(
        connection, signal, SignalState.APPROVED, who=who, reason=said, request=request, approved_by=who
    )


def _check(registry: Registry, signal: signals.StoredSignal, who: str, verb: str, now: datetime) -> None:
    name = signal.id[:SHOWN]
    if signal.state is not SignalState.PENDING or (signal.expires_at is not None and signal.expires_at <= now):
        expired = signal.state is SignalState.PENDING
        raise MonitorError(
            f"Retraining signal {name} {'has expired' if expired else f'is {signal.state}'}, "
            "and does not wait for approval.",
            hint=f"See what became of it: featurestore monitor signal {name}",
        )
    standing = {one.name for one in registry.identities() if one.revoked_at is None}
    if not is_verified(who) or who not in standing:
        raise MonitorError(
            f"{who} cannot {verb} retraining signal {name}: who that is has not been verified.",
            hint="featurestore identity create NAME, have its key added (featurestore identity add), "
            "then export FEATURESTORE_IDENTITY=NAME.",
        )
    asked = signal.asked_by if is_verified(signal.asked_by) else signal.asked_by.partition("@")[0]
    if verb == "approve" and asked and asked.casefold() == who.casefold():
        raise MonitorError(
            f"{who} cannot approve retraining signal {name}: they asked for it.", hint="Somebody else has to."
        )


def _rules(store: Store, signal: signals.StoredSignal) -> tuple[Registered[MonitorPolicy] | None, RetrainingPolicy]:
    """Return the policy that a signal is of, None where there is none, and the rules that hold for the signal."""
    known = {one.name for one in store.registry.list("monitor_policy")}
    policy = store.registry.policy(signal.policy) if signal.policy in known else None
    return policy, (None if policy is None else policy_of(policy.definition.retrain)) or RetrainingPolicy()


def _reviewer(store: Store, history: History, signal: signals.StoredSignal, now: datetime) -> Reviewer:
    policy, rules = _rules(store, signal)
    return Reviewer(store=store, history=history, policy=policy, rules=rules, now=now)
