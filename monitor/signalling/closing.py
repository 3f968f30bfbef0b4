"""The loop closes: the model that came of a signal is compared with the one before, on live data, once it is served.

It goes by what is there, not by what has happened: run again after a death at any moment, it does what is left.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import pyarrow.compute as pc
import structlog
from sqlalchemy import Connection, select

from featurestore.definitions import MonitorPolicy, RetrainingPolicy
from featurestore.errors import FeatureStoreError, MonitorError
from featurestore.registry import Registered
from featurestore.registry.records import ModelRecord
from featurestore.store import FeatureStore
from featurestore.types import microseconds
from monitor.alerts import outbox
from monitor.alerts.base import Kind
from monitor.history import History, instant
from monitor.history.upserting import put
from monitor.performance.comparison import Margin
from monitor.performance.live import METRICS
from monitor.performance.reading import feedback_watermark
from monitor.performance.versions import QUALITY, VersionComparison, compare_versions
from monitor.retraining.asking import watching
from monitor.retraining.considering import policy_of
from monitor.retraining.gates import LOOKED_AFTER
from monitor.retraining.routing import routes_of
from monitor.retraining.states import SignalState
from monitor.retraining.store import ALL, StoredSignal, list_signals, note, signal_events
from monitor.schema import signal_results
from monitor.signalling.verdict import CONFIDENCE, LOOKS, Verdict, looks_due, sentence, verdict

_log = structlog.get_logger("monitor.closing")


@dataclass(frozen=True, kw_only=True)
class Result:
    """How far a comparison has got.

    Attributes:
        model: the new one.
        promoted_at: since when it is served.
        looks: at live data, so far.
        verdict: ``OPEN`` until it is settled.
    """

    model: str
    promoted_at: datetime
    looks: int = 0
    verdict: Verdict = Verdict.OPEN


def close_loops(
    store: FeatureStore,
    history: History,
    policy: Registered[MonitorPolicy],
    *,
    now: datetime,
    faults: list[FeatureStoreError],
) -> int:
    """Look after signals whose training is done; return of how many it was settled whether it helped.

    Those of a policy, and those of none: what a person has asked for of a service that none watched, and what a policy
    that is gone has left behind. These go by the policy that watches their service by now, if there is one.

    Args:
        store: whose predictions and outcomes.
        history: the monitor's database.
        policy: whose signals, beside those of none.
        now: the wall clock.
        faults: takes the faults of single signals: the others go on.
    """
    others = {one.name for one in store.registry.list("monitor_policy")} - {policy.name}
    with history.read() as connection:
        done = [
            one
            for one in list_signals(connection, states=[SignalState.DONE], since=now - LOOKED_AFTER)
            if one.policy not in others
        ]
        open_ = list(_with_results(connection, done))
    settled = 0
    for signal, model, result in open_:
        try:
            mine = policy if signal.policy == policy.name else watching(store.registry, signal.name)
            rules = None if mine is None else mine.definition
            closing = _Closing(store=store, history=history, policy=rules, signal=signal, now=now)
            settled += closing.go(model, result)
        except FeatureStoreError as error:
            faults.append(error)
    return settled


def _with_results(
    connection: Connection, signals: Sequence[StoredSignal]
) -> Iterator[tuple[StoredSignal, str, Result | None]]:
    """Yield those that are not settled, with the model that came of them."""
    for signal in signals:
        result = result_of(connection, signal.id)
        if result is not None and result.verdict is not Verdict.OPEN:
            continue
        events = signal_events(connection, signal=signal.id, limit=ALL)
        model = next((one.model for one in reversed(events) if one.model), "")
        if model:
            yield signal, model, result


def result_of(connection: Connection, signal: str) -> Result | None:
    """Return how far the comparison of a signal's model has got; None where it is not served yet."""
    row = connection.execute(select(signal_results).where(signal_results.c.signal == signal)).one_or_none()
    if row is None:
        return None
    promoted_at = instant(row.promoted_at)
    assert promoted_at is not None  # noqa: S101 - the column has no nulls
    return Result(
        model=row.model, promoted_at=promoted_at, looks=row.looks, verdict=Verdict(row.verdict or Verdict.OPEN)
    )


