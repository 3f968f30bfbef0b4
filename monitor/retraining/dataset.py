"""A signal's training request -> the training dataset that it asks for, the same whoever makes it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from google.protobuf import json_format

from featurestore.errors import MonitorError
from featurestore.offline.datasets.training_dataset import TrainingDataset
from featurestore.offline.store import OfflineStore
from featurestore.v1 import signals_pb2 as pb
from monitor.history import History
from monitor.retraining import store as signals
from monitor.retraining.entity_rows import read_rows
from monitor.retraining.request import dataset_of, definitions_of, recipe_of, request_hash
from monitor.retraining.states import SignalState
from monitor.retraining.wording import SHOWN
from monitor.store import Store


@dataclass(frozen=True, kw_only=True)
class Made:
    """What came of a training request.

    Attributes:
        dataset: the new training data.
        before: the one that was made of the same request before; "" where it is the first.
        same: whether its rows are those of the one before; true of the first.
    """

    dataset: TrainingDataset
    before: str
    same: bool


def make_dataset(
    store: Store,
    history: History,
    reference: str,
    *,
    name: str = "",
    who: str,
    now: datetime,
    progress: Callable[[int], None] | None = None,
) -> Made:
    """Make the dataset that a signal asks for, and note it with the signal.

    Made twice it has the same content, as the request says which rows of the tables count. Where what it reads has
    changed nevertheless, as a file of a source that was written over, that is said.

    Args:
        store: configuration and registry.
        history: the monitor's database.
        reference: the signal's id, or a beginning of it.
        name: of the dataset, in place of the request's.
        who: who makes it.
        now: the wall clock.
        progress: called with the rows of each group that is written.

    Raises:
        MonitorError: there is no such signal, it was not sent, or its definitions are not those of the registry.
        SchemaError: the query gives no rows, or rows without keys, instants or the label.
        DataError: the query cannot be run.
        OfflineStoreError: a table cannot be read, or the disk refuses.
    """
    with history.read() as connection:
        signal = signals.find_signal(connection, reference)
        events = signals.signal_events(connection, signal=signal.id, limit=signals.ALL)
    request = request_of(signal)
    registry = store.registry
    service = registry.service(request.service)
    if definitions_of(service) != dict(request.definitions):
        raise MonitorError(
            f"Retraining signal {signal.id[:SHOWN]} is of other versions than the registry has under these names.",
            hint="Make it where it was sent, or ask again: featurestore monitor retrain SERVICE --reason WHY",
        )
    what = f"the entity rows of retraining signal {signal.id[:SHOWN]}"
    rows = read_rows(store.config, registry, request.entity_rows, service.definition, model=signal.model, what=what)
    as_of = request.as_of.ToDatetime(now.tzinfo)
    recipe = replace(
        recipe_of(dataset_of(registry, signal, at=as_of)),
        label=request.label or None,
        timestamp_field=request.timestamp_field,
        as_of=as_of,
    )
    dataset = OfflineStore(store.config, registry).create_dataset(
        name or request.dataset, service, rows, recipe, who=who, progress=progress
    )
    before = next((one.dataset for one in reversed(events) if one.reason.startswith(_MADE)), "")
    content = dataset.manifest["content_hash"]
    same = not before or registry.dataset(before).manifest["content_hash"] == content
    with history.write() as connection:
        signals.note(
            connection,
            signal.id,
            who=who,
            reason=f"{_MADE}{dataset.id}, content hash {content}",
            dataset=dataset.id,
            now=now,
        )
    return Made(dataset=dataset, before=before, same=same)


def request_of(signal: signals.StoredSignal) -> pb.TrainingRequest:
    """Return the training request of a signal.

    Raises:
        MonitorError: it has none, nobody has agreed to it, or it is not what was written.
    """
    name = signal.id[:SHOWN]
    told: Mapping[str, Any] | None = signal.payload.get("request")
    if not signal.state.may_be_trained:
        raise MonitorError(
            f"Retraining signal {name} is {signal.state}, and no dataset is made of it.",
            hint=f"Somebody has to agree: featurestore monitor approve {name}"
            if signal.state is SignalState.PENDING
            else f"See why: featurestore monitor signal {name}",
        )
    if told is None:
        raise MonitorError(
            f"Retraining signal {name} has no training request.",
            hint=f"See why: featurestore monitor signal {name}",
        )
    if request_hash(told) != told["hash"]:
        raise MonitorError(
            f"The training request of signal {name} is not the one that its hash is of.",
            hint="Somebody has changed the monitor's database; ask again: featurestore monitor retrain SERVICE",
        )
    return json_format.ParseDict(dict(told), pb.TrainingRequest())


#: How the event of a dataset begins.
_MADE = "made "
