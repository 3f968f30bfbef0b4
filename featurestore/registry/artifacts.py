"""What was made with a service: training datasets, and the models trained on them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, Table, func, insert, select, update
from sqlalchemy.engine import Row

from featurestore.definitions import Evaluation, Model
from featurestore.definitions.names import check_name
from featurestore.errors import ObjectNotFoundError, closest
from featurestore.registry import schema, values
from featurestore.registry.records import DatasetRecord, ModelRecord


def insert_dataset(
    connection: Connection, project: str, name: str, manifest: Mapping[str, Any], author: str
) -> DatasetRecord:
    """Record the next version of a dataset; the project is locked.

    Raises:
        DefinitionError: the name cannot be one.
        RegistryError: the manifest holds something that JSON has not.
    """
    check_name(name, "a dataset")
    version = _next(connection, schema.datasets, project, name)
    connection.execute(
        insert(schema.datasets).values(
            project=project,
            name=name,
            version=version,
            manifest=values.to_json(dict(manifest), f'The manifest of dataset "{name}"'),
            created_at=values.now(),
            created_by=author,
        )
    )
    return get_dataset(connection, project, f"{name}@{version}")


def manifest_hash(manifest: Mapping[str, Any]) -> str:
    """Return SHA-256 of a manifest as the table holds it, by which the audit log knows it again."""
    return hashlib.sha256(values.to_json(dict(manifest), "The manifest").encode()).hexdigest()


def get_dataset(connection: Connection, project: str, reference: str) -> DatasetRecord:
    """Return a dataset by ``name`` (the newest version) or ``name@version``.

    Raises:
        ObjectNotFoundError: there is none.
    """
    return _dataset(_get(connection, schema.datasets, project, reference, "dataset"))


def list_datasets(connection: Connection, project: str, *, removed: bool = False) -> list[DatasetRecord]:
    """Return every version of every dataset, in order of creation; with ``removed`` also those whose rows are gone."""
    table = schema.datasets
    query = select(table).filter_by(project=project).order_by(table.c.created_at, table.c.name, table.c.version)
    found = [_dataset(row) for row in connection.execute(query)]
    return [one for one in found if removed or one.removed_at is None]


def remove_dataset(connection: Connection, project: str, dataset: DatasetRecord) -> None:
    """Record that a dataset's rows are removed; the project is locked."""
    mine = {"project": project, "name": dataset.name, "version": dataset.version}
    connection.execute(update(schema.datasets).filter_by(**mine).values(removed_at=values.now()))


def insert_model(
    connection: Connection, project: str, model: Model, *, service: tuple[str, int], dataset: DatasetRecord, author: str
) -> ModelRecord:
    """Record the next version of a model; the project is locked.

    Raises:
        RegistryError: a hyperparameter is something that JSON has not, such as NaN.
    """
    version = _next(connection, schema.models, project, model.name)
    kept = {
        part: values.to_json(getattr(model, part), f'The {part} of model "{model.name}"')
        for part in ("hyperparameters", "metrics", "feature_importances", "importance_intervals", "environment")
    }
    kept["evaluation"] = values.to_json(model.evaluation.to_dict(), f'The evaluation of model "{model.name}"')
    connection.execute(
        insert(schema.models).values(
            project=project,
            name=model.name,
            version=version,
            service=service[0],
            service_version=service[1],
            dataset=dataset.name,
            dataset_version=dataset.version,
            git_commit=model.git_commit,
            created_at=values.now(),
            created_by=author,
            **kept,
        )
    )
    return get_model(connection, project, f"{model.name}@{version}")


def update_model(
    connection: Connection, project: str, model: ModelRecord, changes: Mapping[str, Mapping[str, Any]]
) -> ModelRecord:
    """Replace parts of a model's record, by column, as JSON values; the project is locked.

    Raises:
        RegistryError: a part holds something that JSON has not.
    """
    kept = {part: values.to_json(dict(value), f"The {part} of model {model.id}") for part, value in changes.items()}
    mine = {"project": project, "name": model.name, "version": model.version}
    connection.execute(update(schema.models).filter_by(**mine).values(**kept))
    return get_model(connection, project, model.id)


def get_model(connection: Connection, project: str, reference: str) -> ModelRecord:
    """Return a model by ``name`` (the newest version) or ``name@version``.

    Raises:
        ObjectNotFoundError: there is none.
    """
    return _model(_get(connection, schema.models, project, reference, "model"))


def list_models(connection: Connection, project: str, service: str | None) -> list[ModelRecord]:
    """Return models in order of creation, of one service (``name``) or one version of it (``name@version``).

    Models that were removed are left out; :func:`get_model` still returns them by version.
    """
    table = schema.models
    query = select(table).filter_by(project=project, removed_at=None)
    query = query.order_by(table.c.created_at, table.c.name, table.c.version)
    if service is not None:
        name, version = values.split_reference(service)
        query = query.filter_by(service=name)
        if version is not None:
            query = query.filter_by(service_version=version)
    return [_model(row) for row in connection.execute(query)]


def _next(connection: Connection, table: Table, project: str, name: str) -> int:
    last: int | None = connection.execute(
        select(func.max(table.c.version)).filter_by(project=project, name=name)
    ).scalar()
    return (last or 0) + 1


def _get(connection: Connection, table: Table, project: str, reference: str, what: str) -> Row[Any]:
    name, version = values.split_reference(reference)
    query = select(table).filter_by(project=project, name=name).order_by(table.c.version.desc()).limit(1)
    if version is not None:
        query = query.filter_by(version=version)
    else:
        query = query.filter_by(removed_at=None)
    row = connection.execute(query).first()
    if row is None:
        known = connection.execute(select(table.c.name, table.c.version).filter_by(project=project)).all()
        same = [f"{one.name}@{one.version}" for one in known if one.name == name]
        raise ObjectNotFoundError(
            f'There is no {what} "{reference}" in project "{project}".',
            hint=f"There is: {', '.join(same[-5:])}." if same else closest(name, (one.name for one in known)),
        )
    return row


def _dataset(row: Row[Any]) -> DatasetRecord:
    return DatasetRecord(
        name=row.name,
        version=row.version,
        manifest=json.loads(row.manifest),
        created_at=values.instant(row.created_at),
        created_by=row.created_by,
        removed_at=None if row.removed_at is None else values.instant(row.removed_at),
    )


def _model(row: Row[Any]) -> ModelRecord:
    return ModelRecord(
        name=row.name,
        version=row.version,
        service=f"{row.service}@{row.service_version}",
        dataset=f"{row.dataset}@{row.dataset_version}",
        hyperparameters=json.loads(row.hyperparameters),
        metrics=json.loads(row.metrics),
        feature_importances=json.loads(row.feature_importances),
        environment=json.loads(row.environment),
        evaluation=Evaluation.from_dict(json.loads(row.evaluation)),
        importance_intervals={name: (low, high) for name, (low, high) in json.loads(row.importance_intervals).items()},
        reference_performance=json.loads(row.reference_performance),
        git_commit=row.git_commit,
        created_at=values.instant(row.created_at),
        created_by=row.created_by,
    )
