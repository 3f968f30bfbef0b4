"""The format of a table: of its rows, files and commits, beside what Delta itself says of its own."""

from __future__ import annotations

from collections.abc import Mapping

from featurestore import formats
from featurestore.errors import OfflineStoreError

#: What is written, and the newest that is read.
FORMAT = 1
#: Properties of a table of another format: its number, and the release that wrote it.
_FORMAT, _RELEASE = "featurestore.format", "featurestore.release"


def format_of(properties: Mapping[str, str | None], name: str) -> int:
    """Return the format of a table.

    Args:
        properties: the table's, of Delta.
        name: the table's, for the message.

    Raises:
        OfflineStoreError: it is newer than what this release reads.
    """
    number = int(properties.get(_FORMAT) or FORMAT)
    values = {"format": number, "release": properties.get(_RELEASE) or ""}
    formats.check(values, f"The table {name}", FORMAT, error=OfflineStoreError)
    return number
