"""Object storage as DuckDB reads it: its own Parquet reader, which takes the columns and row groups that a query needs.

DuckDB reads through fsspec's interface. Its extension for HTTP would have to be downloaded at run time, and would have
to be given the keys in SQL.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import fsspec

from featurestore.errors import FeatureStoreError, OfflineStoreError
from featurestore.settings.sections import StorageConfig
from featurestore.storage.object_files import ObjectReader
from featurestore.storage.object_path import ObjectPath
from featurestore.storage.places import SCHEMES, located


class ObjectFiles(fsspec.AbstractFileSystem):  # type: ignore[misc]  # fsspec ships no types
    """Objects, to read.

    Args:
        settings: how buckets are reached.

    Attributes:
        failure: why reading failed, where it did: DuckDB says so in its own words alone.
    """

    cachable = False

    def __init__(self, settings: StorageConfig) -> None:
        super().__init__(skip_instance_cache=True)
        self.protocol = SCHEMES
        self.failure: FeatureStoreError | None = None
        self._settings = settings
        self._sizes: dict[str, int] = {}

    def _path(self, path: str) -> ObjectPath:
        return located(path, self._settings)

    def open(self, path: str, mode: str = "rb", **_: Any) -> ObjectReader:
        """Return an object to read from any place."""
        if "r" not in mode or "+" in mode:
            raise NotImplementedError(f"objects are read here, not opened as {mode}")
        return _Remembering(self, self._path(path), self.size(path))

    def size(self, path: str) -> int:
        """Return the bytes of an object, which is asked for once."""
        if path not in self._sizes:
            try:
                self._sizes[path] = self._path(path).stat().st_size
            except FileNotFoundError:
                self.failure = OfflineStoreError(
                    f"There is no {path} in object storage.", hint="If it is gone, bring it back from a backup."
                )
                raise
            except FeatureStoreError as error:
                self.failure = error
                raise
        return self._sizes[path]

    def modified(self, path: str) -> datetime:  # noqa: ARG002 - fsspec's
        """Return a constant: what a connection has read does not change as long as it is open."""
        return datetime(1970, 1, 1, tzinfo=UTC)

    def glob(self, path: str, **_: Any) -> list[str]:
        """Return the path itself: queries name their files."""
        return [path]

    def exists(self, path: str, **_: Any) -> bool:
        """Return whether there is such an object."""
        try:
            self.size(path)
        except FileNotFoundError:
            return False
        return True

    def unstrip_protocol(self, name: str) -> str:
        """Return a path as DuckDB names it."""
        return name


class _Remembering(ObjectReader):
    """An object whose filesystem remembers why it could not be read."""

    def __init__(self, files: ObjectFiles, path: ObjectPath, size: int) -> None:
        super().__init__(path.bucket, path.key, size)
        self._files = files

    def read(self, size: int | None = -1) -> bytes:
        try:
            return super().read(size)
        except FeatureStoreError as error:
            self._files.failure = error
            raise
