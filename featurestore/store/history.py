"""What a user does with rows over time: ingest, features at an instant, training datasets, models."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pyarrow as pa

from featurestore.definitions import FeatureService, FeatureView, Model, storage_id
from featurestore.definitions.names import EVENT_TIMESTAMP
from featurestore.errors import DataError, ObjectNotFoundError
from featurestore.offline.environment import git_commit, packages
from featurestore.offline.frames import to_table
from featurestore.offline.historical import HistoricalFeatures
from featurestore.offline.ingest import IngestReport
from featurestore.offline.store import Progress
from featurestore.offline.training import TrainingDataset
from featurestore.registry import live_views, stored_once
from featurestore.registry.records import ModelRecord, Registered
from featurestore.store.references import service_name
from featurestore.store.sharing import Sharing


class History(Sharing):
    """Rows over time."""

    def ingest(
        self,
        view: str,
        frame: Any = None,
        *,
        load_id: str | None = None,
        reason: str = "",
        progress: Progress | None = None,
    ) -> IngestReport:
        """Load rows into a view's table; bad rows are quarantined with the reason.

        Args:
            view: the view: ``weather`` is its current version and every other that is live, so that what an alias
                or a model still serves stays fresh; ``weather@1`` is just that version.
            frame: an Arrow table, a Polars or pandas frame, a list of dicts, or the path of a Parquet or CSV file;
                None reads what is new in the view's source.
            load_id: the same id twice is one load; made up when not given.
            reason: why, for the audit.
            progress: called with the rows of each batch.

        Raises:
            ObjectNotFoundError: there is no such view.
            RegistryError: the view is another project's.
            DataError: the rows cannot be taken; nothing of this load is published.
        """
        live = self._live(view)
        if len(live) > 1 and frame is not None and not isinstance(frame, (str, os.PathLike)):
            frame = to_table(frame, f'the rows for feature view "{view}"')  # a stream can be read only once
        who = self.who()

        def load(definition: FeatureView) -> IngestReport:
            if frame is None:
                return self.offline.ingest_source(definition, who=who, reason=reason, progress=progress)
            return self.offline.ingest(definition, frame, who=who, load_id=load_id, reason=reason, progress=progress)

        report = load(live[0].definition)
        also: list[IngestReport] = []
        fed = {storage_id(live[0].definition)}
        # A version that is applied meanwhile took over what there was then; what came later, it gets from nobody else.
        while others := [one for one in (*live, *self._live_now(view)) if storage_id(one.definition) not in fed]:
            other = others[0]
            fed.add(storage_id(other.definition))
            try:
                if isinstance(frame, pa.RecordBatchReader):
                    raise DataError("they came as a stream, which is read by now; ingest them again.")
                also.append(replace(load(other.definition), view=other.id))
            except DataError as error:
                # The rows are those of the current version; an older one may want a column that they have no more.
                note = f"{other.id} is live too, and could not take these rows: {error.message}"
                report = replace(report, notes=(*report.notes, note))
        return replace(report, also=tuple(also))

    def _live_now(self, view: str) -> list[Registered[FeatureView]]:
        """Return the versions that rows for a bare name must reach by now; nothing more for a named version."""
        return [] if "@" in view else stored_once(live_views(self.registry, view.rpartition("/")[2]))

    def _live(self, view: str) -> list[Registered[FeatureView]]:
        """Return the version that a reference names, and for a bare name the other live ones with rows of their own."""
        try:
            named = self._own_view(view)
        except ObjectNotFoundError:
            # A view that was removed is fed as long as a rollback may lead to it.
            live = stored_once(live_views(self.registry, view))
            if not live:
                raise
            return live
        if "@" in view:
            return [named]
        return stored_once(live_views(self.registry, named.name))

    def quarantine(self, view: str) -> pa.Table | None:
        """Return the rows of a view that failed its checks, with the column ``reason``; None when there are none."""
        return self.offline.quarantine(self._own_view(view).definition)

    def get_historical_features(
        self,
        entity_df: Any,
        features: str | FeatureService,
        *,
        timestamp_field: str = EVENT_TIMESTAMP,
        with_status: bool = False,
    ) -> HistoricalFeatures:
        """Return a service's features for each entity row, as they were at its instant.

        Args:
            entity_df: join keys, request fields and instants, one row each; other columns come back untouched.
            features: the service: ``flight_delay`` (alias production, else the newest) or ``flight_delay@1``; a
                FeatureService stands for its name.
            timestamp_field: the column of the instants.
            with_status: also give ``<view>__status`` (1 PRESENT, 2 NOT_FOUND, 3 OUTSIDE_MAX_AGE) and
                ``<view>__event_timestamp``.

        Raises:
            ObjectNotFoundError: there is no such service.
            DataError: a column is missing or of another type, or instants have no time zone.
        """
        service = self.registry.resolve_service(service_name(features))
        return self.offline.historical_features(
            service, entity_df, timestamp_field=timestamp_field, with_status=with_status
        )

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
