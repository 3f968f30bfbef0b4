"""Whether object storage keeps two writers from writing the same name, on which all commits stand."""

from __future__ import annotations

import contextlib
import uuid

from featurestore.errors import OfflineStoreError
from featurestore.storage.object_path import ObjectPath


def check_conditional_writes(folder: ObjectPath) -> None:
    """Write a name twice, the second time only if it is not there.

    A store that overlooks the condition takes both: of two commits with one number it would keep the second, and the
    rows of the first would be gone without a word.

    Args:
        folder: where a table is about to be made.

    Raises:
        OfflineStoreError: the store overlooks conditions, or cannot be reached.
    """
    probe = folder / f".conditional-{uuid.uuid4().hex}"
    try:
        probe.write_bytes(b"1", new=True)
        with contextlib.suppress(FileExistsError):
            probe.write_bytes(b"2", new=True)
            raise OfflineStoreError(
                f"The object storage of {folder} overlooks conditions of writes (If-None-Match): of two commits at the "
                "same moment one would be lost.",
                hint="Use a store, or a release of it, that honours conditional writes, as S3 does since 2024.",
            )
    finally:
        probe.unlink(missing_ok=True)
