"""What erasures took out of a training dataset: it stands beside the manifest, which never changes."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from featurestore.config import Config
from featurestore.errors import OfflineStoreError
from featurestore.offline.datasets.manifest import file_of
from featurestore.registry.records import DatasetRecord
from featurestore.storage import StoragePath
from featurestore.storage.places import write_whole

#: The file in the dataset's folder.
ERASURES = "erasures.json"


@dataclass(frozen=True, kw_only=True)
class DatasetErasure:
    """One erasure.

    Attributes:
        request: whose wish it was.
        rows: how many rows of the dataset it took.
        content_hash: of the rows that were left; "" if none were.
    """

    request: str
    rows: int
    content_hash: str


def read_erasures(folder: StoragePath) -> list[DatasetErasure]:
    """Return the erasures of a dataset's folder, in order; none if there were none.

    Raises:
        OfflineStoreError: the file that lists them cannot be read.
    """
    file = folder / ERASURES
    try:
        return [DatasetErasure(**one) for one in json.loads(file.read_text(encoding="utf-8"))]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, TypeError) as error:
        raise OfflineStoreError(f"{file} cannot be read: {error}.", hint="Bring it back from a backup.") from error


def erasures_of(record: DatasetRecord, config: Config) -> list[DatasetErasure]:
    """Return the erasures of a dataset, in order; none if there were none.

    Raises:
        OfflineStoreError: the file that lists them cannot be read.
    """
    return read_erasures(file_of(record, ERASURES, config).parent)


def rows_left(record: DatasetRecord, config: Config) -> int:
    """Return how many rows a dataset has, without those that erasures took.

    Raises:
        OfflineStoreError: the file that lists them cannot be read.
    """
    return int(record.manifest["rows"]) - sum(one.rows for one in erasures_of(record, config))


def enter_erasure(folder: StoragePath, erasure: DatasetErasure) -> None:
    """Add an erasure to those of a dataset's folder.

    Raises:
        OfflineStoreError: the file cannot be read or written.
    """
    entries = [asdict(one) for one in (*read_erasures(folder), erasure)]
    try:
        write_whole(folder / ERASURES, json.dumps(entries, indent=2), f".{ERASURES}.partial")
    except OSError as error:
        raise OfflineStoreError(f"{folder / ERASURES} cannot be written: {error}.") from error
