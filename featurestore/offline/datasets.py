"""Training datasets of a service."""

from __future__ import annotations

from typing import Any

from featurestore.definitions import FeatureService
from featurestore.definitions.names import EVENT_TIMESTAMP
from featurestore.offline.entity_rows import check_entity_rows
from featurestore.offline.frames import to_table
from featurestore.offline.historical import HistoricalFeatures
from featurestore.offline.joining import Joining
from featurestore.offline.training import check_dataset, write_dataset
from featurestore.registry import signing_key
from featurestore.registry.records import DatasetRecord, Registered


class Datasets(Joining):
    """Join, write and record."""

    def create_dataset(
        self,
        name: str,
        service: Registered[FeatureService],
        entity_df: Any,
        *,
        label: str | None,
        timestamp_field: str = EVENT_TIMESTAMP,
        who: str,
    ) -> tuple[DatasetRecord, HistoricalFeatures]:
        """Join, write and record a training dataset; see :func:`featurestore.offline.training.write_dataset`.

        Raises:
            SchemaError: as :meth:`historical_features`; or the label is none, or there are no rows.
            TimestampError: instants name no time zone.
            OfflineStoreError: a table cannot be read, or the disk refuses.
        """
        given = to_table(entity_df, f'the entity rows of dataset "{name}"')
        rows = check_entity_rows(given, service.definition, timestamp_field, with_status=False)
        check_dataset(name, rows, label, service.definition)
        features, versions = self._features(service, rows, with_status=False)
        manifest = write_dataset(
            name,
            features,
            service,
            config=self._config,
            entity_rows=rows,
            timestamp_field=timestamp_field,
            label=label,
            table_versions=versions,
            audit_head=self._registry.head(signing_key(self._config)),
        )
        return self._registry.record_dataset(name, manifest, who=who), features
