"""Which streams of rows a policy watches: the versions of a service, another source, what models predict."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta

from featurestore.config import Config
from featurestore.definitions import BaselineSource, MonitorPolicy
from featurestore.errors import FeatureStoreError
from featurestore.lineage.sources import label
from featurestore.registry import ModelRecord, Registered
from featurestore.serving.feedback import PREDICTIONS
from monitor.alerts.origins import Origin, origins
from monitor.history import Detector, History, Watch
from monitor.pipeline.subjects import Subject, pii_of
from monitor.store import Store
from monitor.windows import ServingLog, Stream
from monitor.windows.predictions import PREDICTION_FIELDS, PredictionStream
from monitor.windows.sources import source_stream

#: What a model predicts is compared with what it predicted in its first days, unless the policy names a period.
FIRST_DAYS = timedelta(days=14)

#: Begins the name of a stream of predictions, which would else be named as a service may be.
PREDICTIONS_OF = "predictions of "

_DAY = timedelta(days=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def subjects_of(
    store: Store,
    history: History,
    config: Config,
    policy: Registered[MonitorPolicy],
    *,
    now: datetime,
    opened: ExitStack,
    faults: list[FeatureStoreError],
) -> tuple[list[Subject], datetime | None]:
    """Return the streams of a policy, and up to where the first of them is complete.

    Args:
        store: configuration and registry.
        history: remembers which days the baseline of predictions is of.
        config: with the monitor's own bounds on memory and threads.
        policy: the policy.
        now: the wall clock.
        opened: closes the streams.
        faults: takes the faults of single streams.
    """
    definition = policy.definition
    if definition.service is None:
        subject = _source(config, policy, opened)
        return [subject], subject.stream.watermark(now=now)
    log = ServingLog(config)
    watermark = log.watermark(now=now)
    if watermark is None:
        return [], None
    subjects = []
    for service in log.services(definition.service.name):
        with put_aside(faults):
            subjects.append(_service(store, policy, service, _opened(log.stream(service), opened)))
    if definition.prediction_drift:
        for model in models_of(store, policy):
            with put_aside(faults):
                stream = _opened(PredictionStream(config, model.id), opened)
                found = _predictions(history, policy, model, stream, now=now)
                subjects += [] if found is None else [found]
    return subjects, watermark


@contextmanager
def put_aside(faults: list[FeatureStoreError]) -> Iterator[None]:
    """Put a fault aside, so that others are judged all the same."""
    try:
        yield
    except FeatureStoreError as error:
        faults.append(error)


def models_of(store: Store, policy: Registered[MonitorPolicy]) -> list[ModelRecord]:
    """Return the models of the policy's service, of any version, that have logged predictions."""
    service = policy.definition.service
    if service is None:
        return []
    folder = store.config.path(store.config.serving.feedback_path) / PREDICTIONS.name
    found = [one for one in store.registry.models() if one.service.partition("@")[0] == service.name]
    return sorted((one for one in found if (folder / one.name).is_dir()), key=lambda one: (one.name, one.version))


def _opened(stream: Stream, opened: ExitStack) -> Stream:
    opened.callback(stream.close)
    return stream


def _service(store: Store, policy: Registered[MonitorPolicy], service: str, stream: Stream) -> Subject:
    definition = store.registry.service(service).definition
    outputs = definition.outputs
    views = {use.name: use.view.name for use in definition.uses}
    fields = tuple(one for group in outputs.values() for one in group)
    return Subject(
        policy=policy,
        watch=_watch(policy, service),
        stream=stream,
        service=service,
        model="",
        fields=fields,
        pii=pii_of(fields),
        keys=frozenset(definition.keys),
        predictions=frozenset(),
        views={one.name: views.get(name, name) for name, group in outputs.items() for one in group},
        origins=origins(definition),
        source=policy.definition.baseline,
    )


def _source(config: Config, policy: Registered[MonitorPolicy], opened: ExitStack) -> Subject:
    definition = policy.definition
    assert definition.source is not None  # noqa: S101 - a policy without a service has one
    named = label(definition.source, policy.name)
    return Subject(
        policy=policy,
        watch=_watch(policy, policy.name),
        stream=_opened(source_stream(definition.source, config, name=policy.name), opened),
        service=policy.name,
        model="",
        fields=tuple(definition.fields),
        pii=pii_of(definition.fields),
        keys=frozenset(),
        predictions=frozenset(),
        views={},
        origins={one.name: Origin(views=(), sources=(named,)) for one in definition.fields},
        source=definition.baseline,
    )


def _predictions(
    history: History, policy: Registered[MonitorPolicy], model: ModelRecord, stream: Stream, *, now: datetime
) -> Subject | None:
    watch = _watch(policy, PREDICTIONS_OF + model.id)
    source = policy.definition.baseline
    if source is None or source.since is None:
        source = _first_days(history, watch, stream, now=now)
    if source is None:
        return None
    return Subject(
        policy=policy,
        watch=watch,
        stream=stream,
        service=model.service,
        model=model.id,
        fields=PREDICTION_FIELDS,
        pii=frozenset(),
        keys=frozenset(),
        predictions=frozenset(one.name for one in PREDICTION_FIELDS),
        views={},
        origins={},
        source=source,
    )


def _first_days(history: History, watch: Watch, stream: Stream, *, now: datetime) -> BaselineSource | None:
    """Return the first days of a stream; what they are is kept, as retention takes the oldest files away."""
    with history.read() as connection:
        kept = history.detector(connection, watch, "baseline")
    if kept is not None:
        return BaselineSource(
            since=datetime.fromisoformat(kept.state["since"]), until=datetime.fromisoformat(kept.state["until"])
        )
    whole = stream.period(None, now)
    if not whole.rows:
        return None
    since = _EPOCH + (whole.start - _EPOCH) // _DAY * _DAY
    until = since + FIRST_DAYS
    with history.write() as connection:
        state = {"since": since.isoformat(), "until": until.isoformat()}
        history.save_detector(connection, watch, "baseline", Detector(baseline="", state=state))
    return BaselineSource(since=since, until=until)


def _watch(policy: Registered[MonitorPolicy], stream: str) -> Watch:
    return Watch(policy=policy.name, policy_version=policy.version, service=stream)
