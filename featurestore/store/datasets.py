"""What a model is made of: training datasets, and the record of the model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Literal

from featurestore.definitions import Evaluation, FeatureService, Model, Split
from featurestore.definitions.names import EVENT_TIMESTAMP
from featurestore.offline.datasets.diff import DatasetDiff
from featurestore.offline.datasets.environment import git_commit, packages
from featurestore.offline.datasets.manifest import Recipe
from featurestore.offline.datasets.reproducing import Reproduction
from featurestore.offline.datasets.training_dataset import TrainingDataset
from featurestore.registry import Made, ModelComparison, compare_models
from featurestore.registry.records import ModelRecord
from featurestore.store.references import service_name
from featurestore.store.sharing import Sharing
from featurestore.types import utc


class Datasets(Sharing):
    """Training datasets and models."""

    def create_training_dataset(
        self,
        name: str,
        *,
        entity_df: Any = None,
        features: str | FeatureService,
        label: str | None = None,
        timestamp_field: str = EVENT_TIMESTAMP,
        start: datetime | str | None = None,
        end: datetime | str | None = None,
        as_of: datetime | str | None = None,
        known_at: Literal["row"] | None = None,
        full_feature_names: bool = False,
        split: Split | None = None,
        hyperparameters: Mapping[str, Any] | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> TrainingDataset:
        """Join, write and register a training dataset with its manifest and its monitoring baseline.

        Rows go to the disk as they are joined, so that a dataset may be larger than memory. What it was made of, its
        entity rows and the files that were read, is kept: :meth:`reproduce_dataset` makes it again.

        Args:
            name: the dataset's name; each call makes its next version.
            entity_df: as in :meth:`get_historical_features`.
            features: the service.
            label: the column of ``entity_df`` that a model is to predict.
            timestamp_field: the column of the instants.
            start: as in :meth:`get_historical_features`.
            end: as in :meth:`get_historical_features`.
            as_of: as in :meth:`get_historical_features`.
            known_at: as in :meth:`get_historical_features`.
            full_feature_names: as in :meth:`get_historical_features`.
            split: how the rows are parted: :class:`~featurestore.TimeSplit`, :class:`~featurestore.KeySplit`,
                :class:`~featurestore.GroupSplit` or :class:`~featurestore.RandomSplit`. The monitor then compares with
                the rows to train on.
            hyperparameters: of the model that is to be trained, as JSON values; they stand in the manifest.
            progress: called with the rows of each group that is written.

        Raises:
            ObjectNotFoundError: there is no such service.
            DataError: a column is missing or of another type, or instants have no time zone.
            OfflineStoreError: a table cannot be read, or the disk refuses.
        """
        service = self.registry.resolve_service(service_name(features))
        recipe = Recipe(
            label=label,
            timestamp_field=timestamp_field,
            as_of=None if as_of is None else utc(as_of, "as_of"),
            known_at=known_at,
            full_feature_names=full_feature_names,
            split=split,
            hyperparameters=hyperparameters or {},
        )
        return self.offline.create_dataset(
            name, service, entity_df, recipe, start=start, end=end, who=self.who(), progress=progress
        )

    def get_training_dataset(self, reference: str) -> TrainingDataset:
        """Return a training dataset that was made before: ``delays`` (the newest version) or ``delays@1``.

        Raises:
            ObjectNotFoundError: there is none.
        """
        return TrainingDataset(self.registry.dataset(reference), self.config)

    def reproduce_dataset(
        self,
        reference: str,
        *,
        out: str | Path | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> Reproduction:
        """Make a dataset again from what its manifest names, and prove by its hash that it is the same.

        What was ingested, compacted or restored since changes nothing. If an input is gone, the result says which.

        Args:
            reference: ``delays`` (the newest version) or ``delays@1``.
            out: where to write the rows, as Parquet; None keeps none.
            progress: called with the rows of each group that is made.

        Raises:
            ObjectNotFoundError: there is no such dataset.
            OfflineStoreError: the manifest is of a later release, or ``out`` cannot be written.
        """
        return self.offline.reproduce_dataset(reference, out=out, progress=progress)

    def diff_datasets(self, old: str, new: str) -> DatasetDiff:
        """Return what is different in one dataset from another: rows, columns, definitions, distributions.

        Args:
            old: ``delays@1``.
            new: ``delays@2``.

        Raises:
            ObjectNotFoundError: there is no such dataset.
            OfflineStoreError: its rows cannot be read.
        """
        return self.offline.diff_datasets(old, new)

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
        importance_intervals: Mapping[str, tuple[float, float]] | None = None,
        task: str = "",
        label_delay: timedelta = timedelta(0),
        missing_outcome: str = "unknown",
        positive_label: str = "",
        decision_threshold: float = 0.5,
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
            importance_intervals: low and high end by feature, of any of ``feature_importances``.
            task: ``binary``, ``multiclass`` or ``regression``; its performance is measured once it is given.
            label_delay: how long after a prediction its outcome may still come.
            missing_outcome: what no outcome means then: ``unknown``, or ``negative`` (of a binary model).
            positive_label: of a binary model whose classes are labels, the one that counts as 1.
            decision_threshold: of a binary model, the score from which on a prediction counts as positive.

        Raises:
            ObjectNotFoundError: there is no such service or dataset.
            DefinitionError: a number is not finite, an importance is of no feature of the service, or what is declared
                of outcomes contradicts itself.
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
            importance_intervals=importance_intervals or {},
            evaluation=Evaluation(
                task=task,
                label_delay=label_delay,
                missing_outcome=missing_outcome,
                positive_label=positive_label,
                decision_threshold=decision_threshold,
            ),
        )
        return self.registry.record_model(model, who=self.who())

    def update_model(
        self,
        reference: str,
        *,
        evaluation: Evaluation | None = None,
        feature_importances: Mapping[str, float] | None = None,
        importance_intervals: Mapping[str, tuple[float, float]] | None = None,
    ) -> ModelRecord:
        """Record what became known of a model after it was recorded; what is None stays as it is.

        Args:
            reference: ``churn`` (the newest version) or ``churn@3``.
            evaluation: what it predicts, and how its predictions meet their outcomes, as a whole.
            feature_importances: finite numbers by feature of its service; intervals that were there go.
            importance_intervals: low and high end by feature, of these importances.

        Raises:
            ObjectNotFoundError: there is no such model.
            DefinitionError: an importance is of no feature of the service, or no number, or outside its interval.
        """
        return self.registry.update_model(
            reference,
            who=self.who(),
            evaluation=evaluation,
            feature_importances=feature_importances,
            importance_intervals=importance_intervals,
        )

    def compare_models(self, a: str, b: str) -> ModelComparison:
        """Return what is different in one model from another: data, features, numbers at training, importances.

        How they do on live data is another question, which needs their predictions and outcomes:
        ``featurestore model compare`` answers both.

        Args:
            a: ``churn@1``; a bare name is the newest version.
            b: ``churn@2``.

        Raises:
            ObjectNotFoundError: there is no such model.
        """
        one, other = (self._made(reference) for reference in (a, b))
        return compare_models(one, other)

    def _made(self, reference: str) -> Made:
        model = self.registry.model(reference)
        service = self.registry.service(model.service).definition
        return Made(model=model, service=service, dataset=self.registry.dataset(model.dataset))
