"""What stays the same over the windows of a stream: whom it is about, what it is held against, its slices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import structlog

from featurestore.config import Config
from featurestore.definitions import BaselineSource, Field, MonitorPolicy
from featurestore.errors import MonitorError, closest
from featurestore.offline.engine import identifier, literal
from featurestore.profiles import Profile
from featurestore.registry import Registered
from monitor.alerts import message
from monitor.alerts.origins import Origin
from monitor.baselines import Reference, find_reference, model_behind
from monitor.detector import fit_limits
from monitor.history import Watch
from monitor.pipeline.judging import Yardstick
from monitor.pipeline.telling import Reach
from monitor.store import Store
from monitor.windows import Stream, Window, profiled

#: The most slices of one column; rows of further values are judged with all others, and not by themselves. They share
#: the budget as if there were so many: one that appears later takes nothing from the others.
MOST_SLICES = 10

_log = structlog.get_logger("monitor.pipeline")


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A stream that a policy watches.

    Attributes:
        policy: the policy.
        watch: policy and stream.
        stream: its rows.
        service: the service version that alerts are about; the stream's name where it is of none.
        model: the model whose predictions they are; "" where they are of none.
        fields: what is watched of a row.
        pii: fields whose values must not leave.
        keys: the join keys, whose values must not leave either.
        predictions: fields that a model gave.
        views: the view of each field, for what a message suggests.
        origins: what each field is made from, as far as that is known.
        source: where the baseline comes from; None for the one that goes by itself.
        accepted: by slice, the period of serving that somebody said is normal, and so the baseline.
    """

    policy: Registered[MonitorPolicy]
    watch: Watch
    stream: Stream
    service: str
    model: str
    fields: tuple[Field, ...]
    pii: frozenset[str]
    keys: frozenset[str]
    predictions: frozenset[str]
    views: Mapping[str, str]
    origins: Mapping[str, Origin]
    source: BaselineSource | None
    accepted: Mapping[str, BaselineSource] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Track:
    """All rows of a stream, or a slice of them.

    Attributes:
        subject: the stream.
        watch: policy, stream and slice.
        where: SQL that is true for the slice's rows; "" for all.
        yardstick: what its windows are held against.
        context: what messages say beside the decision.
    """

    subject: Subject
    watch: Watch
    where: str
    yardstick: Yardstick
    context: message.Context

    def profile(self, window: Window) -> Profile:
        """Return the profile of a window's rows, read as a stream."""
        return profiled(self.subject.stream, window, self.yardstick.reference.baseline.bins, where=self.where)


def reference_of(store: Store, subject: Subject, watermark: datetime) -> Reference | None:
    """Return what a stream is compared with; None while there is nothing."""
    accepted = subject.accepted.get("")
    found = find_reference(
        store.config,
        store.registry,
        subject.watch.service,
        accepted or subject.source,
        stream=subject.stream,
        fields=subject.fields,
        watermark=watermark,
    )
    if found is None or accepted is None:
        return found
    # Another normal is no other model: its importances, and its name in messages, stay.
    return replace(found, model=model_behind(store.registry, subject.watch.service, subject.source))


def tracks_of(store: Store, subject: Subject, reference: Reference, watermark: datetime) -> list[Track]:
    """Return the track of all rows, then those of the slices.

    Raises:
        MonitorError: the policy slices by a column that the stream has not, or that is personal.
    """
    tracks = [_track(store, subject, reference, "", "")]
    for name in subject.policy.definition.slices:
        column, named, value = name.partition("=")
        for one in [value] if named else _values(subject, reference, column):
            _check_slice(subject, column)
            where = f"{identifier(column)} = {literal(one)}"
            slice_ = f"{column}={one}"
            found = _reference_of_slice(store, subject, reference, slice_, where, watermark)
            if found is not None:
                tracks.append(_track(store, subject, found, slice_, where))
    return tracks


def slices_of(subject: Subject, reference: Reference) -> set[str]:
    """Return the slices that a stream is judged by, ``carrier=AA``: those that its policy means."""
    found: set[str] = set()
    for name in subject.policy.definition.slices:
        column, named, _ = name.partition("=")
        found |= {name} if named else {f"{column}={one}" for one in _categories(reference, column)}
    return found


