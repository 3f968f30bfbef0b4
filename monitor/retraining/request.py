"""A cause -> what to train on: definitions, a range of time, a query for the entity rows, and what is left out."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from google.protobuf import json_format

from featurestore.config import Config
from featurestore.definitions import FeatureService, RetrainingPolicy, TimeSplit
from featurestore.errors import MonitorError, ObjectNotFoundError
from featurestore.offline.datasets.manifest import Recipe
from featurestore.registry import Registry
from featurestore.registry.records import DatasetRecord, ModelRecord, Registered
from featurestore.v1 import signals_pb2 as pb
from monitor.alerts.message import to_json
from monitor.retraining.causes import DEFINITIONS
from monitor.retraining.entity_rows import check_rows, inner_query, served_query, whole_query
from monitor.retraining.gates import Fault
from monitor.retraining.store import Cause, StoredSignal
from monitor.retraining.wording import command

#: How long a period is learnt from where no training data says it.
_HISTORY = timedelta(days=91)
_SECOND = timedelta(seconds=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def service_of(registry: Registry, cause: Cause) -> Registered[FeatureService] | None:
    """Return the service version that is to be trained for; None where the stream is of none.

    That is the one whose model is at hand; where the definitions have changed, the current one.
    """
    name = cause.service.partition("@")[0]
    try:
        return registry.service(name if cause.cause == DEFINITIONS else cause.service)
    except ObjectNotFoundError:
        return None


def model_of(registry: Registry, cause: Cause) -> ModelRecord | None:
    """Return the model at hand; None where there is none."""
    return registry.model(cause.model) if cause.model else None


def dataset_of(registry: Registry, cause: Cause, *, at: datetime) -> DatasetRecord | None:
    """Return the training data at hand: the baseline, or, where that is a period, what the model was trained on.

    Where there is neither, the newest that there was at an instant: what is made of a request says nothing of how it
    is made once more.
    """
    known = {one.id: one for one in registry.datasets()}
    # A baseline of chosen rows of a dataset is named after it: "delays@1#5a0c".
    named = known.get(cause.baseline.partition("#")[0])
    model = model_of(registry, cause)
    if named is None and model is not None:
        named = known.get(model.dataset)
    if named is not None:
        return named
    name = cause.service.partition("@")[0]
    mine = [
        one
        for one in known.values()
        if one.created_at <= at and str(one.manifest.get("service", "")).partition("@")[0] == name
    ]
    return max(mine, key=lambda one: one.created_at, default=None)


def training_request(
    config: Config,
    registry: Registry,
    cause: Cause,
    rules: RetrainingPolicy,
    *,
    faults: Sequence[Fault],
    judged: datetime,
    now: datetime,
) -> dict[str, Any]:
    """Return the JSON form of ``featurestore.v1.TrainingRequest``.

    Args:
        config: says whether it is a rehearsal.
        registry: knows definitions, datasets and models.
        cause: what asks for it.
        rules: how long a period, and where its rows come from.
        faults: what was broken, whenever.
        judged: up to where rows have been looked at: of later ones nobody knows whether they are broken.
        now: the wall clock: what was ingested later does not count.

    Raises:
        MonitorError: no entity rows can be asked for, or a column of theirs is missing.
        DataError: the query of the rules cannot be run.
    """
    service = service_of(registry, cause)
    if service is None:
        raise MonitorError(
            f"{cause.service} is a stream of rows and no feature service, for which a dataset could be made.",
            hint="Train on rows of your own; the signal says why.",
        )
    model, dataset = model_of(registry, cause), dataset_of(registry, cause, at=now)
    recipe = recipe_of(dataset)
    delay = timedelta(0) if model is None else model.evaluation.label_delay
    since, until = period(judged - delay, rules, {} if dataset is None else dataset.manifest)
    gaps = left_out(faults, since, until)
    rows = rules.entity_rows or served_query(
        service.definition,
        recipe,
        model=model,
        columns={} if dataset is None else dataset.manifest.get("columns", {}),
        as_of=now,
    )
    query = whole_query(
        rows,
        timestamp_field=recipe.timestamp_field,
        since=since,
        until=until,
        left_out=[(start, end) for start, end, _ in gaps],
    )
    check_rows(
        config,
        registry,
        query,
        service.definition,
        model="" if model is None else model.id,
        timestamp_field=recipe.timestamp_field,
        label=recipe.label or "",
    )
    name = rules.dataset or (service.name if dataset is None else dataset.name)
    return sealed(
        pb.TrainingRequest(
            service=service.id,
            dataset=name,
            since=since,
            until=until,
            entity_rows=query,
            left_out=[pb.Interval(since=start, until=end, reason=reason) for start, end, reason in gaps],
            label_delay=delay,
            definitions=definitions_of(service),
            as_of=now,
            label=recipe.label or "",
            timestamp_field=recipe.timestamp_field,
        ),
        cause.id,
        replay=config.replay,
    )


def left_out_again(signal: StoredSignal, faults: Sequence[Fault], *, replay: str) -> dict[str, Any] | None:
    """Return a signal's request without what is known to have been broken by now; None where it has none.

    Range of time, definitions and rows are those that somebody has agreed to.

    Args:
        signal: whose.
        faults: what was broken, whenever.
        replay: the name of the rehearsal, or "".
    """
    if "request" not in signal.payload:
        return None
    found = json_format.ParseDict(dict(signal.payload["request"]), pb.TrainingRequest())
    since, until = found.since.ToDatetime(UTC), found.until.ToDatetime(UTC)
    gaps = left_out(faults, since, until)
    rows = inner_query(found.entity_rows)
    found.entity_rows = whole_query(
        rows,
        timestamp_field=found.timestamp_field,
        since=since,
        until=until,
        left_out=[(start, end) for start, end, _ in gaps],
    )
    del found.left_out[:]
    found.left_out.extend(pb.Interval(since=start, until=end, reason=reason) for start, end, reason in gaps)
    return sealed(found, signal.id, replay=replay)


def sealed(request: pb.TrainingRequest, signal: str, *, replay: str) -> dict[str, Any]:
    """Return the JSON form of a request, with its hash and the command that makes the dataset."""
    found = to_json(request)
    found["hash"] = request_hash(found)
    found["command"] = command("dataset", signal, replay=replay)
    return found


def request_hash(request: Mapping[str, Any]) -> str:
    """Return SHA-256 over all that decides which rows come out: everything but the hash itself and the command."""
    told = {key: value for key, value in request.items() if key not in ("hash", "command")}
    text = json.dumps(told, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(f"training request/1\n{text}".encode()).hexdigest()


def recipe_of(dataset: DatasetRecord | None) -> Recipe:
    """Return how the training data at hand was made, as newer rows can be: by shares where it was by instants."""
    # A dataset that others have made and recorded does not say how.
    if dataset is None or "timestamp_field" not in dataset.manifest:
        return Recipe()
    manifest = dataset.manifest
    found = Recipe.of(manifest)
    counts = manifest.get("rows_per_part") or {}
    total = sum(counts.values())
    if isinstance(found.split, TimeSplit) and total:
        shares = {part: rows / total for part, rows in counts.items() if rows}
        found = replace(found, split=TimeSplit(shares=shares) if len(shares) > 1 else None)
    return replace(found, as_of=None)


def period(end: datetime, rules: RetrainingPolicy, manifest: Mapping[str, Any]) -> tuple[datetime, datetime]:
    """Return the range of time that is learnt from.

    Args:
        end: before which outcomes are known.
        rules: say how long it is, if they do.
        manifest: of the training data at hand, which says it else.
    """
    until = _EPOCH + (end - _EPOCH) // _SECOND * _SECOND
    length = rules.history
    first, last = manifest.get("first_instant"), manifest.get("last_instant")
    if length is None and first and last:
        length = datetime.fromisoformat(last) - datetime.fromisoformat(first)
    return until - (length or _HISTORY), until


def left_out(faults: Iterable[Fault], since: datetime, until: datetime) -> list[tuple[datetime, datetime, str]]:
    """Return what is left out of a range of time, and why: what was broken, as intervals apart from each other.

    Args:
        faults: what was broken, in any order; one that is open is broken up to the end.
        since: the first instant of the range.
        until: the first instant after it.
    """
    found: list[tuple[datetime, datetime, str]] = []
    for one in sorted(faults, key=lambda fault: (fault.onset, fault.ended or until)):
        start, end = max(one.onset, since), min(one.ended or until, until)
        if start >= end:
            continue
        if found and start <= found[-1][1]:
            before = found.pop()
            reasons = before[2] if one.sentence in before[2] else f"{before[2]}; {one.sentence}"
            found.append((before[0], max(before[1], end), reasons))
        else:
            found.append((start, end, one.sentence))
    return found


def definitions_of(service: Registered[FeatureService]) -> dict[str, str]:
    """Return the versions of everything that a service version uses, by kind and name."""
    found = {f"service {service.name}": service.id}
    definition = service.definition
    kinds = {view.name: "view" for view in definition.views} | {
        view.name: "on-demand view" for view in definition.on_demand_views
    }
    for name, version in service.pins.items():
        bare = name.rpartition("/")[2]
        found[f"{kinds.get(bare, 'view')} {name}"] = f"{name}@{version}"
    return dict(sorted(found.items()))
