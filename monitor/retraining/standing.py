"""What asks for a new model as time goes by, without an alert: old training data, new rows, other definitions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, func, select

from featurestore.config import Config
from featurestore.definitions import MonitorPolicy, RetrainingPolicy
from featurestore.registry import Registry
from featurestore.registry.records import DatasetRecord, ModelRecord, Registered
from featurestore.store import FeatureStore
from monitor import schema
from monitor.alerts.message import Context
from monitor.history import Check, History, Watch, instant
from monitor.history.values import EPOCH
from monitor.quality.freshness import TrainingData, stale_training_data
from monitor.retraining import episodes
from monitor.retraining.business import fallen
from monitor.retraining.causes import BUSINESS, DEFINITIONS, NEW_DATA, STALE
from monitor.retraining.entity_rows import count_query, read_rows, served_query, whole_query
from monitor.retraining.request import left_out, recipe_of
from monitor.store import Store

#: How often rows are counted, at most.
COUNT_EVERY = timedelta(hours=1)


@dataclass(frozen=True, kw_only=True)
class AtHand:
    """What is trained by now for a service.

    Attributes:
        service: the current version.
        model: the newest model of any version; None where none is recorded.
        dataset: what it was trained on; without a model the newest training data of the service.
    """

    service: str
    model: ModelRecord | None
    dataset: DatasetRecord

    @property
    def of(self) -> str:
        """The version that it was trained for."""
        return self.model.service if self.model is not None else str(self.dataset.manifest["service"])

    @property
    def whose(self) -> str:
        """``model ridge@1``, or ``dataset delays@1``."""
        return f"model {self.model.id}" if self.model is not None else f"dataset {self.dataset.id}"

    def context(self, config: Config, severity: str) -> Context:
        """Return what messages say."""
        return Context(
            project=config.project,
            replay=config.replay,
            service=self.of,
            baseline=self.dataset.id,
            model="" if self.model is None else self.model.id,
            views={},
            severity=severity,
        )


@dataclass(frozen=True, kw_only=True)
class Found:
    """A cause that stands.

    Attributes:
        cause: which.
        subject: what it is about.
        reason: why, in a sentence.
    """

    cause: str
    subject: str
    reason: str


def at_hand(registry: Registry, name: str) -> AtHand | None:
    """Return what is trained by now for a service; None where nothing is."""
    model = max(registry.models(name), key=lambda one: one.created_at, default=None)
    if model is not None:
        dataset = registry.dataset(model.dataset)
    else:
        mine = [one for one in registry.datasets() if str(one.manifest["service"]).partition("@")[0] == name]
        if not mine:
            return None
        dataset = max(mine, key=lambda one: one.created_at)
    return AtHand(service=registry.service(name).id, model=model, dataset=dataset)


def judged_until(connection: Connection, name: str) -> datetime | None:
    """Return up to where what was served of a service has been judged, by any policy; None where nothing was."""
    streams = schema.streams
    mine = func.substr(streams.c.service, 1, len(name) + 1) == f"{name}@"
    return instant(connection.execute(select(func.max(streams.c.next_start)).where(mine)).scalar())


def standing_causes(
    store: Store,
    history: History,
    policy: Registered[MonitorPolicy],
    rules: RetrainingPolicy,
    found: AtHand,
    *,
    clock: datetime,
    now: datetime,
) -> Iterator[Found]:
    """Yield what asks for a new model now, of the causes that the rules name.

    Args:
        store: configuration and registry.
        history: remembers how many rows were counted.
        policy: the monitor's.
        rules: of its retraining.
        found: what is trained by now.
        clock: what time it is where the rows are served.
        now: the wall clock.

    Raises:
        FeatureStoreError: rows cannot be counted.
    """
    if STALE in rules.causes:
        yield from _stale(found, rules, clock)
    if DEFINITIONS in rules.causes and found.of != found.service:
        said = f"{found.whose} was trained for {found.of}, and {found.service} is the current version"
        yield Found(cause=DEFINITIONS, subject=found.service, reason=said)
    if BUSINESS in rules.causes:
        yield from _business(store, history, policy, rules, found, clock=clock, now=now)
    if NEW_DATA in rules.causes:
        yield from _new_data(store, history, policy, rules, found, clock=clock, now=now)


def _stale(found: AtHand, rules: RetrainingPolicy, clock: datetime) -> Iterator[Found]:
    last = found.dataset.manifest.get("last_instant")
    data = TrainingData(
        dataset=found.dataset.id,
        model="" if found.model is None else found.model.id,
        newest=None if last is None else datetime.fromisoformat(last),
    )
    judged = stale_training_data(data, limit=rules.max_age, now=clock)
    if judged.pages:
        yield Found(cause=STALE, subject=f"{STALE} {found.dataset.id}", reason=judged.sentence.rstrip("."))


def _new_data(
    store: Store,
    history: History,
    policy: Registered[MonitorPolicy],
    rules: RetrainingPolicy,
    found: AtHand,
    *,
    clock: datetime,
    now: datetime,
) -> Iterator[Found]:
    rows = _counted(store, history, policy, rules, found, clock=clock, now=now)
    before = int(found.dataset.manifest.get("rows") or 0)
    wanted = [rules.new_rows] if rules.new_rows else []
    wanted += [max(1, round(rules.new_share * before))] if rules.new_share and before else []
    if wanted and rows >= min(wanted):
        said = (
            f"{rows:,} rows have come since the {before:,} of {found.dataset.id}; their outcomes are known, and "
            "nothing of them was broken"
        )
        yield Found(cause=NEW_DATA, subject=f"{NEW_DATA} {found.dataset.id}", reason=said)


def _counted(
    store: Store,
    history: History,
    policy: Registered[MonitorPolicy],
    rules: RetrainingPolicy,
    found: AtHand,
    *,
    clock: datetime,
    now: datetime,
) -> int:
    """Return how many rows have come since the training data at hand; they are counted once an hour at most."""

    def count() -> dict[str, Any]:
        return {"rows": _count(store, history, rules, found, clock=clock, now=now)}

    return int(_hourly(history, policy, found, NEW_DATA, found.dataset.id, count, clock=clock, now=now)["rows"])


def _hourly(
    history: History,
    policy: Registered[MonitorPolicy],
    found: AtHand,
    check: str,
    subject: str,
    look: Callable[[], dict[str, Any]],
    *,
    clock: datetime,
    now: datetime,
) -> Mapping[str, Any]:
    """Return what a look at many rows found, which is taken once an hour at most and kept with the checks."""
    name = found.service.partition("@")[0]
    watch = Watch(policy=policy.name, policy_version=policy.version, service=name)
    with history.read() as connection:
        last = history.checked_until(connection, watch, check)
        kept = [] if last is None else history.checks(connection, policy.name, since=last, until=last)
    for stream, one in kept:
        told = one.findings[0] if one.findings else {}
        if (stream, one.subject, told.get("subject")) == (name, check, subject) and clock - one.at < COUNT_EVERY:
            return told
    seen = look()
    with history.write() as connection:
        again = history.checked_until(connection, watch, check)
        if again is None or again < clock:
            findings = [{"rule": check, "subject": subject, **seen}]
            record = Check(subject=check, at=clock, verdict="ok", findings=findings)
            history.record_check(connection, watch, record, now=now)
    return seen


def _business(
    store: Store,
    history: History,
    policy: Registered[MonitorPolicy],
    rules: RetrainingPolicy,
    found: AtHand,
    *,
    clock: datetime,
    now: datetime,
) -> Iterator[Found]:
    model = found.model
    if model is None or not isinstance(store, FeatureStore):
        return
    for metric, share in rules.metrics.items():

        def look(metric: str = metric, share: float = share) -> dict[str, Any]:
            return {"said": fallen(store, model, metric, share, clock=clock)}

        check = f"{BUSINESS} {metric}"
        said = str(_hourly(history, policy, found, check, model.id, look, clock=clock, now=now)["said"])
        if said:
            yield Found(cause=BUSINESS, subject=f"{check} of {model.id}", reason=said)


def _count(
    store: Store, history: History, rules: RetrainingPolicy, found: AtHand, *, clock: datetime, now: datetime
) -> int:
    registry, manifest = store.registry, found.dataset.manifest
    service = registry.service(found.service)
    delay = timedelta(0) if found.model is None else found.model.evaluation.label_delay
    last = manifest.get("last_instant")
    since = EPOCH if last is None else datetime.fromisoformat(last) + timedelta(microseconds=1)
    views = [view.name for view in service.definition.views]
    with history.read() as connection:
        until = (judged_until(connection, service.name) or clock) - delay
        if until <= since:
            return 0
        faults = episodes.faults_between(connection, found.service, views, since, until)
    recipe = recipe_of(found.dataset)
    rows = rules.entity_rows or served_query(
        service.definition, recipe, model=found.model, columns=manifest.get("columns", {}), as_of=now
    )
    gaps = [(start, end) for start, end, _ in left_out(faults, since, until)]
    query = whole_query(rows, timestamp_field=recipe.timestamp_field, since=since, until=until, left_out=gaps)
    counted = read_rows(
        store.config,
        registry,
        count_query(query),
        service.definition,
        model="" if found.model is None else found.model.id,
        what=f"the new rows for {found.service}",
    )
    return int(counted.column("rows")[0].as_py())
