"""The way to files for processes that have neither the settings nor the keys of this one: executors of a cluster.

Where keys are found here, they go along, as they are at that moment. Nothing shows them: not the representation of an
access, nor a message about a place that it opened. Where none are found, as the machine has a role, whoever opens a
place looks for keys of its own.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from featurestore.storage.bucket import Bucket
from featurestore.storage.object_path import ObjectPath
from featurestore.storage.places import StoragePath, check_packages


@dataclass(frozen=True)
class Access:
    """Opens files of one table elsewhere; it can be pickled, and then holds secrets.

    Attributes:
        bucket: where they lie, with its keys; None for files on a disk that all share.
    """

    bucket: Bucket | None = field(default=None, repr=False)

    @classmethod
    def to(cls, places: Iterable[StoragePath]) -> Access:
        """Return the way to files that lie on a disk, or all in one bucket."""
        (bucket,) = {None if isinstance(one, Path) else one.bucket for one in places}
        return cls(None if bucket is None else bucket.with_keys())

    def place(self, path: str) -> StoragePath:
        """Return a file by its path, as ``str`` of its place gives it.

        Raises:
            ConfigError: the packages for object storage are not installed where this is called.
        """
        if self.bucket is None:
            return Path(path)
        check_packages(path)
        return ObjectPath(self.bucket, path.removeprefix(f"{self.bucket.root}/"))
