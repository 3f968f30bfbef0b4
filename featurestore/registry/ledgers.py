"""What was done with the definitions: loads, materializations, datasets, models."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from featurestore.definitions import Evaluation, FeatureService, Model
from featurestore.definitions.model import checked_intervals, finite_numbers
from featurestore.errors import DefinitionError, ObjectInUseError, ObjectNotFoundError, closest
from featurestore.registry import artifacts, audit, loads, values
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
        rows_suppressed: int = 0,
        reasons: Mapping[str, int] | None = None,
        author: str,
        moved: tuple[str, str] | None = None,
        anomalies: Sequence[str] = (),
        warned: Mapping[str, int] | None = None,
        reason: str = "",
    ) -> Load:
        """Record that a load's rows are published, and give it its place in the table's order.

        The same ``load_id`` of the same table again changes nothing and returns what was recorded the first time;
        unless a later version of the table published it, because it was withdrawn in between.

        Args:
            load_id: identifies the load among those of the table.
            storage_id: the table.
            table_version: the Delta version that published it.
            rows_read: rows that came in.
            rows_written: rows published.
            rows_quarantined: rows kept aside; read = written + quarantined + suppressed.
            rows_suppressed: rows dropped, because they are of someone who was erased.
            reasons: rows for each reason of quarantine.
            author: who loaded.
            moved: from where to where the view's source moved since its last load; None if it did not.
            anomalies: how it differs from the loads before, for the audit.
            warned: published rows that break checks of values, by reason; for the audit.
            reason: why it was loaded; for the audit.

        Raises:
            RegistryError: the counts contradict each other.
        """
        with self._write() as connection:
            recorded = loads.find_load(connection, self.project, storage_id, load_id)
            if recorded is None or (recorded.withdrawn_at is not None and recorded.table_version < table_version):
                recorded = loads.insert_load(
                    connection,
                    self.project,
                    load_id=load_id,
                    storage_id=storage_id,
                    table_version=table_version,
                    rows_read=rows_read,
                    rows_written=rows_written,
                    rows_quarantined=rows_quarantined,
                    rows_suppressed=rows_suppressed,
                    reasons=reasons or {},
                    author=author,
                )
                details: dict[str, Any] = {
                    "load_id": load_id,
                    "order": recorded.order,
                    "table_version": table_version,
                    "rows_written": rows_written,
                    "rows_quarantined": rows_quarantined,
                }
                if rows_suppressed:
                    details["rows_suppressed"] = rows_suppressed
                if anomalies:
                    details["anomalies"] = list(anomalies)
                if warned:
                    details["rows_warned"] = dict(warned)
                if reason:
                    details["reason"] = reason
                if moved is not None:
                    details["source_moved"] = {"from": moved[0], "to": moved[1]}
                self._audit(connection, author, Event(action="ingest", object=storage_id, details=details))
        return recorded

    def record_refusal(
        self, storage_id: str, load_id: str, reasons: Sequence[str], *, reason: str = "", who: str
    ) -> None:
        """Record that a gate refused a load, of which nothing was published.

        Args:
            storage_id: the table.
            load_id: identifies the load among those of the table.
            reasons: why it was refused, a sentence each.
            reason: why it was tried.
            who: who tried.
        """
        details = {"load_id": load_id, "refused": list(reasons)} | ({"reason": reason} if reason else {})
        with self._write() as connection:
            self._audit(connection, who, Event(action="refuse", object=storage_id, details=details))

    def load(self, storage_id: str, load_id: str) -> Load:
        """Return one load of a table.

        Raises:
            ObjectNotFoundError: it was never published.
        """
        with self._database.read() as connection:
            return loads.get_load(connection, self.project, storage_id, load_id)

    def loads(self, storage_id: str) -> list[Load]:
        """Return the loads of a table in their order, with those that were withdrawn; empty if there are none."""
        with self._database.read() as connection:
            return loads.list_loads(connection, self.project, storage_id)

    def loaded(self) -> list[str]:
        """Return the storage ids of all tables that this project ever loaded, by name."""
        with self._database.read() as connection:
            return loads.list_tables(connection, self.project)

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

    def record_range(
        self,
        storage_id: str,
        table_version: int,
        interval: tuple[datetime | None, datetime | None],
        counts: Mapping[str, int],
        *,
        who: str,
    ) -> None:
        """Record that the newest rows of a range of time are online, for the audit: of the others it tells nothing."""
        start, end = (None if one is None else one.isoformat() for one in interval)
        details = {"table_version": table_version, "from": start, "to": end, "counts": dict(counts)}
        with self._write() as connection:
            self._audit(connection, who, Event(action="materialize", object=storage_id, details=details))

    def last_materialization(self, storage_id: str) -> Materialization | None:
        """Return the newest materialization of a table; None before the first."""
        with self._database.read() as connection:
            return loads.last_materialization(connection, self.project, storage_id)

    def record_change(
        self,
        storage_id: str,
        *,
        action: str,
        table_version: int,
        details: Mapping[str, Any],
        withdrawn: Collection[str] = (),
        reinstated: Collection[str] = (),
        who: str,
    ) -> None:
        """Record that files of a table were put in the place of others, and what that means for its loads.

        The same version of the same table again changes nothing.

        Args:
            storage_id: the table.
            action: ``compact`` or ``restore``.
            table_version: the Delta version that did it.
            details: what was done, as JSON values.
            withdrawn: loads whose rows are no longer in the table.
            reinstated: loads whose rows are in it again.
            who: who did it.
        """
        entry = {**details, "table_version": table_version}
        with self._write() as connection:
            if audit.tells(connection, self.project, action, storage_id, {"table_version": table_version}):
                return
            loads.mark_withdrawn(
                connection,
                self.project,
                storage_id,
                withdrawn=withdrawn,
                reinstated=reinstated,
                at=values.now(),
            )
            self._audit(connection, who, Event(action=action, object=storage_id, details=entry))

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

    def datasets(self, *, removed: bool = False) -> list[DatasetRecord]:
        """Return every version of every dataset, in order of creation.

        Args:
            removed: also those whose rows were removed.
        """
        with self._database.read() as connection:
            return artifacts.list_datasets(connection, self.project, removed=removed)

    def remove_dataset(self, reference: str, *, who: str) -> None:
        """Record that the rows of a dataset are removed: it is listed no more, and pins nothing.

        Raises:
            ObjectNotFoundError: there is no such dataset.
            ObjectInUseError: a model was trained on it.
        """
        with self._write() as connection:
            dataset = artifacts.get_dataset(connection, self.project, reference)
            users = [
                one.id for one in artifacts.list_models(connection, self.project, None) if one.dataset == dataset.id
            ]
            if users:
                raise ObjectInUseError(
                    f"Dataset {dataset.id} is that of model {', '.join(users)}.",
                    hint=f"Remove the model first: featurestore delete {users[0].partition('@')[0]}",
                )
            artifacts.remove_dataset(connection, self.project, dataset)
            self._audit(connection, who, Event(action="gc", object=dataset.id, details={"change": "remove dataset"}))

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
            used = Versions(connection, self.project).find(model.service, "feature_service")
            _check_features(connection, self.project, model.name, model.service, model.feature_importances)
            trained_on = artifacts.get_dataset(connection, self.project, model.dataset)
            if trained_on.removed_at is not None:
                raise ObjectNotFoundError(f"The rows of dataset {trained_on.id} were removed.")
            at = (used.row.name, used.row.version)
            made = artifacts.insert_model(connection, self.project, model, service=at, dataset=trained_on, author=who)
            details = {"service": made.service, "dataset": made.dataset, "metrics": dict(made.metrics)}
            self._audit(connection, who, Event(action="model", object=made.id, details=details))
        return made

    def update_model(
        self,
        reference: str,
        *,
        who: str,
        evaluation: Evaluation | None = None,
        feature_importances: Mapping[str, float] | None = None,
        importance_intervals: Mapping[str, tuple[float, float]] | None = None,
        reference_performance: Mapping[str, Any] | None = None,
    ) -> ModelRecord:
        """Record what is known of a model since it was recorded; what is None stays as it is.

        Args:
            reference: ``name`` (the newest version) or ``name@version``.
            who: who says so.
            evaluation: what it predicts, and how its predictions meet their outcomes.
            feature_importances: finite numbers by feature of its service; intervals that were there go.
            importance_intervals: of these importances.
            reference_performance: how it did when it was new, as JSON values.

        Raises:
            ObjectNotFoundError: there is no such model.
            DefinitionError: an importance is of no feature of the service, or no number, or outside its interval.
            RegistryError: ``reference_performance`` holds something that JSON has not.
        """
        with self._write() as connection:
            model = artifacts.get_model(connection, self.project, reference)
            changes: dict[str, Mapping[str, Any]] = {}
            if evaluation is not None:
                changes["evaluation"] = evaluation.to_dict()
            if feature_importances is not None or importance_intervals is not None:
                what = f"Model {model.id}"
                given = model.feature_importances if feature_importances is None else feature_importances
                numbers = finite_numbers(given, what, "feature_importances")
                _check_features(connection, self.project, model.name, model.service, numbers)
                changes["feature_importances"] = numbers
                changes["importance_intervals"] = checked_intervals(importance_intervals or {}, numbers, what)
            if reference_performance is not None:
                changes["reference_performance"] = reference_performance
            if not changes:
                return model
            made = artifacts.update_model(connection, self.project, model, changes)
            details = {"change": "update", **changes}
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


def _check_features(
    connection: Connection, project: str, model: str, reference: str, importances: Mapping[str, float]
) -> None:
    """Raise :class:`DefinitionError` if an importance is of no feature of a service."""
    versions = Versions(connection, project)
    service = versions.definition(versions.find(reference, "feature_service"))
    assert isinstance(service, FeatureService)  # noqa: S101 - found by its kind
    features = [one.name for fields in service.outputs.values() for one in fields]
    for name in importances:
        if name not in features:
            raise DefinitionError(
                f'Model "{model}" has an importance of "{name}", which is no feature of "{service.name}".',
                hint=closest(name, features),
            )
