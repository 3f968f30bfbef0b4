"""Whoever was erased stays so when a backup is loaded that was made before.

The backup's own list of suppressed keys says who was erased until then. Who was erased later stands in a file beside
the backup, ``NAME.erased.jsonl``: an erasure writes it beside every backup that ``[erasure] backups`` names. Both hold
keyed hashes. So keys are hashed as they are found in the rows that came back, and those that are known are erased
again, from every place, by the same steps as before.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from featurestore.definitions import Entity, FeatureView, storage_id
from featurestore.erasure import ErasureReport
from featurestore.erasure.backups import read_erased
from featurestore.errors import ConfigError
from featurestore.moving.places import files_below
from featurestore.offline.erasure.erased_keys import plain_texts
from featurestore.offline.erasure.suppression import Secret, members
from featurestore.offline.places import offline_folder
from featurestore.pushing import PushLog
from featurestore.storage import StoragePath
from featurestore.storage.parquet import parquet_file
from featurestore.store import FeatureStore

#: Under which erasures are entered whose own request is not known.
_REQUEST = "backup loaded"


@dataclass(frozen=True, kw_only=True)
class ErasedAgain:
    """What was erased from rows that a backup has brought back.

    Attributes:
        entered: keys that were erased after the backup was made, and are kept out again from now on.
        reports: of each entity and request.
    """

    entered: int
    reports: tuple[ErasureReport, ...]

    @property
    def rows(self) -> int:
        """How many rows were erased."""
        return sum(one.rows for one in self.reports)


def check_secret(store: FeatureStore, backup: Path) -> None:
    """Look, before anything is copied, whether keys that were erased since will be known again.

    Raises:
        ConfigError: their secret is not here.
    """
    erased = [one for one in read_erased(backup) if one.project == store.config.project]
    text = store.config.erasure_secret()
    secret = None if text is None else Secret(text)
    if any(secret is None or not secret.made(one.digest) for one in erased):
        raise ConfigError(
            f"Keys were erased after the backup {backup} was made, and the secret by which they are known again is "
            f"{'gone' if secret is None else 'another one'}: their rows would come back.",
            hint='Bring back data/keys/erasure.key, or the "secret" of [erasure], of the store that erased them.',
        )


def erase_again(store: FeatureStore, backup: Path) -> ErasedAgain:
    """Erase whoever is known as erased, wherever rows of theirs came back with a backup.

    Args:
        store: into which the backup was loaded.
        backup: it.

    Raises:
        ConfigError: the secret by which erased keys are known again is gone, or another one.
        OfflineStoreError: rows cannot be read or written; the same call goes on.
        OnlineStoreError: as that.
    """
    who, entered = store.who(), 0
    for one in read_erased(backup):
        if one.project == store.config.project:
            take = store.registry.lift if one.lifted else store.registry.suppress
            entered += take(one.members, [one.digest], request=one.request, who=who)
    views = [one.definition for one in store.registry.every_version("feature_view")]
    entities = {members(one): one for view in views if isinstance(view, FeatureView) for one in view.entities}
    reports = []
    for name, digests in store.registry.suppressions(entities).items():
        text = store.config.erasure_secret()
        if text is None or not all(Secret(text).made(one) for one in digests):
            raise ConfigError(
                "The backup is loaded, and rows of erased keys are in it: the secret by which they are known again is "
                f"{'gone' if text is None else 'another one'}.",
                hint='Bring back data/keys/erasure.key, or the "secret" of [erasure], and load the backup again.',
            )
        theirs = _found(store, entities[name], digests, Secret(text))
        if theirs:
            reports.append(store.erase(entities[name].name, theirs, request=_REQUEST))
    return ErasedAgain(entered=entered, reports=tuple(reports))


def _found(store: FeatureStore, entity: Entity, digests: frozenset[str], secret: Secret) -> list[Mapping[str, Any]]:
    """Return the suppressed keys that rows of the store have."""
    found: dict[str, Mapping[str, Any]] = {}
    names, whose = list(entity.keys), members(entity)
    for batch in _batches(store, names):
        keys = batch.group_by(names, use_threads=False).aggregate([]).drop_null()
        texts = zip(*(plain_texts(column) for column in keys.columns), strict=True)
        for row, text in zip(keys.to_pylist(), texts, strict=True):
            digest = secret.digest(whose, text)
            if digest in digests:
                found[digest] = row
    return list(found.values())


def _batches(store: FeatureStore, names: list[str]) -> Iterator[pa.Table]:
    """Yield the join keys of all rows that have them: in tables and their past, aside, in datasets, and pushed."""
    for path in _files(store):
        with parquet_file(path) as file:
            if set(names) <= set(file.schema_arrow.names):
                for batch in file.iter_batches(columns=names):
                    yield pa.Table.from_batches([batch]).select(names)
    log = PushLog(store.config.path(store.config.push.path))
    for segment in log.segments() if log.begun() else ():
        for entry in segment.read():
            batch = entry.batch()
            if set(names) <= set(batch.schema.names):
                yield pa.Table.from_batches([batch]).select(names)


def _files(store: FeatureStore) -> Iterable[StoragePath]:
    views = store.registry.every_version("feature_view")
    tables = {storage_id(one.definition) for one in views if isinstance(one.definition, FeatureView)}
    folder = offline_folder(store.config)
    for name in (*sorted(tables), "quarantine", "datasets"):
        yield from (one for one in files_below(folder / name) if one.suffix == ".parquet")
