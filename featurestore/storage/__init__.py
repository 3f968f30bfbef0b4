"""Where the offline store's files lie: a folder of this machine, or a place in object storage.

Code above asks one thing of both, :data:`StoragePath`: a :class:`pathlib.Path`, or an
:class:`~featurestore.storage.object_path.ObjectPath`, which answers to the same names.
"""

from __future__ import annotations

from featurestore.storage.object_path import ObjectPath
from featurestore.storage.places import StoragePath, is_object_url, located

__all__ = ["ObjectPath", "StoragePath", "is_object_url", "located"]
