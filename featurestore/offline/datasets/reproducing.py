"""Training datasets made again from what their manifests name, and the proof that they are the same."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from featurestore.definitions import FeatureService
from featurestore.errors import FeatureStoreError, OfflineStoreError
from featurestore.markup import Printed
from featurestore.offline.datasets.content import content_hash
from featurestore.offline.datasets.environment import changed_packages
from featurestore.offline.datasets.erasures import DatasetErasure, read_erasures
from featurestore.offline.datasets.first_content import first_content_hash
from featurestore.offline.datasets.making import Datasets
from featurestore.offline.datasets.manifest import DATA, ENTITIES, LOADS, Recipe, file_of, format_of
from featurestore.offline.datasets.pinned import Pinned, pinned
from featurestore.offline.datasets.splitting import assigned
from featurestore.offline.datasets.training import counted, hashed, in_parts
from featurestore.registry.records import DatasetRecord, Registered
from featurestore.storage import StoragePath
from featurestore.storage.parquet import read_table


@dataclass(frozen=True, kw_only=True)
class Reproduction(Printed):
    """What came of making a dataset again.

    Attributes:
        dataset: ``delays_2013q1@1``.
        rows: how many rows came out; 0 where they could not be made.
        expected: the content hash that the manifest says, or that the last erasure left.
        found: that of the rows; "" where they could not be made.
        gone: what is missing, each as a sentence without its stop; empty if the rows could be made.
        differing: the columns that came out differently, where the manifest says the hash of each.
        erased: how many rows of the dataset each request has erased since.
        notes: what else was noticed: other versions of packages, rows erased from the tables, a data file that is gone.
    """

    dataset: str
    rows: int = 0
    expected: str
    found: str = ""
    gone: tuple[str, ...] = ()
    differing: tuple[str, ...] = ()
    erased: Mapping[str, int]
    notes: tuple[str, ...] = ()

    @property
    def proved(self) -> bool:
        """Whether the rows, or those that erasures have left, are the same."""
        return not self.gone and self.found == self.expected

    def to_json(self) -> dict[str, Any]:
        """Return JSON values."""
        return asdict(self) | {"proved": self.proved}

    def __str__(self) -> str:
        if self.gone:
            return f"{self.dataset} cannot be made again: {'; '.join(self.gone)}."
        if not self.proved:
            which = f" in {', '.join(self.differing)}" if self.differing else ""
            return f"{self.dataset} came out differently{which}: its content hash is {self.found}, not {self.expected}."
        if self.erased:
            by = ", ".join(f"request {request} erased {rows:,}" for request, rows in self.erased.items())
            return f"{self.dataset}: the remaining {self.rows:,} rows are the same; {by}."
        return f"{self.dataset}: all {self.rows:,} rows are the same."


class Reproducing(Datasets):
    """The proof that a dataset can be made again."""

    def reproduce_dataset(
        self,
        reference: str,
        *,
        out: str | Path | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> Reproduction:
        """Make a dataset again, from the definitions, files and entity rows that its manifest names, and compare.

        What was ingested, compacted or restored since changes nothing; what an erasure took is told, and the
        remaining rows are compared.

        Args:
            reference: ``delays`` (the newest version) or ``delays@1``.
            out: where to write the rows, as Parquet; None keeps none.
            progress: called with the rows of each group that is made.

        Raises:
            ObjectNotFoundError: there is no such dataset.
            OfflineStoreError: the manifest is of a later release, or ``out`` cannot be written.
        """
        record = self._registry.dataset(reference)
        manifest, first_format = record.manifest, format_of(record) == 1
        data = file_of(record, DATA, self._config)
        erasures = read_erasures(data.parent)
        told: dict[str, int] = {}
        for one in erasures:
            told[one.request] = told.get(one.request, 0) + one.rows
        gone: list[str] = []
        service = self._service(manifest, gone)
        entities = _entity_rows(record, data, erasures, gone)
        sources = pinned(manifest, self._folder, self._registry)
        ledger = self._loads(record, gone)
        notes = [*sources.notes, *changed_packages(manifest["environment"], _computed_with(service))]
        if not data.exists():
            notes.append(f"its rows are not on the disk any more: there is no {data}")
        result = Reproduction(
            dataset=record.id,
            expected=erasures[-1].content_hash if erasures else manifest["content_hash"],
            gone=(*gone, *sources.gone),
            erased=told,
            notes=tuple(notes),
        )
        if result.gone or service is None or entities is None or not entities.num_rows:
            return result  # where no row is left, none has to be made
        try:
            tables = counted(self._tables_again(record, service, entities, sources, ledger), progress)
            rows, found, columns = _kept(tables, None if out is None else Path(out), first_format=first_format)
        except FeatureStoreError as error:  # a package, or a file, that cannot be read after all
            return replace(result, gone=(error.message.rstrip("."),))
        except OSError as error:
            raise OfflineStoreError(f"{out} cannot be written: {error}.", hint="Check the disk's space.") from error
        said = {} if erasures else manifest.get("column_hashes", {})
        differing = tuple(name for name, digest in said.items() if columns.get(name) != digest)
        return replace(result, rows=rows, found=found, differing=differing)

    def _service(self, manifest: Mapping[str, Any], gone: list[str]) -> Registered[FeatureService] | None:
        try:
            service = self._registry.service(manifest["service"])
            _ = service.definition
        except FeatureStoreError as error:
            gone.append(f"the definition of {manifest['service']} is gone: {error.message.rstrip('.')}")
            return None
        if service.content_hash == manifest["service_hash"]:
            return service
        gone.append(f"the registry's {service.id} is another definition than the one it was made with")
        return None

    def _tables_again(
        self,
        record: DatasetRecord,
        service: Registered[FeatureService],
        entities: pa.Table,
        sources: Pinned,
        ledger: pa.Table | None,
    ) -> Iterable[pa.Table]:
        recipe = Recipe.of(record.manifest)
        rows = self._checked(entities, service.definition, recipe)
        parts = None if recipe.split is None else assigned(recipe.split, rows, list(service.definition.keys))
        if ledger is None:
            # The first manifests kept none: whatever was loaded since, it counts by its order of today.
            now = {name: one and replace(one, version=sys.maxsize) for name, one in sources.tables.items()}
            ledger = self._ledger(service.definition, now)
        return in_parts(self._joined(service, rows, recipe, sources.tables, ledger).to_batches(), parts)

    def _loads(self, record: DatasetRecord, gone: list[str]) -> pa.Table | None:
        """Return the loads and their order of that day: loads that a restore took out may have come back in another."""
        kept = file_of(record, LOADS, self._config)
        if format_of(record) > 1:
            try:
                return read_table(kept)
            except (OSError, pa.ArrowException):
                gone.append(f"the order of the loads that it was made of is gone or damaged: {kept}")
        return None


def _entity_rows(
    record: DatasetRecord, data: StoragePath, erasures: Sequence[DatasetErasure], gone: list[str]
) -> pa.Table | None:
    manifest, first_format = record.manifest, format_of(record) == 1
    file = data if first_format else data.with_name(ENTITIES)  # the first manifests kept them among the rows alone
    try:
        rows = read_table(file)
    except (OSError, pa.ArrowException):
        gone.append(f"its entity rows are gone or damaged: {file}")
        return None
    if first_format:
        rows = rows.drop_columns(list(manifest["features"]))
    digest = first_content_hash(rows) if first_format else content_hash(rows)
    if erasures or digest == manifest["entity_rows_hash"]:
        return rows
    gone.append(f"its entity rows are not those that it was made of: {file}")
    return None


def _kept(tables: Iterable[pa.Table], out: Path | None, *, first_format: bool) -> tuple[int, str, dict[str, str]]:
    """Return how many rows come, their hash and those of their columns; write them, too, if a file is named."""
    partial = None if out is None else out.with_name(f".{out.name}.partial")
    try:
        if first_format:
            table = pa.concat_tables(tables)
            if partial is not None:
                pq.write_table(table, partial, compression="zstd")
            said = table.num_rows, first_content_hash(table), dict[str, str]()
        else:
            digest, _ = hashed(tables, partial)
            said = digest.rows, digest.hexdigest(), digest.columns()
        if out is not None and partial is not None:
            partial.replace(out)
    finally:
        if partial is not None:
            partial.unlink(missing_ok=True)
    return said


def _computed_with(service: Registered[FeatureService] | None) -> dict[str, tuple[str, ...]]:
    """Return the packages that compute each on-demand view."""
    views = () if service is None else service.definition.on_demand_views
    return {view.name: ("polars", *(view.function.packages if view.function else ())) for view in views}
