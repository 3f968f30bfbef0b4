"""What erasures took out of a training dataset: it stands beside the manifest, which never changes."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from featurestore.errors import OfflineStoreError

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


def read_erasures(folder: Path) -> list[DatasetErasure]:
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


def enter_erasure(folder: Path, erasure: DatasetErasure) -> None:
    """Add an erasure to those of a dataset's folder.

    Raises:
        OfflineStoreError: the file cannot be read or written.
    """
    entries = [asdict(one) for one in (*read_erasures(folder), erasure)]
    partial = folder / f".{ERASURES}.partial"
    try:
        partial.write_text(json.dumps(entries, indent=2), encoding="utf-8")
        partial.replace(folder / ERASURES)
    except OSError as error:
        raise OfflineStoreError(f"{folder / ERASURES} cannot be written: {error}.") from error
