"""What was done with the definitions: loads, materializations, datasets, models."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from featurestore.definitions import FeatureService, Model
from featurestore.errors import DefinitionError, closest
from featurestore.registry import artifacts, loads
from featurestore.registry.audit import Event
from featurestore.registry.project import Project
from featurestore.registry.records import DatasetRecord, Load, Materialization, ModelRecord
from featurestore.registry.versions import Versions


class Ledgers(Project):
    """The ledgers of one project."""

    # Loads and materializations

    def record_load(
        self,
        *,
        load_id: str,
        storage_id: str,
        table_version: int,
        rows_read: int,
        rows_written: int,
        rows_quarantined: int = 0,
        reasons: Mapping[str, int] | None = None,
        author: str,
        moved: tuple[str, str] | None = None,
    ) -> Load:
        """Record that a load's rows are published, and give it its place in the table's order.

        The same ``load_id`` of the same table again changes nothing and returns what was recorded the first time.

        Args:
            load_id: identifies the load among those of the table.
            storage_id: the table.
            table_version: the Delta version that published it.
            rows_read: rows that came in.
            rows_written: rows published.
            rows_quarantined: rows kept aside; read = written + quarantined.
            reasons: rows for each reason of quarantine.
            author: who loaded.
            moved: from where to where the view's source moved since its last load; None if it did not.

        Raises:
            RegistryError: the counts contradict each other.
        """
        with self._write() as connection:
            recorded = loads.find_load(connection, self.project, storage_id, load_id)
            if recorded is None:
                recorded = loads.insert_load(
                    connection,
                    self.project,
                    load_id=load_id,
                    storage_id=storage_id,
                    table_version=table_version,
                    rows_read=rows_read,
                    rows_written=rows_written,
                    rows_quarantined=rows_quarantined,
                    reasons=reasons or {},
                    author=author,
                )
                details = {
                    "load_id": load_id,
                    "order": recorded.order,
                    "table_version": table_version,
                    "rows_written": rows_written,
                    "rows_quarantined": rows_quarantined,
                }
                if moved is not None:
                    details["source_moved"] = {"from": moved[0], "to": moved[1]}
                self._audit(connection, author, Event(action="ingest", object=storage_id, details=details))
        return recorded

    def load(self, storage_id: str, load_id: str) -> Load:
        """Return one load of a table.

        Raises:
            ObjectNotFoundError: it was never published.
        """
        with self._database.read() as connection:
            return loads.get_load(connection, self.project, storage_id, load_id)

    def loads(self, storage_id: str) -> list[Load]:
        """Return the loads of a table in their order; empty if there are none."""
        with self._database.read() as connection:
            return loads.list_loads(connection, self.project, storage_id)

    def record_materialization(
        self, storage_id: str, table_version: int, until: datetime, counts: Mapping[str, int], *, who: str
    ) -> Materialization:
        """Record that a table's newest rows, up to ``until``, have been copied to the online store."""
        with self._write() as connection:
            done = loads.insert_materialization(
                connection,
                self.project,
                storage_id=storage_id,
                table_version=table_version,
                until=until,
                counts=counts,
                author=who,
            )
            details = {"table_version": table_version, "until": until.isoformat(), "counts": dict(counts)}
            self._audit(connection, who, Event(action="materialize", object=storage_id, details=details))
        return done

    def last_materialization(self, storage_id: str) -> Materialization | None:
        """Return the newest materialization of a table; None before the first."""
        with self._database.read() as connection:
            return loads.last_materialization(connection, self.project, storage_id)

    # Datasets and models

    def record_dataset(self, name: str, manifest: Mapping[str, Any], *, who: str) -> DatasetRecord:
        """Record the next version of a training dataset.

        Args:
            name: the dataset.
            manifest: how it was made, as JSON values.
            who: who made it.

        Raises:
            DefinitionError: the name cannot be one.
            RegistryError: the manifest holds something that JSON has not.
        """
        with self._write() as connection:
            made = artifacts.insert_dataset(connection, self.project, name, manifest, who)
            details = {
                "service": manifest.get("service"),
                "content_hash": manifest.get("content_hash"),
                "manifest_hash": artifacts.manifest_hash(made.manifest),
            }
            self._audit(connection, who, Event(action="dataset", object=made.id, details=details))
        return made

    def dataset(self, reference: str) -> DatasetRecord:
        """Return ``name`` (the newest version) or ``name@version``.

        Raises:
            ObjectNotFoundError: there is none.
        """
        with self._database.read() as connection:
            return artifacts.get_dataset(connection, self.project, reference)

    def datasets(self) -> list[DatasetRecord]:
        """Return every version of every dataset, in order of creation."""
        with self._database.read() as connection:
            return artifacts.list_datasets(connection, self.project)

    def record_model(self, model: Model, *, who: str) -> ModelRecord:
        """Record the next version of a model.

        Args:
            model: names the versions of its service and dataset, or those that are current.
            who: who trained it.

        Raises:
            ObjectNotFoundError: the service or the dataset is not registered.
            DefinitionError: a feature importance is of no feature of the service.
            RegistryError: a hyperparameter is something that JSON has not, such as NaN.
        """
        with self._write() as connection:
            versions = Versions(connection, self.project)
            used = versions.find(model.service, "feature_service")
            service = versions.definition(used)
            assert isinstance(service, FeatureService)  # noqa: S101 - found by its kind
            features = [one.name for fields in service.outputs.values() for one in fields]
            for name in model.feature_importances:
                if name not in features:
                    raise DefinitionError(
                        f'Model "{model.name}" has an importance of "{name}", which is no feature of "{service.name}".',
                        hint=closest(name, features),
                    )
            trained_on = artifacts.get_dataset(connection, self.project, model.dataset)
            at = (used.row.name, used.row.version)
            made = artifacts.insert_model(connection, self.project, model, service=at, dataset=trained_on, author=who)
            details = {"service": made.service, "dataset": made.dataset, "metrics": dict(made.metrics)}
            self._audit(connection, who, Event(action="model", object=made.id, details=details))
        return made

    def model(self, reference: str) -> ModelRecord:
        """Return ``name`` (the newest version) or ``name@version``.

        Raises:
            ObjectNotFoundError: there is none.
        """
        with self._database.read() as connection:
            return artifacts.get_model(connection, self.project, reference)

    def models(self, service: str | None = None) -> list[ModelRecord]:
        """Return models in order of creation; of a service (``name``) or one version of it (``name@version``)."""
        with self._database.read() as connection:
            return artifacts.list_models(connection, self.project, service)
