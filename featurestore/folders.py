"""The folders of files that a configuration names, and the format of each: looked at before anything in them is read.

Tables, the push log, the online store and the databases say their formats themselves, each where it is opened.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from featurestore import formats
from featurestore.config import Config
from featurestore.errors import FeatureStoreError, OfflineStoreError, ServingError

#: The file by which a folder says its format; a folder without it has format 1.
MARK = "format.json"


@dataclass(frozen=True, kw_only=True)
class Folder:
    """A folder of files.

    Attributes:
        path: gives where it is.
        format: of the files that this release writes, and the newest that it reads.
        error: what is raised where it is newer.
    """

    path: Callable[[Config], Path]
    format: int
    error: type[FeatureStoreError]


#: By the name that messages and documents have for them.
FOLDERS: Mapping[str, Folder] = {
    "serving log": Folder(path=lambda config: config.path(config.serving.log_path), format=1, error=ServingError),
    "feedback log": Folder(
        path=lambda config: config.path(config.serving.feedback_path), format=1, error=OfflineStoreError
    ),
    "stream quarantine": Folder(
        path=lambda config: config.path(config.streaming.path) / "quarantine", format=1, error=OfflineStoreError
    ),
}


def check_folders(config: Config) -> None:
    """Check that this release can read what lies in every folder.

    Raises:
        FeatureStoreError: a newer release has written one of them anew, in a format of its own.
    """
    for name in FOLDERS:
        check_folder(config, name)


def check_folder(config: Config, name: str) -> None:
    """Check one of :data:`FOLDERS`; see :func:`check_folders`."""
    one = FOLDERS[name]
    folder = one.path(config)
    formats.check(format_of(folder, error=one.error), f"The {name} {folder}", one.format, error=one.error)


def format_of(folder: Path, *, error: type[FeatureStoreError]) -> dict[str, Any]:
    """Return the record of a folder's format.

    Raises:
        FeatureStoreError: of that class: it cannot be read.
    """
    try:
        values = json.loads((folder / MARK).read_bytes())
        return {"format": int(values["format"]), "release": str(values.get("release", ""))}
    except (FileNotFoundError, NotADirectoryError):
        return {"format": 1}
    except (OSError, ValueError, TypeError, KeyError) as fault:
        raise error(
            f"{folder / MARK} does not tell the format of its folder: {fault}.",
            hint="Bring it back from a backup; a store of this release has none, so that it may go if nothing newer "
            "ever wrote there.",
        ) from fault
