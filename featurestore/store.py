"""The feature store as a user holds it: one object over registry, offline and online store."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any

import pyarrow as pa

from featurestore import config as configuration
from featurestore.client import FeatureClient, OnlineFeatures
from featurestore.config import Config
from featurestore.definitions import Definition, FeatureService, FeatureView, MonitorPolicy, storage_id
from featurestore.definitions.names import EVENT_TIMESTAMP
from featurestore.errors import ConfigError, DataError, DefinitionError, closest
from featurestore.materialize import MaterializeReport, materialize
from featurestore.offline.environment import git_commit
from featurestore.offline.frames import to_table
from featurestore.offline.historical import HistoricalFeatures
from featurestore.offline.ingest import IngestReport
from featurestore.offline.store import OfflineStore, Progress
from featurestore.offline.training import TrainingDataset
from featurestore.online import OnlineStore, open_online_store
from featurestore.registry import Plan, Registry, current_user, live_views, open_registry, stored_once
from featurestore.registry.records import ModelRecord, Registered
from featurestore.serving.lookup import Lookups
from featurestore.serving.runtime import compile_plans, served_services
from featurestore.status import status


class FeatureStore:
    """A folder with ``featurestore.toml``, and what it configures.

    Args:
        path: the folder.
        replay: the name of a rehearsal whose online store, log and monitor are meant instead of the live ones.

    Raises:
        ConfigError: the folder has no ``featurestore.toml``, it is wrong, or there is no such rehearsal.
    """

    def __init__(self, path: str | os.PathLike[str] = ".", *, replay: str = "") -> None:
        config = configuration.load(path)
        self.config: Config = config.for_replay(replay) if replay else config
        folder = self.config.path(self.config.serving.log_path).parent
        if replay and not folder.is_dir():
            # Stores make their folders: a slip of the pen would look like a rehearsal in which nothing happened.
            others = [one.name for one in folder.parent.glob("*")]
            raise ConfigError(
                f'There is no replay "{replay}": {folder} does not exist.',
                hint=closest(replay, others) or f"Hold one: featurestore serve --replay {replay}",
            )

    @classmethod
    def init(cls, path: str | os.PathLike[str], *, project: str = "") -> FeatureStore:
        """Make a feature store in a folder, which may exist, and open it.

        Raises:
            ConfigError: the folder has a ``featurestore.toml`` already, or cannot be written.
        """
        folder = Path(path)
        file = folder / configuration.FILE_NAME
        text = configuration.template(project or configuration.project_name(folder))
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with file.open("x", encoding="utf-8") as out:
                out.write(text)
        except FileExistsError:
            raise ConfigError(f"{file} exists already.", hint="Open it: FeatureStore(path).") from None
        except OSError as error:
            raise ConfigError(f"{file} cannot be written: {error}.") from error
        return cls(folder)

    @cached_property
    def registry(self) -> Registry:
        """The registry, opened when first used."""
        return open_registry(self.config.database_url(self.config.registry), self.config.project)

    @cached_property
    def offline(self) -> OfflineStore:
        """The offline store."""
        return OfflineStore(self.config, self.registry)

    @cached_property
    def online(self) -> OnlineStore:
        """The online store, opened when first used."""
        return open_online_store(self.config.online, self.config.root)

    def close(self) -> None:
        """Close what was opened."""
        for name in ("online", "registry"):
            if name in self.__dict__:
                self.__dict__.pop(name).close()
        self.__dict__.pop("offline", None)

    def __enter__(self) -> FeatureStore:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # Definitions

    def plan(self, definitions: Sequence[Definition] | Definition) -> Plan:
        """Return what :meth:`apply` would change; nothing is written.

        Raises:
            DefinitionError: a definition is wrong, or two of one name differ.
            ConfigError: a monitor policy routes to a channel that is not configured.
        """
        return self.registry.plan(self._checked(definitions))

    def apply(self, definitions: Sequence[Definition] | Definition, *, allow_breaking: bool = False) -> Plan:
        """Register definitions, all or none, and return what changed. Adds and changes, never removes.

        Raises:
            DefinitionError: a definition is wrong, or two of one name differ.
            BreakingChangeError: a field, type, entity or key would go, and ``allow_breaking`` is not given.
            ConfigError: a monitor policy routes to a channel that is not configured.
        """
        return self.registry.apply(self._checked(definitions), who=current_user(), allow_breaking=allow_breaking)

    def _checked(self, definitions: Sequence[Definition] | Definition) -> Sequence[Definition]:
        """Return the definitions as a list, if what they say of this store's configuration is right."""
        listed: list[Definition] = list(definitions) if isinstance(definitions, Sequence) else [definitions]
        for one in listed:
            for route in one.routes if isinstance(one, MonitorPolicy) else ():
                if route not in self.config.channels:
                    raise ConfigError(
                        f'Monitor policy "{one.name}" routes to "{route}", which featurestore.toml does not configure.',
                        hint=closest(route, self.config.channels) or f"Add a section [channels.{route}].",
                    )
        return listed

    def get(self, reference: str) -> Registered[Definition]:
        """Return a registered version: ``weather`` is the current one, ``weather@1`` that one.

        Raises:
            ObjectNotFoundError: there is none.
        """
        return self.registry.get(reference)

    # Offline

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
            DataError: the rows cannot be taken; nothing of this load is published.
        """
        current, *others = self._live(view)
        if others and frame is not None and not isinstance(frame, (str, os.PathLike)):
            frame = to_table(frame, f'the rows for feature view "{view}"')  # a stream can be read only once
        who = current_user()

        def load(definition: FeatureView) -> IngestReport:
            if frame is None:
                return self.offline.ingest_source(definition, who=who, reason=reason, progress=progress)
            return self.offline.ingest(definition, frame, who=who, load_id=load_id, reason=reason, progress=progress)

        report = load(current.definition)
        also: list[IngestReport] = []
        for other in others:
            try:
                also.append(replace(load(other.definition), view=other.id))
            except DataError as error:
                # The rows are those of the current version; an older one may want a column that they have no more.
                note = f"{other.id} is live too, and could not take these rows: {error.message}"
                report = replace(report, notes=(*report.notes, note))
        return replace(report, also=tuple(also))

    def _live(self, view: str) -> list[Registered[FeatureView]]:
        """Return the version that a reference names, and for a bare name the other live ones with rows of their own."""
        named = self.registry.feature_view(view)
        if "@" in view:
            return [named]
        return stored_once([one for one in live_views(self.registry) if one.name == named.name])

    def quarantine(self, view: str) -> pa.Table | None:
        """Return the rows of a view that failed its checks, with the column ``reason``; None when there are none."""
        return self.offline.quarantine(self.registry.feature_view(view).definition)

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
        service = self.registry.resolve_service(_reference(features))
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
        service = self.registry.resolve_service(_reference(features))
        record, rows = self.offline.create_dataset(
            name, service, entity_df, label=label, timestamp_field=timestamp_field, who=current_user()
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
    ) -> ModelRecord:
        """Record a trained model: the next version of its name.

        Raises:
            ObjectNotFoundError: there is no such service or dataset.
        """
        return self.registry.record_model(
            name,
            service=self.registry.resolve_service(service).id,
            dataset=self.registry.dataset(dataset).id,
            hyperparameters=dict(hyperparameters or {}),
            metrics=dict(metrics or {}),
            git_commit=git_commit(self.config.root),
            who=current_user(),
        )

    # Online

    def materialize(self, view: str, *, progress: Progress | None = None) -> MaterializeReport:
        """Copy the newest rows of a view, up to now, into the online store.

        Args:
            view: the view: ``weather`` is every live version, as in :meth:`ingest`; ``weather@1`` just that one.
            progress: called with the rows of each piece.

        Raises:
            ObjectNotFoundError: there is no such view.
            OnlineStoreError: the online store refuses.
        """
        current, *others = [self._materialize(one, progress) for one in self._live(view)]
        return replace(current, view=current.view.partition("@")[0], also=tuple(others))

    def _materialize(self, view: Registered[FeatureView], progress: Progress | None) -> MaterializeReport:
        """Materialize one version, and enter it in the ledger; a view that was never ingested leaves no trace."""
        now = datetime.now(UTC)
        # Read before the rows: what is recorded is in them for certain, and later loads may be too.
        version = self.offline.table_version(view.definition)
        report = materialize(view.definition, self.offline, self.online, now=now, progress=progress)
        if version is not None:
            counts = {name: getattr(report, name) for name in ("read", "written", "older", "expired", "rejected")}
            table = storage_id(view.definition)
            self.registry.record_materialization(table, version, now, counts, who=current_user())
        return replace(report, view=view.id)

    def get_online_features(self, features: str | FeatureService, entity_rows: Any) -> OnlineFeatures:
        """Return a service's newest values, in process; the same answer as the server's.

        Raises:
            ObjectNotFoundError: there is no such service.
            InvalidRequestError: a key or request field is missing or of another type.
        """
        return self.client().get_online_features(features=_reference(features), entity_rows=entity_rows)

    def client(self) -> FeatureClient:
        """Return a client that reads the online store in this process: the interface of the remote one, no network.

        It answers from the services that are registered now.
        """
        services = served_services(self.registry)
        lookups = Lookups(
            self.online,
            compile_plans(services),
            max_rows=self.config.serving.max_rows,
            replay=bool(self.config.replay),
        )
        return FeatureClient(transport=lookups.transport)

    def status(self) -> dict[str, Any]:
        """Return what is registered, stored and served, as JSON values."""
        return status(self.config, self.registry, self.offline, self.online)


def _reference(features: object) -> str:
    """Return the name under which a service is registered.

    Raises:
        DefinitionError: it is neither a name nor a service.
    """
    if isinstance(features, FeatureService):
        return features.name
    if isinstance(features, str):
        return features
    raise DefinitionError(
        f"features={features!r} names no feature service.",
        hint="Pass the name of one: to use some features of a view, apply FeatureService(features=[view[[...]]]).",
    )