@dataclass(frozen=True, kw_only=True)
class _Closing:
    """One signal.

    Attributes:
        store: whose predictions and outcomes.
        history: the monitor's database.
        policy: that watches its service; None where none does.
        signal: the signal.
        now: the wall clock.
    """

    store: FeatureStore
    history: History
    policy: MonitorPolicy | None
    signal: StoredSignal
    now: datetime

    def go(self, name: str, before: Result | None) -> bool:
        """Do what is due of the model that came of the signal; return whether it was settled."""
        new = self.store.registry.model(name)
        clock = feedback_watermark(self.store, now=self.now)
        result = before if before is not None and before.model == new.id else self._promoted(new, before)
        if result is None:
            return False
        due = looks_due(result.promoted_at, new.evaluation.label_delay, clock)
        if due <= result.looks:
            return False
        said, text = self._look(new, due, clock)
        kept = self._keep(replace(result, looks=due, verdict=said), text, before=result)
        return kept and said is not Verdict.OPEN

    def _promoted(self, new: ModelRecord, before: Result | None) -> Result | None:
        """Return since when the new version is served, and keep it; None while it is not."""
        if self.store.registry.resolve_service(new.service.partition("@")[0]).id != new.service:
            return None
        made = self.store.predictions(new.id).column("predicted_at")
        if not len(made):
            return None
        since = pc.min(made).as_py()
        for alias in self.store.registry.alias_records(new.service.partition("@")[0]):
            # A canary has predicted before, for a few.
            if alias.alias == "production" and alias.id == new.service and alias.moved_at is not None:
                since = since if self.store.config.replay else max(since, alias.moved_at)
        result = Result(model=new.id, promoted_at=since)
        old = self.signal.model
        with_whom = f" and is compared with {old} after {LOOKS[0]} days" if old not in ("", new.id) else ""
        kept = self._keep(result, f"{new.id} is served since {since:%Y-%m-%d %H:%M} UTC{with_whom}", before=before)
        return result if kept else None

    def _look(self, new: ModelRecord, look: int, clock: datetime) -> tuple[Verdict, str]:
        old = self.signal.model
        if old in ("", new.id):
            return Verdict.UNKNOWN, f"Whether {new.id} helped cannot be said: the signal names no model before it"
        found: VersionComparison | None = None
        faults: list[str] = []
        for metric in self._metrics(new):
            try:
                found = self._compared(old, new.id, metric, clock)
                break
            except MonitorError as error:
                faults.append(error.sentence)
        if found is None:
            why = faults[0] if faults else f"{new.id} does not declare what it predicts"
            return Verdict.UNKNOWN, f"Whether {new.id} is better than {old} cannot be said: {why}"
        said = verdict(found.comparison, look)
        if said is Verdict.OPEN:
            return said, f"Look {look} of {len(LOOKS)}: {found.comparison.text}"
        return said, " ".join((sentence(found.comparison, said), *found.notes))

    def _metrics(self, new: ModelRecord) -> list[str]:
        """Return what the policy watches of the model, and then its task's own metric."""
        watched = [one for one in self.policy.performance if one in QUALITY] if self.policy is not None else []
        return list(dict.fromkeys([*watched, *METRICS.get(new.evaluation.task, ())]))

    def _compared(self, old: str, new: str, metric: str, clock: datetime) -> VersionComparison:
        """Return the comparison over the time that both served; where there is none, with the time before."""

        def compared(*, all_times: bool) -> VersionComparison:
            return compare_versions(
                self.store,
                old,
                new,
                metric=metric,
                margin=Margin(lower_is_better=QUALITY[metric]),
                now=clock,
                # Before its cause was found the old version had another world before it.
                since=None if self.store.config.replay else self.signal.noted_at,
                all_times=all_times,
                confidence=CONFIDENCE,
            )

        together = compared(all_times=False)
        return together if together.comparison.answer != "not enough data" else compared(all_times=True)

    def _keep(self, result: Result, text: str, *, before: Result | None) -> bool:
        """Keep how far it has got with an event, and tell what is settled, in one transaction; or say that it was kept.

        Runs of several policies look after a signal of none, and do so at once.
        """
        settled = result.verdict is not Verdict.OPEN
        channels = self._channels() if settled else ()
        values = {
            "model": result.model,
            "promoted_at": microseconds(result.promoted_at),
            "looks": result.looks,
            "verdict": "" if not settled else str(result.verdict),
        }
        with self.history.write() as connection:
            if result_of(connection, self.signal.id) != before:
                return False
            put(connection, signal_results, {"signal": self.signal.id}, values)
            note(connection, self.signal.id, who="", reason=text, now=self.now, model=result.model)
            for channel in channels:
                outbox.enqueue(
                    connection,
                    instance=self.history.instance,
                    channel=channel,
                    kind=Kind.RETRAINED,
                    project=self.store.config.project,
                    service=self.signal.service,
                    incident=self.signal.id,
                    sequence=result.model,
                    severity="info",
                    payload=self._payload(text),
                    now=self.now,
                )
        _log.info("result of retraining", signal=self.signal.id, model=result.model, verdict=str(result.verdict))
        return True

    def _channels(self) -> tuple[str, ...]:
        rules = (None if self.policy is None else policy_of(self.policy.retrain)) or RetrainingPolicy()
        return routes_of(self.store.config, self.policy, rules, SignalState.DONE)

    def _payload(self, text: str) -> dict[str, Any]:
        rehearsed = f"REPLAY {self.store.config.replay}: " if self.store.config.replay else ""
        return {**self.signal.payload, "reason": f"{rehearsed}{text}"}
