"""Training datasets of a service."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

import pyarrow as pa

from featurestore.definitions import FeatureService
from featurestore.offline.datasets.manifest import Recipe
from featurestore.offline.datasets.training import check_dataset, split_rows, write_dataset
from featurestore.offline.datasets.training_dataset import TrainingDataset
from featurestore.offline.join.asking import Asking
from featurestore.offline.join.entity_rows import EntityRows, check_entity_rows
from featurestore.offline.join.historical import HistoricalFeatures
from featurestore.offline.join.joining import Joining
from featurestore.offline.tables.table import Snapshot
from featurestore.registry import signing_key
from featurestore.registry.records import Registered

_NO_RECIPE = Recipe()


class Datasets(Asking, Joining):
    """Join, write and record."""

    def create_dataset(
        self,
        name: str,
        service: Registered[FeatureService],
        entity_df: Any,
        recipe: Recipe = _NO_RECIPE,
        *,
        start: datetime | str | None = None,
        end: datetime | str | None = None,
        who: str,
        progress: Callable[[int], None] | None = None,
    ) -> TrainingDataset:
        """Join, write and record a training dataset; see :func:`featurestore.offline.datasets.training.write_dataset`.

        Args:
            name: the dataset's name.
            service: what is joined.
            entity_df: the entity rows, as for :meth:`~featurestore.offline.join.asking.Asking.entity_table`.
            recipe: how.
            start: instead of entity rows, the first instant of a range of time.
            end: the first instant after the range.
            who: who makes it.
            progress: called with the rows of each group that is written.

        Raises:
            SchemaError: as :meth:`historical_features`; or the label is none, there are no rows, or the split cannot
                be made.
            TimestampError: instants name no time zone.
            OfflineStoreError: a table cannot be read, or the disk refuses.
        """
        given = self.entity_table(
            service.definition,
            entity_df,
            timestamp_field=recipe.timestamp_field,
            start=start,
            end=end,
            as_of=recipe.as_of,
        )
        rows = self._checked(given, service.definition, recipe)
        check_dataset(name, rows, recipe, service.definition)
        recipe, parts = split_rows(rows, recipe, service.definition)
        read = {view.name: self._newest(view) for view in service.definition.views}
        ledger = self._ledger(service.definition, read)
        features = self._joined(service, rows, recipe, read, ledger)
        manifest = write_dataset(
            name,
            features,
            service,
            recipe,
            config=self._config,
            entity_rows=rows,
            parts=parts,
            read=read,
            ledger=ledger,
            audit_head=self._registry.head(signing_key(self._config)),
            progress=progress,
        )
        return TrainingDataset(self._registry.record_dataset(name, manifest, who=who), self._config)

    def _checked(self, given: pa.Table, service: FeatureService, recipe: Recipe) -> EntityRows:
        return check_entity_rows(
            given,
            service,
            recipe.timestamp_field,
            with_status=False,
            full_feature_names=recipe.full_feature_names,
        )

    def _joined(
        self,
        service: Registered[FeatureService],
        rows: EntityRows,
        recipe: Recipe,
        read: Mapping[str, Snapshot | None],
        ledger: pa.Table,
    ) -> HistoricalFeatures:
        return self._asked(
            service,
            rows,
            read,
            ledger,
            full_feature_names=recipe.full_feature_names,
            as_of=recipe.as_of,
            known_at=recipe.known_at,
        )