def _track(store: Store, subject: Subject, reference: Reference, slice_: str, where: str) -> Track:
    policy = subject.policy.definition
    known = reference.baseline.bins.features
    watched = {one.name: 1.0 for one in known if policy.watches(one.column)}
    importances = _importances(store, reference)
    window = policy.window if isinstance(policy.window, timedelta) else None
    limits = fit_limits(
        reference.baseline,
        smallest_change=policy.smallest_change,
        window=window,
        # What is not watched gives no evidence; the detector's mean takes every watched feature alike.
        weights=watched if len(watched) < len(known) else None,
    )
    return Track(
        subject=subject,
        watch=replace(subject.watch, slice=slice_),
        where=where,
        yardstick=Yardstick(
            policy=policy,
            reference=reference,
            limits=limits,
            pii=subject.pii,
            predictions=subject.predictions,
            importances=importances,
        ),
        context=message.Context(
            project=store.config.project,
            replay=store.config.replay,
            service=subject.service,
            baseline=reference.dataset or reference.id,
            model=subject.model or reference.model,
            views=subject.views,
            origins=subject.origins,
            pii=subject.pii,
            slice=slice_,
            severity=policy.severity,
            runbook=policy.runbook,
        ),
    )


def _importances(store: Store, reference: Reference) -> dict[str, float]:
    if not reference.model:
        return {}
    given = store.registry.model(reference.model).feature_importances
    return {one.name: max(0.0, given[one.column]) for one in reference.baseline.bins.features if one.column in given}


def _check_slice(subject: Subject, column: str) -> None:
    known = subject.stream.schema().names
    if column not in known:
        raise MonitorError(
            f'Monitor policy "{subject.policy.name}" slices by "{column}", which {subject.watch.service} has not.',
            hint=closest(column, sorted(known)) or "Name a feature or a request field.",
        )
    if column in subject.pii | subject.keys:
        what = "tagged pii" if column in subject.pii else "a join key"
        raise MonitorError(
            f'Monitor policy "{subject.policy.name}" slices by "{column}", which is {what}.',
            hint="Alerts name slices, and values of keys and of personal fields must not leave.",
        )


def _values(subject: Subject, reference: Reference, column: str) -> Sequence[str]:
    """Return the values of a column that have a slice each: the most frequent of the baseline."""
    found = _categories(reference, column)
    if not found:
        raise MonitorError(
            f'Monitor policy "{subject.policy.name}" slices by "{column}", of which the baseline knows no categories.',
            hint=f'Name a text or Bool feature, or the values to watch: slices=["{column}=VALUE"].',
        )
    return found


def _categories(reference: Reference, column: str) -> Sequence[str]:
    for one in reference.baseline.bins.features:
        if one.name == column and one.kind == "categorical":
            return one.categories[:MOST_SLICES]
    return ()


def _reference_of_slice(
    store: Store, subject: Subject, reference: Reference, slice_: str, where: str, watermark: datetime
) -> Reference | None:
    """Return the baseline's own rows of a slice."""
    accepted = subject.accepted.get(slice_) or subject.accepted.get("")
    source = accepted or subject.source or BaselineSource(dataset=reference.dataset or None)
    narrowed = replace(source, filter=f"({source.filter}) AND {where}" if source.filter else where)
    found = find_reference(
        store.config,
        store.registry,
        subject.watch.service,
        narrowed,
        stream=subject.stream,
        fields=subject.fields,
        watermark=watermark,
    )
    if found is None:
        _log.warning("no baseline", policy=subject.policy.name, service=subject.watch.service, slice=where)
        return None
    return replace(found, model=reference.model) if accepted is not None else found


def pii_of(fields: Sequence[Field]) -> frozenset[str]:
    """Return the fields whose values must not leave."""
    return frozenset(one.name for one in fields if one.pii)


def reach_of(config: Config, policy: Registered[MonitorPolicy]) -> Reach:
    """Return who hears of a policy's alerts; of a rehearsal, only channels that take its messages.

    Raises:
        MonitorError: a route names no channel.
    """
    definition = policy.definition
    return Reach(
        routes=_channels(config, policy.name, "routes", definition.routes),
        escalate_after=definition.escalate_after,
        escalate_to=_channels(config, policy.name, "escalates", definition.escalate_to),
    )


def _channels(config: Config, policy: str, does: str, names: Sequence[str]) -> tuple[str, ...]:
    for name in names:
        if name not in config.channels:
            raise MonitorError(
                f'Monitor policy "{policy}" {does} to "{name}", which featurestore.toml does not configure.',
                hint=closest(name, config.channels) or f"Add a section [channels.{name}].",
            )
    return tuple(name for name in names if not config.replay or config.channels[name].rehearsals)
