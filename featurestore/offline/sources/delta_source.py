"""Delta tables of others as sources: read by version, and only what is new where their log allows it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import pyarrow as pa
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError

from featurestore.config import Config
from featurestore.errors import DataError
from featurestore.offline.engine import BATCH_ROWS
from featurestore.offline.sources.pieces import DELTA, Piece

if TYPE_CHECKING:
    import pyarrow.dataset as ds


class Snapshot:
    """One version of a Delta table.

    Args:
        folder: the table's.
        what: whose source it is, to begin messages.

    Raises:
        DataError: there is no Delta table, or it cannot be opened.
    """

    def __init__(self, folder: Path, what: str) -> None:
        self.folder = folder
        self._what = what
        try:
            table = DeltaTable(str(folder))
            self.version = table.version()
            self._table_id = str(table.metadata().id)
            self.dataset: ds.Dataset = table.to_pyarrow_dataset()
        except (DeltaError, OSError, pa.ArrowException) as error:
            raise DataError(
                f"{what}: {folder} cannot be read as a Delta table: {_first(error)}.",
                hint="Name the folder that has _delta_log in it.",
            ) from None

    def identity(self) -> dict[str, Any]:
        """Return what tells this version from every other one, of this table or another, as JSON values."""
        # A table that was restored from a backup may get another version of the same number.
        return {"table": self._table_id, "version": self.version, "commit": self._commit(self.version)}

    def _commit(self, version: int) -> str:
        try:
            written = self._log(version).read_bytes()
        except OSError:
            return ""
        return hashlib.sha256(written).hexdigest()[:16]

    def _log(self, version: int) -> Path:
        return self.folder / "_delta_log" / f"{version:020}.json"

    def since(self, loaded: Mapping[str, Any]) -> tuple[ds.Dataset, str]:
        """Return the rows added since a version, and "" or why it has to be all rows.

        Args:
            loaded: the :meth:`identity` of that version.
        """
        version = loaded["version"]
        if loaded["table"] != self._table_id:
            return self.dataset, "it is another table than before"
        if version > self.version or self._commit(version) != loaded["commit"]:
            return self.dataset, f"its history is another one than when version {version} was read"
        added: dict[int, set[str]] = {}
        for number in range(version + 1, self.version + 1):
            try:
                lines = self._log(number).read_text(encoding="utf-8").splitlines()
            except OSError:
                return self.dataset, f"its log no longer tells what happened since version {version}"
            actions = [json.loads(line) for line in lines]
            if any(action.get("remove", {}).get("dataChange") for action in actions):
                return self.dataset, f"rows were changed or removed in version {number}"
            # Files that only rearrange rows, as compaction makes them, bring nothing new.
            new = [action["add"] for action in actions if action.get("add", {}).get("dataChange")]
            if new:
                added[number] = {unquote(add["path"]) for add in new}
        fragments = self._fragments(added)
        if fragments is None:
            return self.dataset, f"files that were added since version {version} are gone"
        # Imported here because it takes 0.3 s where pandas is installed, which every command would pay.
        import pyarrow.dataset as ds

        return ds.FileSystemDataset(fragments, self.dataset.schema, ds.ParquetFileFormat(), self._filesystem()), ""

    def _filesystem(self) -> Any:
        return next((one.filesystem for one in self.dataset.get_fragments()), None)

    def _fragments(self, added: Mapping[int, set[str]]) -> list[Any] | None:
        """Return the files that versions added; None if one of them cannot be found any more."""
        found = []
        for version, paths in added.items():
            here = [one for one in self.dataset.get_fragments() if one.path in paths]
            if len(here) < len(paths):  # compacted since: the version itself still names them
                try:
                    then = DeltaTable(str(self.folder), version=version).to_pyarrow_dataset()
                except (DeltaError, OSError, pa.ArrowException):
                    return None
                here = [one for one in then.get_fragments() if one.path in paths]
            if len(here) < len(paths) or not all((self.folder / one.path).exists() for one in here):
                return None
            found += here
        return found


class SnapshotPiece(Piece):
    """The rows of a Delta table that one load reads.

    Args:
        snapshot: the newest version.
        loaded: the identity of the version that was loaded last; None reads all rows.
        location: where it lies.
    """

    def __init__(self, snapshot: Snapshot, loaded: Mapping[str, Any] | None, location: str) -> None:
        self._identity = snapshot.identity()
        self._dataset, reason = (snapshot.dataset, "") if loaded is None else snapshot.since(loaded)
        note = (
            f"the Delta table {location} was read whole, as {reason}: rows that are gone there stay here"
            if reason
            else ""
        )
        super().__init__(
            name=f"version {snapshot.version} of the Delta table {snapshot.folder.name}",
            load_id=f"{DELTA}{_digest(self._identity)}-v{snapshot.version}",
            location=location,
            notes=(note,) if note else (),
        )

    @contextmanager
    def read(self, config: Config, what: str) -> Iterator[pa.RecordBatchReader]:  # noqa: ARG002 - as every piece
        """Yield the rows as a stream.

        Raises:
            DataError: a file cannot be read.
        """

        def batches() -> Iterator[pa.RecordBatch]:
            try:
                yield from self._dataset.to_batches(batch_size=BATCH_ROWS, batch_readahead=2, fragment_readahead=1)
            except (pa.ArrowException, OSError) as error:
                raise DataError(f"{what}: {self.name} cannot be read: {_first(error)}.") from error

        yield pa.RecordBatchReader.from_batches(self._dataset.schema, batches())

    def watermark(self) -> Mapping[str, Any] | None:
        """Return the version that was read."""
        return self._identity


def _digest(identity: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]


def _first(error: Exception) -> str:
    return str(error).strip().splitlines()[0].rstrip(".")
