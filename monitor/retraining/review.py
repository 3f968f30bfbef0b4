"""Causes -> signals: what stands and has nothing in its way goes out, what waits says why, what is gone lapses.

It goes by what is there, not by what has happened: run again after a death at any moment, it does what is left.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from typing import Any

import structlog
from sqlalchemy import Connection

from featurestore.definitions import MonitorPolicy, RetrainingPolicy
from featurestore.errors import FeatureStoreError
from featurestore.registry import Registered
from monitor.alerts.dispatching import clock_of
from monitor.alerts.message import Context
from monitor.history import History
from monitor.history.values import EPOCH
from monitor.retraining import episodes
from monitor.retraining import store as signals
from monitor.retraining.causes import CONFIGURATION, DRIFT, PERFORMANCE, REQUEST, important, signal_id
from monitor.retraining.considering import keep, policy_of
from monitor.retraining.gates import LOOKED_AFTER, QUARTER, Facts, Fault, Verdict, judge
from monitor.retraining.request import left_out_again, model_of, service_of, training_request
from monitor.retraining.sending import Desk
from monitor.retraining.standing import Found, at_hand, judged_until, standing_causes
from monitor.retraining.states import SignalState
from monitor.retraining.wording import SHOWN, signal_message
from monitor.store import Store

_log = structlog.get_logger("monitor.retraining")

#: Causes that an alert tells of: they stand while it fires. The others are looked for each time.
_OF_ALERTS = (DRIFT, PERFORMANCE, CONFIGURATION)

#: Features that a sentence names.
_NAMED = 4


def review(
    store: Store,
    history: History,
    policy: Registered[MonitorPolicy],
    *,
    now: datetime,
    faults: list[FeatureStoreError],
) -> dict[str, int]:
    """Look at everything that asks for a new model under a policy; return how many signals went out, by stream.

    Args:
        store: configuration and registry.
        history: the monitor's database.
        policy: the policy.
        now: the wall clock.
        faults: takes the faults of single causes: the others go on.
    """
    rules = policy_of(policy.definition.retrain)
    reviewer = Reviewer(store=store, history=history, policy=policy, rules=rules or RetrainingPolicy(), now=now)
    # What a person asks for of a service that no policy watches, and what a policy has left behind that is gone.
    rest = Reviewer(store=store, history=history, policy=None, rules=RetrainingPolicy(), now=now)
    for work in (reviewer.expire, rest.expire, reviewer.look, reviewer.retry):
        _guarded(work, faults)
    return _settle_all((reviewer, rest), history, faults)


def _settle_all(reviewers: Sequence[Reviewer], history: History, faults: list[FeatureStoreError]) -> dict[str, int]:
    """Settle what waits until nothing more goes out: what has gone out is a reason to wait for what was seen before."""
    sent: dict[str, int] = {}
    failed: set[str] = set()
    moving = True
    while moving:
        moving = False
        with history.read() as connection:
            held = signals.list_signals(connection, states=[SignalState.HELD])
        # What a person asked for or has agreed to waits for no other one, so it goes first.
        for signal in sorted(held, key=lambda it: not (it.asked_by or it.approved_by)):
            reviewer = next((one for one in reviewers if one.mine(signal)), None)
            if reviewer is None or signal.id in failed:
                continue
            try:
                moved = reviewer.settle(signal)
            except FeatureStoreError as error:
                faults.append(error)
                failed.add(signal.id)
                continue
            if moved is not None and moved.state in (SignalState.APPROVED, SignalState.PENDING):
                sent[signal.service] = sent.get(signal.service, 0) + 1
                moving = True
    return sent


def _guarded(work: Callable[[], object], faults: list[FeatureStoreError]) -> None:
    try:
        work()
    except FeatureStoreError as error:
        faults.append(error)


@dataclass(kw_only=True)
class Reviewer:
    """Settles the causes of one policy.

    Attributes:
        store: configuration and registry.
        history: the monitor's database.
        policy: the monitor policy; None where a person asks for a service that none watches.
        rules: of its retraining.
        now: the wall clock.
    """

    store: Store
    history: History
    policy: Registered[MonitorPolicy] | None
    rules: RetrainingPolicy
    now: datetime
    _standing: list[Found] | None = None

    def mine(self, signal: signals.StoredSignal) -> bool:
        """Return whether a signal is the policy's; without one, whether it is of none that is current."""
        return signal.policy not in self._policies if self.policy is None else signal.policy == self.policy.name

    def expire(self) -> None:
        """Close what nobody has decided on in time."""
        for one in self._listed(SignalState.PENDING):
            if one.expires_at is None or one.expires_at > self.now:
                continue
            with self.history.write() as connection:
                (signal,) = signals.known(connection, [one.id])
                if signal.state is SignalState.PENDING:  # nobody has decided at this very moment
                    said = f"nobody decided until {_at(one.expires_at)}"
                    self.desk.send(connection, signal, SignalState.EXPIRED, reason=said)

    def look(self) -> None:
        """Keep what asks for a new model as time goes by."""
        service = None if self.policy is None else self.policy.definition.service
        found = None if service is None else at_hand(self.store.registry, service.name)
        if self.policy is None or found is None or policy_of(self.policy.definition.retrain) is None:
            self._standing = []
            return
        causes = standing_causes(
            self.store, self.history, self.policy, self.rules, found, clock=self.clock(), now=self.now
        )
        seen = list(causes)
        context = found.context(self.store.config, self.policy.definition.severity)
        if seen:
            with self.history.write() as connection:
                for one in seen:
                    keep(connection, self._cause(one, context), context.project, again=True, now=self.now)
        self._standing = seen

    def retry(self) -> None:
        """Keep causes that still stand although nobody decided in time, or the training failed, as causes anew."""
        over = self._listed(SignalState.EXPIRED, SignalState.FAILED, since=self.now - LOOKED_AFTER)
        # What a person asked for is theirs to ask for again.
        for one in (one for one in over if one.cause != REQUEST):
            project = str(one.payload["project"])
            after = signal_id(project, one.service, one.baseline, one.subject, one.attempt + 1)
            with self.history.read() as connection:
                tried = bool(signals.known(connection, [after])) or bool(self._gone(connection, one))
            if tried:
                continue
            with self.history.write() as connection:
                first = signals.signal_events(connection, signal=one.id, every=True, limit=1)[0]
                keep(connection, _again(one, first.payload), project, again=True, now=self.now)

    def settle(self, signal: signals.StoredSignal) -> signals.StoredSignal | None:
        """Send a signal that waits, let it wait, or let it lapse; return it if it has moved.

        Raises:
            FeatureStoreError: a route names no channel, or another process writes to the database.
        """
        with self.history.read() as connection:
            verdict = self._verdict(connection, signal)
        # The registry is asked outside of the transaction that writes; what it holds of versions never changes.
        looked = verdict.open
        request, lack = self._request(signal) if looked else (None, "")
        with self.history.write() as connection:
            (signal,) = signals.known(connection, [signal.id])
            if signal.state is not SignalState.HELD:
                return None  # somebody else has settled it
            verdict = self._verdict(connection, signal)
            if verdict.lapsed:
                return self._lapse(connection, signal, verdict.lapsed)
            if verdict.held:
                if verdict.held != signal.held:
                    _log.info("retraining signal held", signal=signal.id, reason=verdict.held)
                    self._note(connection, signal, f"held: {verdict.held}")
                    return signals.move(connection, signal, SignalState.HELD, reason=verdict.held, now=self.now)
                return None
            if not looked:
                return None  # the gate has opened since it was looked at: the next review sends it
            return self._send(connection, signal, request, lack)

    def clock(self) -> datetime:
        """Return what time it is where the rows are served: a rehearsal has a clock of its own, that of its log."""
        with self.history.read() as connection:
            return clock_of(self.history, connection, self.store.config, self.now)

    @property
    def desk(self) -> Desk:
        """Where signals leave from."""
        return Desk(
            config=self.store.config,
            instance=self.history.instance,
            policy=None if self.policy is None else self.policy.definition,
            rules=self.rules,
            now=self.now,
        )

    def open_faults(self, connection: Connection, signal: signals.Cause) -> list[Fault]:
        """Return what is broken now of the features of a signal's service."""
        return episodes.open_faults(connection, signal.service, self._views(signal))

    def known_faults(self, connection: Connection, signal: signals.Cause) -> list[Fault]:
        """Return what was broken of the features of a signal's service, whenever."""
        return episodes.faults_between(connection, signal.service, self._views(signal), EPOCH, self.now)

    def _listed(self, *states: SignalState, since: datetime | None = None) -> list[signals.StoredSignal]:
        with self.history.read() as connection:
            return list(filter(self.mine, signals.list_signals(connection, states=states, since=since)))

    def _send(
        self, connection: Connection, signal: signals.StoredSignal, request: dict[str, Any] | None, lack: str
    ) -> signals.StoredSignal:
        ask = self.rules.approval and not signal.approved_by
        reason = str(signal.payload["reason"]) + (f" (no training request: {lack})" if lack else "")
        state = SignalState.PENDING if ask else SignalState.APPROVED
        self._note(connection, signal, "asks for approval" if ask else "sent")
        told = replace(signal, payload=dict(signal.payload) | {"reason": reason})
        _log.info("retraining signal", signal=signal.id, service=signal.service, cause=signal.cause, state=str(state))
        return self.desk.send(
            connection,
            told,
            state,
            who=signal.approved_by or signal.asked_by,
            reason=reason,
            request=request,
            expires_at=self.now + self.rules.expires_after if ask else None,
        )

    def _lapse(self, connection: Connection, signal: signals.StoredSignal, why: str) -> signals.StoredSignal:
        """Let a signal go whose cause is gone; who was asked about it, and agreed, hears of that."""
        _log.info("retraining signal lapsed", signal=signal.id, reason=why)
        self._note(connection, signal, f"lapsed: {why}")
        if not signal.approved_by:
            return signals.move(connection, signal, SignalState.LAPSED, reason=why, now=self.now)
        said = f"approved by {signal.approved_by}, and withdrawn before it went out: {why}"
        return self.desk.send(connection, signal, SignalState.WITHDRAWN, reason=said)

    def _note(self, connection: Connection, signal: signals.StoredSignal, text: str) -> None:
        """Add a line to the timeline of the incident that asks for the signal."""
        if signal.cause in _OF_ALERTS:
            self.history.note(
                connection,
                "signal",
                f"{signal.id[:SHOWN]} {text}",
                alert=signal.subject,
                episode=episodes.latest_episode(connection, signal.subject),
                at=self.now,
                now=self.now,
            )

    def _verdict(self, connection: Connection, signal: signals.StoredSignal) -> Verdict:
        name = signal.name
        recent = signals.list_signals(connection, services=[name], since=self.now - QUARTER)
        waiting = signals.list_signals(connection, services=[name], states=[SignalState.PENDING, SignalState.HELD])
        facts = Facts(
            faults=self.open_faults(connection, signal),
            gone=self._gone(connection, signal),
            sent=[one.sent_at for one in recent if one.sent_at is not None],
            pending=next((one.id for one in waiting if one.state is SignalState.PENDING), ""),
            agreed=next((one.id for one in waiting if one.state is SignalState.HELD and one.approved_by), ""),
            approved=bool(signal.approved_by),
        )
        verdict = judge(signal.cause, facts, self.rules, now=self.now)
        if verdict.open and self._standing is None and signal.cause not in (*_OF_ALERTS, REQUEST):
            return Verdict(held="what asks for it cannot be looked at")
        return self._of_features(signal) if verdict.open and not signal.approved_by else verdict

    def _gone(self, connection: Connection, signal: signals.StoredSignal) -> str:
        """Return why a cause does not stand any more; "" while it does."""
        if signal.cause == REQUEST:
            return ""
        if signal.policy not in self._policies:
            return f'monitor policy "{signal.policy}" is gone'
        if signal.cause not in self.rules.causes or (self.policy and policy_of(self.policy.definition.retrain) is None):
            return f'monitor policy "{signal.policy}" asks for no new model because of {signal.cause} any more'
        newer = self._trained_since(signal)
        if newer:
            return f"{newer} was trained meanwhile"
        if signal.cause in _OF_ALERTS:
            return "" if episodes.stands(connection, signal.subject) else "what asked for it is over"
        known = self._standing
        if known is None or any((one.cause, one.subject) == (signal.cause, signal.subject) for one in known):
            return ""
        return "what asked for it is over"

    def _trained_since(self, signal: signals.StoredSignal) -> str:
        """Return the newest model of a signal's service, if that is not the one at hand when its cause was found."""
        models = self.store.registry.models(signal.name if signal.model else signal.service)
        newest = max(models, key=lambda one: one.created_at, default=None)
        if newest is None or newest.id == signal.model:
            return ""
        before = model_of(self.store.registry, signal)
        since = signal.noted_at if before is None else before.created_at
        return newest.id if newest.created_at > since else ""

    def _of_features(self, signal: signals.StoredSignal) -> Verdict:
        """Let drift wait that is of no feature that counts; another one may follow while the alert fires."""
        moved = [str(one["feature"]) for one in signal.payload.get("features", [])]
        if signal.cause != DRIFT or not moved:
            return Verdict()
        model = model_of(self.store.registry, signal)
        counts, others = important(moved, self.rules, {} if model is None else model.feature_importances)
        if counts:
            return Verdict()
        named = ", ".join(others[:_NAMED]) + (f" and {len(others) - _NAMED} more" if len(others) > _NAMED else "")
        return Verdict(held=f"{named} moved, whose drift asks for no new model")

    def _request(self, signal: signals.StoredSignal) -> tuple[dict[str, Any] | None, str]:
        """Return what to train on; or why nothing can be said of that, in a sentence."""
        try:
            with self.history.read() as connection:
                broken = self.known_faults(connection, signal)
                judged = judged_until(connection, signal.name) or clock_of(
                    self.history, connection, self.store.config, self.now
                )
            if signal.approved_by:
                # The same period that was agreed to.
                return left_out_again(signal, broken, replay=self.store.config.replay), ""
            made = training_request(
                self.store.config,
                self.store.registry,
                signal,
                self.rules,
                faults=broken,
                judged=judged,
                now=self.now,
            )
            return made, ""
        except FeatureStoreError as error:
            # That a new model is needed is worth saying, even where it is for people to find the rows.
            return None, f"{error.message.rstrip('.')}; {error.hint}".rstrip("; .")

    def _views(self, signal: signals.Cause) -> Sequence[str]:
        service = service_of(self.store.registry, signal)
        return [] if service is None else [view.name for view in service.definition.views]

    def _cause(self, found: Found, context: Context) -> signals.Cause:
        assert self.policy is not None  # noqa: S101 - it was looked at by one
        return signals.Cause(
            id="",
            policy=self.policy.name,
            policy_version=self.policy.version,
            service=context.service,
            cause=found.cause,
            subject=found.subject,
            baseline=context.baseline,
            model=context.model,
            incident="",
            payload=signal_message(context, cause=found.cause, reason=found.reason, now=self.now),
        )

    @cached_property
    def _policies(self) -> frozenset[str]:
        return frozenset(one.name for one in self.store.registry.list("monitor_policy"))


def _again(signal: signals.StoredSignal, payload: Mapping[str, Any]) -> signals.Cause:
    """Return the cause of a signal, with the payload that it had before anything became of it."""
    return signals.Cause(
        id="",
        policy=signal.policy,
        policy_version=signal.policy_version,
        service=signal.service,
        slice=signal.slice,
        cause=signal.cause,
        subject=signal.subject,
        baseline=signal.baseline,
        model=signal.model,
        incident=signal.incident,
        payload=payload,
    )


def _at(instant: datetime) -> str:
    return f"{instant:%Y-%m-%d %H:%M} UTC"
