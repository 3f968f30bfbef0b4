"""What a model is made of: training datasets, and the record of the model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from featurestore.definitions import FeatureService, Model
from featurestore.definitions.names import EVENT_TIMESTAMP
from featurestore.offline.environment import git_commit, packages
from featurestore.offline.training import TrainingDataset
from featurestore.registry.records import ModelRecord
from featurestore.store.references import service_name
from featurestore.store.sharing import Sharing


class Datasets(Sharing):
    """Training datasets and models."""

    def create_training_dataset(
        self,
        name: str,
        *,
        entity_df: Any,
        features: str | FeatureService,
        label: str | None = None,
        timestamp_field: str = EVENT_TIMESTAMP,
    ) -> TrainingDataset:
        """Join, write and register a training dataset with its manifest and its monitoring baseline.

        Args:
            name: the dataset's name; each call makes its next version.
            entity_df: as in :meth:`get_historical_features`.
            features: the service.
            label: the column of ``entity_df`` that a model is to predict.
            timestamp_field: the column of the instants.

        Raises:
            ObjectNotFoundError: there is no such service.
            DataError: a column is missing or of another type, or instants have no time zone.
        """
        service = self.registry.resolve_service(service_name(features))
        record, rows = self.offline.create_dataset(
            name, service, entity_df, label=label, timestamp_field=timestamp_field, who=self.who()
        )
        return TrainingDataset(record, rows)

    def log_model(
        self,
        name: str,
        *,
        service: str,
        dataset: str,
        hyperparameters: Mapping[str, Any] | None = None,
        metrics: Mapping[str, float] | None = None,
        feature_importances: Mapping[str, float] | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> ModelRecord:
        """Record a trained model, with the commit of the code: the next version of its name.

        Args:
            name: the model.
            service: the service whose features it takes; a bare name is the version that is served.
            dataset: the dataset that it was trained on; a bare name is the newest version.
            hyperparameters: as JSON values.
            metrics: finite numbers by name.
            feature_importances: finite numbers by feature of the service.
            environment: versions by package; Python's and those of all installed packages when not given.

        Raises:
            ObjectNotFoundError: there is no such service or dataset.
            DefinitionError: a number is not finite, or an importance is of no feature of the service.
        """
        model = Model(
            name=name,
            service=self.registry.resolve_service(service).id,
            dataset=self.registry.dataset(dataset).id,
            hyperparameters=hyperparameters or {},
            metrics=metrics or {},
            feature_importances=feature_importances or {},
            git_commit=git_commit(self.config.root),
            environment=packages() if environment is None else environment,
        )
        return self.registry.record_model(model, who=self.who())
